//! Many Raft groups in one process: openraft behind a small interface, over one shared log.
//!
//! A [`Host`] holds the groups of a process. They share one segmented, append-only log and its fsync; each
//! has its own checkpoint file. A [`Group`] proposes entries, confirms reads and tells who leads. What is
//! replicated is behind [`StateMachine`], how messages travel behind [`Transport`].
//!
//! Safety rests on these, each of them tested:
//! - votes and entries are in one ordered file and durable before anybody is told (INV-1);
//! - a checkpoint is durable before the log says that what it covers is gone;
//! - a failed write or fsync ends the log: nothing is tried a second time;
//! - every request names cluster and target node, and a stranger is refused.
//!
//! This crate does not know what an entry means, or who the members of the cluster are.

mod batched;
mod checkpoint;
mod election;
mod error;
mod group;
mod grpc;
mod host;
mod local;
mod log;
mod log_store;
mod machine;
mod member;
mod message;
mod network;
mod serve;
mod transport;
mod types;
mod wire;

pub use error::{ConsensusError, ProposeError, ReadError};
pub use group::{Group, Leadership};
pub use grpc::{AddressBook, GrpcTransport, RaftService};
pub use host::{Host, HostConfig};
pub use local::LocalNetwork;
pub use machine::StateMachine;
pub use member::Member;
pub use message::{MessageError, RaftReply, RaftRequest};
pub use transport::{Transport, TransportError};

#[cfg(test)]
mod tests;
