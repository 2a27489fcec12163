//! What can go wrong, and what each of it means to a caller.

use std::io;
use std::path::PathBuf;

use pando_model::{ClusterId, ErrorKind, NodeId};

use crate::member::Member;

/// Why a host or a group cannot be opened, or a checkpoint not be written.
#[derive(Debug, thiserror::Error)]
pub enum ConsensusError {
    /// The disk failed.
    #[error("disk failed: path={} {source}", path.display())]
    Disk {
        /// The file or directory.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// Stored bytes are not what was written. Nothing was changed: the file waits for a human or for the
    /// member to be replaced.
    #[error("stored bytes are damaged: path={} offset={offset} {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// What was found.
        reason: String,
    },
    /// A version that this process does not know.
    #[error("format is not known: path={} version={version} known={known}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
        /// The newest one that can be read.
        known: u32,
    },
    /// The data directory of another node or cluster.
    #[error(
        "log is another node's: path={} cluster={cluster} node={node} own_cluster={own_cluster} \
         own_node={own_node}", path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        cluster: ClusterId,
        /// Whose it is.
        node: NodeId,
        /// Who asks.
        own_cluster: ClusterId,
        /// Who asks.
        own_node: NodeId,
    },
    /// The request itself is wrong.
    #[error("group cannot be opened: group={group} {reason}")]
    Invalid {
        /// The group.
        group: u64,
        /// Why.
        reason: String,
    },
    /// No such group on this disk.
    #[error("group is not known here: group={group}")]
    NotFound {
        /// The group.
        group: u64,
    },
    /// A limit of the configuration.
    #[error("limit is reached: limit={limit} max={max}")]
    LimitExceeded {
        /// The limit's name.
        limit: &'static str,
        /// Its value.
        max: u64,
    },
    /// The log or a group stopped for good: a disk failed or a state machine could not go on.
    #[error("stopped for good: {reason}")]
    Failed {
        /// What happened first.
        reason: String,
    },
}

impl ConsensusError {
    /// What the error means.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ConsensusError::Disk { .. } | ConsensusError::Failed { .. } => ErrorKind::Internal,
            ConsensusError::Corrupt { .. } => ErrorKind::Corrupt,
            ConsensusError::Unsupported { .. } => ErrorKind::Unsupported,
            ConsensusError::Foreign { .. } => ErrorKind::Forbidden,
            ConsensusError::Invalid { .. } => ErrorKind::Invalid,
            ConsensusError::NotFound { .. } => ErrorKind::NotFound,
            ConsensusError::LimitExceeded { .. } => ErrorKind::LimitExceeded,
        }
    }

    pub(crate) fn disk(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| ConsensusError::Disk { path, source }
    }
}

/// Why an entry was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This member does not lead. The entry is not in the log, or was in it and is certainly gone.
    #[error("this member does not lead: leader={}", name_of(leader))]
    NotLeader {
        /// Who does, where that is known.
        leader: Option<Member>,
    },
    /// Larger than an entry may be.
    #[error("entry is too large: limit=entry_bytes_max max={max} bytes={bytes}")]
    TooLarge {
        /// The limit.
        max: usize,
        /// The entry.
        bytes: usize,
    },
    /// Time heals it. The outcome is unknown: the entry may yet be committed.
    #[error("no majority has answered: {0}")]
    Unavailable(String),
    /// The group stopped for good: a disk failed or a state machine could not go on.
    #[error("group has stopped: {0}")]
    Fatal(String),
}

impl ProposeError {
    /// What the error means.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ProposeError::NotLeader { .. } | ProposeError::Unavailable(_) => ErrorKind::Unavailable,
            ProposeError::TooLarge { .. } => ErrorKind::LimitExceeded,
            ProposeError::Fatal(_) => ErrorKind::Internal,
        }
    }
}

/// Why a read could not be confirmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader is known, or the leader could not confirm itself, or this member lags behind.
    #[error("read cannot be confirmed: {0}")]
    Unavailable(String),
    /// The group stopped for good.
    #[error("group has stopped: {0}")]
    Fatal(String),
}

impl ReadError {
    /// What the error means.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ReadError::Unavailable(_) => ErrorKind::Unavailable,
            ReadError::Fatal(_) => ErrorKind::Internal,
        }
    }
}

fn name_of(leader: &Option<Member>) -> String {
    leader.as_ref().map_or_else(|| "unknown".to_string(), |m| format!("{} ({})", m.node, m.address))
}
