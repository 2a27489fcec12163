//! PromQL: syntax, plan, fragments that run where the data is, their partial states, and the engine that makes
//! the answer of them. No I/O, no clock: whoever holds samples hands them in.
//!
//! ```text
//! text --Query::parse--> syntax tree --> plan --> fragments
//!                                                    | FragmentExecution, anywhere (wire form or not)
//! QueryOutput <--Query::evaluate-- merged results <--+ PartialMerge
//! ```

pub mod annotations;
pub mod budget;
pub mod engine;
pub mod error;
pub mod fragment;
pub mod local;
mod plan;
pub mod promqltest;
#[cfg(test)]
mod properties;
pub mod query;
pub mod steps;
pub mod syntax;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use annotations::{HistogramOperation, Note};
pub use budget::{Budget, CancelFlag, Pool, SAMPLES_MAX};
pub use engine::aggregate::HistogramColumn;
pub use engine::range::{Edges, RangeFunction, RangeRules};
pub use engine::samples::Course;
pub use error::QueryError;
pub use fragment::{
    Aggregation, FragmentExecution, FragmentId, FragmentPlan, FragmentResult, FragmentSpec,
    FragmentStats, LabelHash, NoteSite, PartialBatch, PartialGroup, PartialMerge, PartialState,
    Read, StepParts,
};
pub use local::{SeriesSource, evaluate_local, execute_local};
pub use plan::PlanNode;
pub use query::{
    Features, MatrixSeries, Query, QueryOutput, QueryParams, QueryStats, QueryValue, VectorSample,
};
pub use steps::{STEPS_MAX, Steps};
pub use syntax::{Expr, ParseError, PosRange, ValueType, parse, parse_matchers};
