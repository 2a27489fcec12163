//! What a query answers.

use std::sync::Arc;

use pando_model::{Histogram, Labels, SampleValue};

/// The answer of a query.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryOutput {
    /// The value.
    pub value: QueryValue,
    /// Warnings, each with its place in the text.
    pub warnings: Vec<String>,
    /// Infos, each with its place in the text.
    pub infos: Vec<String>,
    /// What it took.
    pub stats: QueryStats,
}

/// What a query took, at the frontend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryStats {
    /// The most samples and step values held at one moment.
    pub peak_samples: u64,
    /// Step values and samples that came from fragments.
    pub fragment_samples: u64,
    /// The samples that each step looked at; empty unless [`super::QueryParams::count_samples`].
    pub step_samples: Vec<u64>,
}

/// The value of a query.
#[derive(Clone, Debug, PartialEq)]
pub enum QueryValue {
    /// A scalar expression's value at the query's time.
    Scalar {
        /// The query's time, ms.
        t_ms: i64,
        /// The value.
        value: f64,
    },
    /// A text.
    String {
        /// The query's time, ms.
        t_ms: i64,
        /// The text.
        text: String,
    },
    /// An instant query's series, in the order that `sort` or `topk` gave them.
    Vector(Vec<VectorSample>),
    /// A range query's series, sorted by labels; and an instant query's range vector.
    Matrix(Vec<MatrixSeries>),
}

impl QueryValue {
    /// The `resultType` of the HTTP API.
    pub fn result_type(&self) -> &'static str {
        match self {
            QueryValue::Scalar { .. } => "scalar",
            QueryValue::String { .. } => "string",
            QueryValue::Vector(_) => "vector",
            QueryValue::Matrix(_) => "matrix",
        }
    }
}

/// One series of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSample {
    /// The series.
    pub labels: Labels,
    /// The time, ms.
    pub t_ms: i64,
    /// The value.
    pub value: SampleValue,
}

/// One series of a matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSeries {
    /// The series.
    pub labels: Labels,
    /// Float points (time in ms, value), in time order.
    pub floats: Vec<(i64, f64)>,
    /// Histogram points, in time order; at other times than the floats.
    pub histograms: Vec<(i64, Arc<Histogram>)>,
}
