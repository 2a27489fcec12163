//! `QueryError`: why a query has no answer.

use pando_model::ErrorKind;

use crate::syntax::{ParseError, RegexBudgetError};

/// Why a query or fragment has no answer. Texts that Prometheus has are Prometheus'.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum QueryError {
    /// The text is no PromQL.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A parameter is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The expression cannot be executed on this data.
    #[error("{0}")]
    Execution(String),
    /// The query would hold more samples in memory than its budget allows.
    #[error(
        "query processing would load too many samples into memory in query execution: samples_max={samples_max}"
    )]
    Samples {
        /// The budget, samples.
        samples_max: u64,
    },
    /// Another budget of the query is used up.
    #[error("query exceeds its budget: {what}_max={limit}")]
    Budget {
        /// The thing that is limited.
        what: &'static str,
        /// Its limit.
        limit: u64,
    },
    /// The caller went away.
    #[error("query was canceled in query execution")]
    Canceled,
    /// A message of a version or with a node that this process does not know.
    #[error("unsupported {what}: version={got} supported_version={known}")]
    Unsupported {
        /// The message or node.
        what: &'static str,
        /// What came.
        got: u64,
        /// What this process knows.
        known: u64,
    },
    /// Bytes that are no message of ours.
    #[error("corrupt {what}: {why}")]
    Corrupt {
        /// The message.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A source of samples failed.
    #[error("{message}")]
    Source {
        /// What the failure means to a caller.
        kind: ErrorKind,
        /// The source's own message.
        message: String,
    },
    /// Our own fault.
    #[error("internal query error: {0}")]
    Internal(String),
}

impl From<RegexBudgetError> for QueryError {
    fn from(RegexBudgetError { bytes_max }: RegexBudgetError) -> Self {
        QueryError::Budget { what: "regex_bytes", limit: bytes_max as u64 }
    }
}

impl QueryError {
    /// A wrong parameter.
    pub fn invalid(message: impl Into<String>) -> Self {
        QueryError::Invalid(message.into())
    }

    /// An expression that cannot be executed.
    pub fn execution(message: impl Into<String>) -> Self {
        QueryError::Execution(message.into())
    }

    /// What the error means to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            QueryError::Parse(_) | QueryError::Invalid(_) => ErrorKind::Invalid,
            QueryError::Execution(_) => ErrorKind::Execution,
            QueryError::Samples { .. } | QueryError::Budget { .. } => ErrorKind::LimitExceeded,
            QueryError::Canceled => ErrorKind::Canceled,
            QueryError::Unsupported { .. } => ErrorKind::Unsupported,
            QueryError::Corrupt { .. } => ErrorKind::Corrupt,
            QueryError::Source { kind, .. } => *kind,
            QueryError::Internal(_) => ErrorKind::Internal,
        }
    }
}
