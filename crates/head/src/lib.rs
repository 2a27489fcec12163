//! The mutable head of a shard: its series and recent samples in memory, as a deterministic state machine.
//!
//! [`Shard`] applies the entries of a shard's log ([`pando_codec::entry`]) and answers queries from what it holds.
//! Applying reads nothing but the entry and the state: replicas that were fed the same entries hold equal states,
//! which [`Shard::state_hash`] shows. It does no I/O, reads no clock and knows neither Raft, blocks nor the catalog;
//! whoever hosts it keeps the log, builds blocks of ended generations and says when one may be dropped.
//!
//! ```text
//! Shard -- streams:     producer, epoch -> next sequence; groups' registrations and last frames
//!       -- tenants:     series table (labels, postings), newest sample time, metadata, targets' hand-overs
//!       -- generations: the open one and those before it that are not dropped
//!                       tenant -> lanes (a group's frames: open matrix, tiles) and loose samples
//! ```

mod block_apply;
mod checkpoint;
mod error;
mod frame_apply;
mod generation;
mod lane;
mod loose;
mod outcome;
mod postings;
mod select;
mod series_table;
mod shard;
mod stats;
mod streams;
mod targets;
mod tenant;
mod tile;

#[cfg(test)]
mod tests;

pub use block_apply::STREAMS_MAX;
pub use checkpoint::CHECKPOINT_VERSION;
pub use error::HeadError;
pub use frame_apply::AHEAD_MS_MAX;
pub use outcome::{
    Applied, BlockOutcome, CutOutcome, Judged, MESSAGES_MAX, Refusal, SealAnswer, TargetAnswer,
    Verdicts,
};
pub use select::{Selection, SeriesIter};
pub use shard::{GenerationInfo, IDLE_MS, Shard, ShardConfig};
pub use stats::{HeadStats, Memory, NamedCount};
