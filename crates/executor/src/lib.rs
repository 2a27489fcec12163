//! Runs fragments where the data is: opens their sources (blocks, live generations here and elsewhere), merges
//! them series by series, and feeds the engine whole series. Ingesters and store gateways serve the same
//! [`ExecutorService`]; they differ in the live shards that they have. It does not know who asks and why.

mod block_reads;
mod block_store;
mod block_stream;
mod decoding;
mod error;
mod execution_stats;
mod executor;
mod grpc;
mod label_pools;
mod lanes;
mod live;
mod lookup;
mod merge;
mod metrics;
mod sources;
#[cfg(test)]
mod testdata;
pub mod wire;

pub use block_reads::{BlockReads, ReadCounters};
pub use block_store::{BlockStore, BlockStoreConfig};
pub use decoding::Decoding;
pub use error::ExecuteError;
pub use execution_stats::ExecutionStats;
pub use executor::{Executor, ExecutorLimits};
pub use grpc::ExecutorService;
pub use lanes::blocking;
pub use live::{LiveShards, NoLiveShards, SeriesStream};
pub use lookup::{Found, Lookup, LookupKind};
pub use sources::{BlockSources, LiveSource, Sources};
