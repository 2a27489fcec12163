//! What can be wrong with a request, with a series of it, with a histogram.

use pando_model::{ErrorKind, Labels};
use thiserror::Error;

/// Why a request is refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RemoteWriteError {
    /// A message or an encoding that is not known: HTTP 415, never 400, so that a sender can fall back.
    #[error("unsupported media type: {0}")]
    UnsupportedMediaType(String),
    /// The body is no snappy block.
    #[error("invalid snappy block: {0}")]
    Snappy(String),
    /// A limit is exceeded, before memory was taken for it.
    #[error("request too large: {what} have={have} limit={limit}")]
    TooLarge {
        /// The limit's name.
        what: &'static str,
        /// What the request has.
        have: u64,
        /// What is allowed.
        limit: u64,
    },
    /// The block is no protobuf of the message.
    #[error("malformed protobuf: {reason} message={message} offset={offset}")]
    Malformed {
        /// The message that could not be read.
        message: &'static str,
        /// Byte of the decompressed body.
        offset: usize,
        /// What is wrong there.
        reason: &'static str,
    },
}

impl RemoteWriteError {
    /// What it means to a caller. The HTTP status of an unsupported media type is 415, which is not in the
    /// table of kinds.
    pub fn kind(&self) -> ErrorKind {
        match self {
            RemoteWriteError::UnsupportedMediaType(_) => ErrorKind::Unsupported,
            RemoteWriteError::TooLarge { .. } => ErrorKind::LimitExceeded,
            RemoteWriteError::Snappy(_) | RemoteWriteError::Malformed { .. } => ErrorKind::Invalid,
        }
    }
}

/// Why a series cannot be stored, in Prometheus' words. In 1.0 the series is left out and the request
/// succeeds; in 2.0 it is answered with 400 and the good series are stored.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum SeriesProblem {
    /// No metric name, or a label without a name.
    #[error("invalid metric name or labels, got {labels}")]
    InvalidName {
        /// The labels.
        labels: Labels,
    },
    /// A name or value that is not UTF-8.
    #[error("invalid metric name or labels, got {text:?}, which is not UTF-8")]
    NotUtf8 {
        /// The text, with its faulty bytes replaced.
        text: String,
    },
    /// A label that stands twice.
    #[error("invalid labels for series, labels {labels}, duplicated label {name}")]
    DuplicateLabel {
        /// The labels, of equal names the last one.
        labels: Labels,
        /// The label's name.
        name: String,
    },
    /// References to names without values.
    #[error("parsing labels for series: invalid labelRefs length {count}")]
    OddReferences {
        /// How many there are.
        count: usize,
    },
    /// A reference beyond the table of symbols.
    #[error(
        "parsing labels for series: labelRefs {reference} outside of symbols table (size {symbols})"
    )]
    UnknownSymbol {
        /// The reference.
        reference: u32,
        /// The size of the table.
        symbols: usize,
    },
    /// Nothing to store; a problem in 2.0 only.
    #[error("TimeSeries must contain at least one sample or histogram for series {labels}")]
    Empty {
        /// The labels.
        labels: Labels,
    },
}

impl SeriesProblem {
    /// What it means to a caller.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// Why a native histogram cannot be stored, in Prometheus' words.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum HistogramProblem {
    /// A schema that nobody knows.
    #[error(
        "histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, or -53 for custom buckets, got schema {0}"
    )]
    Schema(i32),
    /// Spans that name more or fewer buckets than there are.
    #[error("{side}: spans need {spans} buckets, have {buckets} buckets")]
    SpansMismatch {
        /// Which side of the histogram.
        side: &'static str,
        /// Buckets that the spans name.
        spans: u64,
        /// Buckets that there are.
        buckets: usize,
    },
    /// A span that goes back.
    #[error("{side}: span number {number} with offset {offset}: negative span offset")]
    NegativeOffset {
        /// Which side of the histogram.
        side: &'static str,
        /// The span, counted from 1.
        number: usize,
        /// Its offset.
        offset: i32,
    },
    /// A bucket, or the whole, with less than nothing in it; or deltas that overflow.
    #[error("{place}: observation count is negative or overflows: count={count}")]
    NegativeCount {
        /// Where.
        place: &'static str,
        /// What stands there.
        count: f64,
    },
    /// Buckets that do not add up to the count.
    #[error("{sum} observations found in buckets, but the Count field is {count}")]
    CountMismatch {
        /// What the buckets add up to.
        sum: u64,
        /// What the histogram says.
        count: u64,
    },
    /// Custom buckets with something that they cannot have.
    #[error("custom buckets: must not have {0}")]
    CustomWith(&'static str),
    /// Custom bounds that do not rise, are no numbers, or are too few.
    #[error("custom buckets: {0}")]
    CustomBounds(&'static str),
    /// An exponential histogram with custom bounds.
    #[error("histogram with exponential schema must not have custom bounds")]
    ExponentialWithBounds,
}

impl HistogramProblem {
    /// What it means to a caller.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}
