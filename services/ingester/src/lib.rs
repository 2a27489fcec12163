//! The ingester: hosts shards. A shard is a Raft group whose state machine is a head; its leader
//! takes writes, cuts generations, makes a block of each and has the catalog name it; every member
//! answers queries about the generations that are not in blocks yet.
//!
//! ```text
//! routing view --> Shards --> LocalShard (one a shard that this node is a member of)
//!                               HeadState      the head behind the group's log
//!                               WriteQueue     what is to be proposed, one proposal at a time
//!                               generations    cutter, committer, keeper: what becomes of them
//! grpc: Ingester (producers, controller)   Live (executors elsewhere)   Executor (query frontends)
//! ```
//!
//! It does not know which keys go where, who is alive, or what else the process does: the routing
//! view says the first, the controllers the second.

mod clock_watch;
mod config;
mod context;
mod error;
mod gauges;
mod generations;
mod grpc;
mod grpc_live;
mod ingester;
mod live;
mod local_shard;
mod metrics;
mod rules;
mod seal_answer;
mod shards;
mod state;
mod write_queue;

#[cfg(test)]
mod tests;

pub use config::IngesterConfig;
pub use error::IngesterError;
pub use generations::cut_due;
pub use ingester::Ingester;
pub use seal_answer::{decode_seal_answer, encode_seal_answer};
pub use write_queue::WriteError;
