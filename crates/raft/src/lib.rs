//! openraft, hosted: many Raft groups in one process, on one log with one fsync, over any transport.
//!
//! It does not know what it replicates: a [`StateMachine`] is given entries in order. Nor does it know how
//! members reach each other: a [`Transport`] carries bytes.
//!
//! openraft 0.9's own election timer is off: it draws its timeout once per process, so that two survivors with
//! equal draws can split votes for ever. Each group has a timer here that draws afresh each round.

mod checkpoint;
mod error;
mod group;
mod grpc;
mod host;
mod log_store;
mod message;
mod network;
mod record;
mod shared_log;
mod state_store;
mod transport;
mod types;

#[cfg(test)]
mod tests;

pub use error::{ConsensusError, ProposeError};
pub use group::{Group, Member};
pub use grpc::{AddressBook, GrpcTransport, RaftService};
pub use host::{Host, HostConfig};
pub use transport::{LocalTransport, Transport, TransportError};

/// What a group replicates. Applying is deterministic: it reads nothing but the entry and the state.
pub trait StateMachine: Send + Sync + 'static {
    /// Applies the entry at log position `index`; its result goes to whoever proposed it here.
    fn apply(&self, index: u64, entry: &[u8]) -> Vec<u8>;

    /// The whole state, versioned and checksummed by itself.
    fn snapshot(&self) -> Vec<u8>;

    /// Replaces the whole state.
    ///
    /// # Errors
    /// `bytes` are not a state.
    fn restore(&self, bytes: &[u8]) -> Result<(), String>;
}
