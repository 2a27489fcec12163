//! Why a batch was not shipped.

use std::time::Duration;

use pando_model::ErrorKind;

use crate::batch::Receipt;

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
    /// The error of a part; another part was judged before.
    #[error("{error}")]
    InPart {
        /// What the other part came to.
        judged: Receipt,
        /// Why the rest is not acknowledged.
        error: Box<ShipError>,
    },
}

impl ShipError {
    /// What the error means.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ShipError::Unavailable(_) | ShipError::Timeout { .. } => ErrorKind::Unavailable,
            ShipError::InPart { error, .. } => error.kind(),
        }
    }

    /// The error beside what is known of other parts.
    pub fn beside(self, judged: Receipt) -> Self {
        if judged == Receipt::default() {
            return self;
        }
        let (error, before) = self.apart();
        let mut all = before;
        all.merge(judged);
        ShipError::InPart { judged: all, error: Box::new(error) }
    }

    /// The error alone, and what was judged beside it.
    pub fn apart(self) -> (Self, Receipt) {
        match self {
            ShipError::InPart { judged, error } => (*error, judged),
            error => (error, Receipt::default()),
        }
    }
}
