//! Why a fragment was not executed.

use pando_block::BlockError;
use pando_model::{BlockId, ErrorKind};
use pando_promql::QueryError;
use tonic::Status;

/// Why a fragment was not executed.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// A block cannot be read, or is damaged.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The engine refuses: a budget, a canceled query, a wrong expression.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The sources are not there any more: plan again at a newer catalog version.
    #[error("stale catalog: {0}")]
    Stale(String),
    /// A live generation cannot be read.
    #[error("{message}")]
    Live {
        /// What it means.
        kind: ErrorKind,
        /// What happened.
        message: String,
    },
    /// The request is not one.
    #[error("{0}")]
    Invalid(String),
}

impl ExecuteError {
    /// What the error means to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ExecuteError::Block(error) => match error.kind() {
                // An object that the catalog named a moment ago: it was replaced.
                ErrorKind::NotFound => ErrorKind::Stale,
                kind => kind,
            },
            ExecuteError::Query(error) => error.kind(),
            ExecuteError::Stale(_) => ErrorKind::Stale,
            ExecuteError::Live { kind, .. } => *kind,
            ExecuteError::Invalid(_) => ErrorKind::Invalid,
        }
    }

    /// An error of a member that was asked for a live generation.
    pub fn from_status(status: &Status, what: &str) -> Self {
        let kind = pando_rpc::kind_of(status);
        ExecuteError::Live { kind, message: format!("{what}: {}", status.message()) }
    }

    /// As a gRPC status.
    pub fn status(&self) -> Status {
        pando_rpc::status(self.kind(), self)
    }

    /// A block that the store does not have.
    pub(crate) fn gone(block: BlockId) -> Self {
        ExecuteError::Stale(format!("block is gone: block={block}"))
    }
}
