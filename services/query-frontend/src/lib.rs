//! The query frontend: Prometheus' HTTP API in front of the whole cluster.
//!
//! ```text
//! HTTP --parameters--> Frontend --gate--> pin the catalog --planner--> fragments, sources (INV-5)
//!                                                                         | fan out, gRPC
//! JSON <--envelope---- QueryOutput <--promql engine-- merged partials <---+
//! ```
//!
//! It holds no data and decides nothing for others. Samples, the engine's arithmetic and the
//! catalog's rules live elsewhere; this crate decides who is asked for what, notices when an answer
//! is not whole (INV-6), and writes JSON.

mod buckets;
mod catalog_source;
mod config;
mod error;
mod exemplars;
mod explain;
mod fan_out;
mod fragment_question;
mod frontend;
mod gate;
mod http;
mod json;
mod lookups;
mod members;
mod metrics;
mod newest_version;
mod parts;
mod planner;
mod query;
mod query_budget;
mod status_info;
mod subquery_step;
mod suspects;

#[cfg(test)]
mod testdata;

pub use catalog_source::CatalogSource;
pub use config::FrontendConfig;
pub use error::FrontendError;
pub use explain::{ExplainedFragment, Explanation};
pub use frontend::Frontend;
pub use planner::{PlacedFragment, Placement, PlanError};
pub use query::{Answer, ExecutedFragment, FragmentRun, QueryOptions, QueryTimings};
pub use status_info::{PROMETHEUS_VERSION, ReloadState, StatusInfo};
pub use subquery_step::SubqueryStep;
