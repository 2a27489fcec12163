//! The messages and services that Pando's processes speak, generated from `pando/v1/*.proto`.
//!
//! Generated types stop at the edge of each service (`grpc.rs`); inside, everything is `pando_model`.

#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::unwrap_used,
    reason = "generated code; the documentation stands in the .proto files"
)]
pub mod v1 {
    tonic::include_proto!("pando.v1");
}

pub mod record;

/// The file descriptors, encoded, without comments: what a reader of another language or version needs.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

#[cfg(test)]
mod tests {
    /// A changed hash means changed messages: members of two versions must still understand each other, and
    /// what is stored must still be read. Numbers are never used again.
    #[test]
    fn the_descriptors_are_pinned() {
        assert_eq!(xxhash_rust::xxh3::xxh3_64(super::DESCRIPTORS), 3_836_245_850_015_527_736);
    }
}
