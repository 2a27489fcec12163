//! Why a batch was not shipped.

use std::time::Duration;

use pando_model::ErrorKind;

/// Why a batch, or part of it, was not acknowledged. Parts of it may be stored: sending it again is harmless.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShipError {
    /// Time heals it.
    #[error("{0}")]
    Unavailable(String),
    /// No shard acknowledged it in time.
    #[error("not acknowledged in time: timeout={timeout:?} last={last}")]
    Timeout {
        /// The time that it had.
        timeout: Duration,
        /// What the last trouble was.
        last: String,
    },
    /// A limit of the write block: fewer or shorter series would pass.
    #[error("batch cannot be encoded: {0}")]
    Encode(String),
}

impl ShipError {
    /// What the error means.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ShipError::Unavailable(_) | ShipError::Timeout { .. } => ErrorKind::Unavailable,
            ShipError::Encode(_) => ErrorKind::LimitExceeded,
        }
    }
}
