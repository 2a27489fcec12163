//! The envelope of what stands alone: a member's copy of a view, a snapshot in a checkpoint or in
//! the bucket.
//!
//! ```text
//! offset  bytes
//! 0       4      "PCAT"
//! 4       1      version of the envelope: 1
//! 5       1      kind: 1 snapshot, 2 routing view, 3 blocks view
//! 6       2      0
//! 8       8      length of the payload, little endian
//! 16      n      payload: a protobuf message
//! 16 + n  8      xxh3-64 of everything before, little endian
//! ```

use bytes::{BufMut, Bytes, BytesMut};
use xxhash_rust::xxh3::xxh3_64;

use super::Result;
use crate::error::CatalogError;

const MAGIC: &[u8; 4] = b"PCAT";
const VERSION: u8 = 1;
const HEAD_BYTES: usize = 16;
const HASH_BYTES: usize = 8;

/// What an envelope holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A whole catalog.
    Snapshot = 1,
    /// A `RoutingView`.
    Routing = 2,
    /// A `BlocksView`.
    Blocks = 3,
}

/// Puts `payload` into an envelope.
pub fn wrap(kind: Kind, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD_BYTES + payload.len() + HASH_BYTES);
    out.put_slice(MAGIC);
    out.put_slice(&[VERSION, kind as u8, 0, 0]);
    out.put_u64_le(payload.len() as u64);
    out.put_slice(payload);
    out.put_u64_le(xxh3_64(&out));
    out.freeze()
}

/// The payload of an envelope of `kind`; any damage is seen.
pub fn unwrap(kind: Kind, bytes: &[u8]) -> Result<&[u8]> {
    let corrupt = |detail: &str| {
        let detail = format!("{detail} kind={kind:?} bytes={}", bytes.len());
        CatalogError::corrupt("envelope", detail)
    };
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return Err(corrupt("too short"));
    };
    if head[..4] != *MAGIC {
        return Err(corrupt("not an envelope"));
    }
    if head[4] != VERSION {
        let version = u32::from(head[4]);
        return Err(CatalogError::Unsupported { what: "envelope", version, known: VERSION.into() });
    }
    let Some((payload, hash)) = rest.split_last_chunk::<HASH_BYTES>() else {
        return Err(corrupt("too short"));
    };
    let mut length = [0; 8];
    length.copy_from_slice(&head[8..]);
    if u64::from_le_bytes(length) != payload.len() as u64 {
        return Err(corrupt("cut off"));
    }
    if xxh3_64(&bytes[..HEAD_BYTES + payload.len()]) != u64::from_le_bytes(*hash) {
        return Err(corrupt("wrong hash"));
    }
    if head[5] != kind as u8 {
        return Err(corrupt("another kind"));
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_one_is_pinned() {
        let text: String =
            wrap(Kind::Routing, b"some payload").iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            text,
            "50434154010200000c00000000000000736f6d65207061796c6f61640345443cbeb57c8b"
        );
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let whole = wrap(Kind::Routing, b"some payload");
        assert_eq!(unwrap(Kind::Routing, &whole).expect("whole"), b"some payload");
        assert!(unwrap(Kind::Blocks, &whole).is_err());
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(unwrap(Kind::Routing, &flipped).is_err(), "bit {bit}");
        }
        for length in 0..whole.len() {
            assert!(unwrap(Kind::Routing, &whole[..length]).is_err(), "length {length}");
        }
    }
}
