//! Why a request has no answer.

use std::time::Duration;

use pando_model::{ErrorKind, ShardId};
use pando_promql::QueryError;
use pando_rpc::http::ApiError;
use tonic::Status;

use crate::planner::PlanError;

/// Why a request has no answer. Texts that Prometheus has are Prometheus'.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FrontendError {
    /// The engine refuses: a wrong expression, a budget.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The catalog does not fit together.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The query took too long.
    #[error("query timed out in {stage}: timeout={timeout:?}")]
    Timeout {
        /// Where it was.
        stage: &'static str,
        /// How long it might take.
        timeout: Duration,
    },
    /// No version of the catalog is known that could be pinned.
    #[error("the catalog is not known yet: version={at_least} waited={waited_ms}ms")]
    NoCatalog {
        /// The lowest version that would do.
        at_least: u64,
        /// How long it was waited for, ms.
        waited_ms: u64,
    },
    /// No controller could say whether the tenant has data.
    #[error("tenant without a route, and no controller says whether it has one: {0}")]
    NoController(String),
    /// A lookup or a search for exemplars found too much.
    #[error(
        "too many results: results_max={limit} of={what}: name fewer series, a shorter time or a limit"
    )]
    TooMany {
        /// What was looked for.
        what: &'static str,
        /// The most results of one answer.
        limit: usize,
    },
    /// A member refused, or did not answer; all were asked who could.
    #[error("{message}")]
    Member {
        /// What it means.
        kind: ErrorKind,
        /// Who, and what it said.
        message: String,
    },
    /// Who leads a shard did not answer.
    #[error("leader of the shard did not answer: shard={shard}: {why}")]
    NoLeader {
        /// The shard.
        shard: ShardId,
        /// What is known of its members.
        why: String,
    },
    /// No member of a shard answered.
    #[error("no member of the shard answered: shard={shard}: {why}")]
    NoMember {
        /// The shard.
        shard: ShardId,
        /// What the last one said.
        why: String,
    },
}

impl FrontendError {
    /// What the error means to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            FrontendError::Query(error) => error.kind(),
            FrontendError::Plan(error) => error.kind(),
            FrontendError::Timeout { .. } => ErrorKind::Timeout,
            FrontendError::Member { kind, .. } => *kind,
            FrontendError::TooMany { .. } => ErrorKind::LimitExceeded,
            FrontendError::NoCatalog { .. }
            | FrontendError::NoController(_)
            | FrontendError::NoLeader { .. }
            | FrontendError::NoMember { .. } => ErrorKind::Unavailable,
        }
    }

    /// Whether a part of the cluster did not answer, so that the rest may stand as a partial
    /// answer.
    pub(crate) fn is_absence(&self) -> bool {
        self.kind() == ErrorKind::Unavailable
    }

    /// What a member said. A peer's text about the engine is the caller's own affair and stays as
    /// it is.
    pub(crate) fn from_member(status: &Status, who: &str) -> Self {
        // A status with a source was not sent by the member: the connection broke.
        let kind = match std::error::Error::source(status) {
            Some(_) => ErrorKind::Unavailable,
            None => pando_rpc::kind_of(status),
        };
        let message = match kind {
            ErrorKind::Execution | ErrorKind::LimitExceeded | ErrorKind::Invalid => {
                status.message().to_string()
            }
            _ => format!("{who}: {}", status.message()),
        };
        FrontendError::Member { kind, message }
    }
}

impl From<FrontendError> for ApiError {
    fn from(error: FrontendError) -> Self {
        ApiError::new(error.kind(), error.to_string())
    }
}
