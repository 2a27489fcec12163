//! What can be wrong with a scrape body. Texts are Prometheus' own where it has one: people search for them.

use pando_model::{ErrorKind, Labels};
use thiserror::Error;

/// A line that cannot be parsed. It ends the scrape: what came before it must not be stored.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line={line}: {message}")]
pub struct ParseError {
    /// The line, counted from 1.
    pub line: usize,
    /// What was expected and found, in Prometheus' words.
    pub message: String,
}

impl ParseError {
    /// What it means to a caller.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// A response whose `Content-Type` names no format that can be parsed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ContentTypeError {
    /// No header, and the target has no fallback.
    #[error(
        "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol \
         specified for target"
    )]
    Blank,
    /// A header that is not a media type, and the target has no fallback.
    #[error("cannot parse Content-Type {0:?} and no fallback_scrape_protocol for target")]
    Malformed(String),
    /// A media type that is no exposition format, and the target has no fallback.
    #[error(
        "received unsupported Content-Type {0:?} and no fallback_scrape_protocol specified for target"
    )]
    Unsupported(String),
    /// The protobuf format, which nobody asked for: it is never in the `Accept` header.
    #[error("received Content-Type {0:?}, the protobuf format, which was not asked for")]
    Protobuf(String),
}

impl ContentTypeError {
    /// What it means to a caller.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// A sample line that parses but names no series that can be stored. Prometheus fails the scrape on it.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum LabelsProblem {
    /// The metric's name or a label's name is empty.
    #[error("invalid metric name or label names: {labels}")]
    EmptyName {
        /// The other labels.
        labels: Labels,
    },
    /// The metric's name or a label's name is not UTF-8.
    #[error("invalid metric name or label names: name={name:?} is not UTF-8")]
    NotUtf8 {
        /// The name, with its faulty bytes replaced.
        name: String,
    },
    /// A label stands twice.
    #[error("label name {name:?} is not unique: labels={labels}")]
    Duplicate {
        /// The label's name.
        name: String,
        /// The labels, of equal names the last one.
        labels: Labels,
    },
}

impl LabelsProblem {
    /// What it means to a caller.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}
