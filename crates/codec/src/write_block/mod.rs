//! The write block: the columnar, compressed, checksummed batch of samples that a producer ships to a shard.
//!
//! A stream is (shard, producer, epoch); its blocks are numbered from 1 and read in that order, for both ends
//! remember the last frame of each *group*: series that are scraped together. A group's series are registered
//! once, later added and removed; a frame says what differs from the group's frame before.
//!
//! ```text
//! u8      version = 1
//! symbols varint number, then each text behind its length (UTF-8)
//! varint  number of operations, then each:
//!   u8 0 register   varint group, varint tenant symbol, u8 target (0 none; 1: u64 id, varint epoch), series list
//!   u8 1 edit       varint group, u32 base, varint n, varint removed slots (n gaps), series list (added)
//!   u8 2 frame      varint group, u32 base, content behind its length
//!   u8 3 drop       varint group
//!   u8 4 metadata   varint tenant, family, u8 type, varint unit, help (symbols)
//! u64     xxh3 of all bytes before
//! ```
//!
//! Numbers are little endian. The slots of a group are its series in the order of registration; added series
//! get the next slots; slots of removed series are never used again until the group is registered anew.
//!
//! The *base* is a chain of hashes (32 bits of xxh3, seeded with the link before) over the registration and
//! every edit and frame since. Where it differs, or the group is not known, the block is answered with "send
//! full": nothing of it is applied, and the producer registers the group again.
//!
//! Nothing here knows shards, sequences, limits of tenants or what the samples are for.

mod bits;
mod decoder;
mod encoder;
mod frame;
mod group_state;
mod keyed;
mod series_list;
mod slot_set;
mod value_code;

#[cfg(test)]
mod tests;

pub use decoder::{DecodeError, DecodedBlock, Decoder, Op, verify};
pub use encoder::Encoder;
pub use frame::{Frame, FrameInput, FrameValue};
pub use group_state::GroupState;
pub use keyed::{KeyedEncoder, KeyedSample};
pub use slot_set::SlotSet;

use pando_model::{Epoch, Labels, TenantId};

/// The version that is written, and the only one that is read.
pub const VERSION: u8 = 1;
/// The longest block, bytes. Producers stay at a quarter of it.
pub const BLOCK_BYTES_MAX: usize = 16 << 20;
/// Bytes of the blocks that go to a shard in one request, and become one log entry with others'.
pub const REQUEST_BYTES_MAX: usize = 12 << 20;
/// The sequences of a stream that are under way at a time, from the oldest block that is not answered on. A shard
/// remembers what the blocks of so many came to, for the answer may be lost.
pub const UNDER_WAY_MAX: usize = 64;
/// The most series of a group, removed ones included.
pub const SLOTS_PER_GROUP_MAX: usize = 1 << 20;
/// The most groups that one stream can have at a time.
pub const GROUPS_PER_STREAM_MAX: usize = 1 << 20;
/// What the frames of a block may unfold to: samples, and the slots that must be looked at for them. A few
/// bytes may stand for a million unchanged samples, so the block's size bounds nothing.
pub const WORK_PER_BLOCK_MAX: usize = 1 << 23;
/// Exemplars of one frame; more are not written.
pub const EXEMPLARS_PER_FRAME_MAX: usize = 1 << 16;
/// The texts of one block.
const SYMBOLS_MAX: usize = 1 << 22;
/// The pairs of one label set; a tenant's own limit is far below.
const PAIRS_MAX: usize = 1 << 12;
/// Bytes that the labels of a block may unfold to.
const LABEL_BYTES_MAX: usize = 1 << 28;

/// A group of a stream. Ids are given by the producer and mean nothing outside the stream.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct GroupId(pub u32);

/// The assignment under which a group is scraped, so that a shard can tell the new scraper from the old one. A
/// target is one group in a shard: its series there must not be spread over several.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TargetEpoch {
    /// The target: a hash that all scrapers of it agree on, within the tenant.
    pub target: u64,
    /// The target's assignment; a later one has a greater epoch.
    pub epoch: Epoch,
}

/// What a group is registered with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupSpec {
    /// The tenant of all its series.
    pub tenant: TenantId,
    /// The target, where the group is one; `None` for pushed samples.
    pub target: Option<TargetEpoch>,
    /// The series of each slot; `None` where the slot's series was removed.
    pub series: Vec<Option<Labels>>,
}

/// What a frame of `samples` of a group of `slots` counts towards [`WORK_PER_BLOCK_MAX`].
fn frame_work(slots: u32, samples: usize) -> usize {
    1 + samples + slots as usize / 16
}
