//! The receiver: takes Prometheus remote write, 1.0 and 2.0, over HTTP and ships it to the shards.
//!
//! ```text
//! POST /api/v1/write -> gate -> intake (snappy, protobuf, labels) -> rate limit -> Shipper -> answer
//! ```
//!
//! It keeps nothing: a request is acknowledged when every sample of it was judged by its shard. It
//! does not know which shard that is, nor who sends.

mod answer;
mod config;
mod http;
mod intake;
mod metrics;
mod rate_limit;
mod receiver;
mod ship;

pub use config::ReceiverConfig;
pub use metrics::ReceiverMetrics;
pub use receiver::{Receiver, SamplesPerSecond};
pub use ship::Ship;

#[cfg(test)]
mod tests;
