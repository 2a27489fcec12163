//! The agent: reads the scrape configs of a `prometheus.yml`, finds targets, scrapes those that are its own, and
//! ships what they say.
//!
//! ```text
//! Discovery -> targets (pure) -> pool plan (pure, by the ring of agents) -> scrape loops -> Outbox -> BatchSink
//!                                                                                            |  ^
//!                                                                                            v  |
//!                                                                                         DiskBuffer
//! ```
//!
//! It does not know shards: a [`BatchSink`], usually the shipper, takes the samples. It does not know the catalog
//! either: a [`Roster`] says who the agents are and whether this one is still counted on.

mod agent;
mod api;
mod client;
mod config;
mod discovery;
mod error;
mod files;
mod grpc;
mod manager;
mod metrics;
mod outbox;
mod pool;
mod roster;
mod scrape;
mod sink;
mod target;
mod targets;

#[cfg(test)]
mod testing;

pub use agent::{Agent, AgentHandle, AgentParts};
pub use config::AgentConfig;
pub use error::AgentError;
pub use files::files_matching;
pub use grpc::AgentService;
pub use roster::{ClusterRoster, Roster};
pub use sink::BatchSink;
pub use target::{DroppedTarget, Target};
pub use targets::{TargetSet, targets};
