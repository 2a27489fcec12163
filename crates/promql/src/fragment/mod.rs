//! Fragments: the pieces of a query that run where the data is, their partial results, and how those are
//! merged. The same code executes them in ingesters, gateways and tests; it knows neither sources nor network.

mod execution;
mod merge;
mod partial;
mod plan;
mod step_parts;
mod tally;
mod wire;
mod words;

pub use execution::{FragmentExecution, FragmentStats};
pub(crate) use merge::FragmentOutput;
pub use merge::{FragmentResult, PartialMerge};
pub use partial::{LabelHash, NoteSite, PartialBatch, PartialGroup, PartialState};
pub(crate) use plan::AGGREGATIONS_MAX;
pub use plan::{Aggregation, AggregationParam, FragmentId, FragmentPlan, FragmentSpec, Read};
pub use step_parts::StepParts;
pub use wire::WIRE_VERSION;

#[cfg(test)]
mod budget_tests;
#[cfg(test)]
mod histogram_tests;
#[cfg(test)]
mod tests;
