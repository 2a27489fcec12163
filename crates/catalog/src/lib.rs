//! The catalog: the replicated list of blocks, shards, routes, nodes, tenants, leases and deletes.
//!
//! [`Catalog`] is a pure state machine: commands in, replies out, no clock, no I/O; whoever
//! replicates the commands has the same catalog. Readers hold a [`RoutingView`] and a
//! [`BlocksView`], fed by deltas, and pin both at one version as a [`CatalogView`]. Next to it
//! stands what the bucket holds: [`layout`], [`bucket`], [`snapshots`], and [`rebuild`], which
//! makes a catalog from the bucket alone (INV-10).
//!
//! The crate does not know how commands are replicated, nor who sends deltas to whom.

mod apply;
mod block_entry;
mod blocks_view;
pub mod bucket;
mod catalog;
mod changes;
mod cluster_file;
mod command;
mod delete;
mod delta;
mod error;
mod expiry;
pub mod layout;
pub mod limits;
mod named_blocks;
mod node;
mod rebuild;
mod route;
mod routing_view;
mod shard;
pub mod snapshots;
mod tenant;
mod view;
pub mod wire;
mod work;

#[cfg(test)]
mod sequence_tests;
#[cfg(test)]
mod testdata;

pub use block_entry::{BlockEntry, PendingObject};
pub use blocks_view::BlocksView;
pub use catalog::Catalog;
pub use cluster_file::{CLUSTER_FILE_FORMAT, ClusterFile, Voter};
pub use command::{
    Command, CommandReply, CommitGeneration, Grant, NewDelete, ReplaceBlocks, SealResult,
    Successor, WorkEnd,
};
pub use delete::DeleteRecord;
pub use delta::{BlockDelta, RoutingDelta};
pub use error::{CatalogError, CommandRefused, Reason};
pub use expiry::{Expiry, believable_ms};
pub use node::{Node, Role};
pub use rebuild::{RebuildReport, ShardFate, rebuild_from_footers};
pub use route::Route;
pub use routing_view::RoutingView;
pub use shard::{Commit, Seal, Shard, ShardInfo, ShardStage};
pub use tenant::{Tenant, TenantLimits};
pub use view::CatalogView;
pub use work::{Lease, WorkItem, WorkKind, WorkSpec};
