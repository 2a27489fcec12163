//! From samples to acknowledged write blocks: splits a batch by shard, numbers and encodes write blocks, sends
//! them to the shards' leaders, and follows shards that move. It does not know where samples come from.
//!
//! ```text
//! Batch -> Shipper (route by key) -> Parcel -> ShardStream (one per shard: number, encode, send) -> ingester
//!              ^                                    |
//!              +--------- sealed, moved: again -----+
//! ```
//!
//! [`DiskBuffer`] keeps batches on disk while nothing can be shipped.

mod batch;
mod buffer;
mod error;
mod part;
mod shard_stream;
mod shipper;
#[cfg(test)]
mod tests;

pub use batch::{Batch, Receipt, ShipSample};
pub use buffer::{BufferConfig, BufferEntry, BufferError, BufferStats, DiskBuffer};
pub use error::ShipError;
pub use shipper::{Shipper, ShipperConfig};
