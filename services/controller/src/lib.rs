//! The controller: one Raft group that keeps the catalog; its leader decides who stores what, hears members,
//! leases work and cleans up. It knows nothing of samples.

mod config;
mod contact;
mod controller;
mod error;
mod founding;
mod grpc;
mod housekeeping;
mod liveness;
mod metrics;
mod runner;
mod state;
mod told;
mod watch;

#[cfg(test)]
mod tests;

pub use config::ControllerConfig;
pub use controller::Controller;
pub use error::ControllerError;
pub use founding::{found, watch_bucket};
pub use grpc::ControllerService;
pub use metrics::ControllerMetrics;
pub use runner::run;
pub use state::CatalogState;

/// The id of the controllers' Raft group; shards have theirs from 1.
pub const CATALOG_GROUP: u64 = 0;

/// The feature level that this build reads and writes. It gates what may be written: a new format is written
/// only when every member can read it.
pub const FEATURE_LEVEL: u32 = 1;
