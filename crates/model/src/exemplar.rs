//! `Exemplar`: a sample with labels of its own, usually a trace id.

use crate::labels::Labels;

/// One exemplar of a series.
#[derive(Clone, PartialEq, Debug)]
pub struct Exemplar {
    /// Its own labels, such as `trace_id`.
    pub labels: Labels,
    /// The observed value.
    pub value: f64,
    /// When it was observed, ms.
    pub timestamp_ms: i64,
}
