//! `Subject`: what a script is run against, and what it answers. The runner knows no more of an engine or a server.

use std::fmt;

use pando_model::{Labels, ResetHint, SampleValue};

use super::histogram::described;
use super::shown::ShownHistogram;

/// What takes a script's samples and answers its expressions.
pub trait Subject {
    /// Forgets all samples.
    ///
    /// # Errors
    /// It cannot be done.
    fn clear(&mut self) -> Result<(), SubjectError>;

    /// Adds the samples of one `load` to those that are there.
    ///
    /// # Errors
    /// Samples are refused, or it cannot be done.
    fn load(&mut self, series: Vec<LoadedSeries>) -> Result<(), SubjectError>;

    /// Evaluates `expr`.
    ///
    /// # Errors
    /// The expression is refused, or it cannot be done.
    fn ask(&mut self, expr: &str, times: EvalTimes) -> Result<Answer, SubjectError>;
}

/// Why a subject did not do what it was asked for.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SubjectError {
    /// It will not: an expression or sample that it refuses. A script may expect that.
    #[error("{0}")]
    Refused(String),
    /// It cannot: no answer, or none that can be read. This says nothing about the script, which ends here.
    #[error("{0}")]
    Broken(String),
}

/// A series of a `load`.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedSeries {
    /// Its labels.
    pub labels: Labels,
    /// Its samples, in time order.
    pub samples: Vec<LoadedSample>,
}

/// A sample of a `load`.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedSample {
    /// The time, ms since the epoch, at which all scripts begin.
    pub t_ms: i64,
    /// The start timestamp, ms; 0 for unknown.
    pub start_ms: i64,
    /// The value.
    pub value: SampleValue,
}

/// When an expression is evaluated, ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvalTimes {
    /// An instant query.
    Instant {
        /// The time.
        t_ms: i64,
    },
    /// A range query.
    Range {
        /// The first step.
        start_ms: i64,
        /// The last step is not behind it.
        end_ms: i64,
        /// Between two steps.
        step_ms: i64,
    },
}

/// What a subject answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The value.
    pub value: AnswerValue,
    /// Warnings, each with its place in the expression.
    pub warnings: Vec<String>,
    /// Infos, each with its place in the expression.
    pub infos: Vec<String>,
}

/// The value of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum AnswerValue {
    /// A number.
    Scalar(f64),
    /// A text.
    String(String),
    /// One point of each series, in the order of the answer.
    Vector(Rows),
    /// Points over time of each series.
    Matrix(Rows),
}

/// A result as `labels -> (time in ms, value)*`, in its order; the times of a series rise.
pub type Rows = Vec<(Labels, Vec<(i64, Seen)>)>;

/// A value as far as the subject tells it.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// The value itself.
    Sample(SampleValue),
    /// What the HTTP API shows of a histogram.
    Shown(ShownHistogram),
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seen::Sample(SampleValue::Float(value)) => write!(f, "{value}"),
            Seen::Sample(SampleValue::Histogram(histogram)) => {
                f.write_str(&described(histogram, histogram.reset_hint != ResetHint::Unknown))
            }
            Seen::Shown(histogram) => histogram.fmt(f),
        }
    }
}

impl fmt::Display for AnswerValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, rows) = match self {
            AnswerValue::Scalar(value) => return write!(f, "scalar {value}"),
            AnswerValue::String(text) => return write!(f, "string {text:?}"),
            AnswerValue::Vector(rows) => ("vector", rows),
            AnswerValue::Matrix(rows) => ("matrix", rows),
        };
        let rows: Vec<String> = rows
            .iter()
            .map(|(labels, points)| format!("{labels} {}", points_text(points)))
            .collect();
        write!(f, "{kind}: {}", rows.join(", "))
    }
}

/// A time for people, as scripts and expressions have it.
pub(super) fn seconds(t_ms: i64) -> f64 {
    t_ms as f64 / 1_000.0
}

/// Points as text: `value @ time`, seconds.
pub(super) fn points_text(points: &[(i64, Seen)]) -> String {
    let one = |(t_ms, value): &(i64, Seen)| format!("{value} @ {}", seconds(*t_ms));
    points.iter().map(one).collect::<Vec<_>>().join(" ")
}
