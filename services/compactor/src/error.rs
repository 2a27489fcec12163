//! Why a work item did not end well, and what becomes of its lease.

use pando_block::BlockError;
use pando_catalog::{CatalogError, WorkEnd};
use pando_cluster::ProposeError;
use pando_executor::ExecuteError;
use pando_model::{BlockId, CatalogVersion, Digest, ErrorKind};

/// Why a work item did not end well.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// A block cannot be read, written or verified.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// An input cannot be opened.
    #[error("input cannot be opened: {0}")]
    Open(#[source] ExecuteError),
    /// The bucket, or a message of the catalog.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A command about the work did not come through.
    #[error("{what}: {source}")]
    Propose {
        /// Which command.
        what: &'static str,
        /// Why not.
        source: ProposeError,
    },
    /// This member's view of the catalog did not get as far as the lease.
    #[error("catalog lags: needed={needed}")]
    Behind {
        /// The version that is needed.
        needed: CatalogVersion,
    },
    /// The catalog does not name an input any more.
    #[error("input is not named any more: block={block}")]
    InputGone {
        /// The block.
        block: BlockId,
    },
    /// The output's own count is not what the merge kept.
    #[error("output is not what was kept: block={block} kept={} output={}", .kept.samples, .output.samples)]
    NotConserved {
        /// The output.
        block: BlockId,
        /// What the merge kept.
        kept: Digest,
        /// What the output holds.
        output: Digest,
    },
    /// The lease is another's by now.
    #[error("lease is lost: work={work}")]
    LeaseLost {
        /// The work item.
        work: u64,
    },
    /// This process ends.
    #[error("compactor is stopping")]
    Stopping,
    /// A task ended by a fault of ours.
    #[error("merge task ended: {0}")]
    Task(String),
}

impl CompactError {
    /// What the error means to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            CompactError::Block(error) => error.kind(),
            CompactError::Open(error) => match error.kind() {
                // The catalog names the block, and what it named lately outlives its replacement: an
                // object that is not there is lost.
                ErrorKind::Stale => ErrorKind::NotFound,
                kind => kind,
            },
            CompactError::Catalog(error) => error.kind(),
            CompactError::Propose { source, .. } => source.kind(),
            CompactError::Behind { .. } => ErrorKind::Unavailable,
            CompactError::InputGone { .. } => ErrorKind::Stale,
            CompactError::NotConserved { .. } | CompactError::Task(_) => ErrorKind::Internal,
            CompactError::LeaseLost { .. } => ErrorKind::Stale,
            CompactError::Stopping => ErrorKind::Canceled,
        }
    }

    /// How the lease is given back: what time heals, or another compactor does better, is no fault
    /// of the work; everything else counts towards its quarantine.
    pub fn work_end(&self) -> WorkEnd {
        match self.kind() {
            ErrorKind::Unavailable
            | ErrorKind::Timeout
            | ErrorKind::Canceled
            | ErrorKind::Stale
            | ErrorKind::RateLimited
            | ErrorKind::Forbidden => WorkEnd::GivenBack,
            _ => WorkEnd::Failed,
        }
    }
}
