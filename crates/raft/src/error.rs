//! What can go wrong with a group.

use pando_model::ErrorKind;

use crate::group::Member;

/// Why a group, or the log of all groups, cannot be opened or used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConsensusError {
    /// The disk failed. The log takes nothing more in this process (fail-stop).
    #[error("log cannot be written or read: {0}")]
    Disk(String),
    /// Stored bytes are not what was written, and not at the torn end of the log.
    #[error(
        "log is damaged: file={file} offset={offset}: {reason}; move it away to go on without it"
    )]
    Damaged {
        /// The file.
        file: String,
        /// Where, bytes.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// Written by a newer version.
    #[error("unknown version: file={file} found={found} known={known}")]
    UnknownVersion {
        /// The file.
        file: String,
        /// The version in it.
        found: u32,
        /// The one that this build reads.
        known: u32,
    },
    /// openraft stopped.
    #[error("group has stopped: {0}")]
    Stopped(String),
}

impl ConsensusError {
    /// What the error means.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ConsensusError::Disk(_) | ConsensusError::Stopped(_) => ErrorKind::Unavailable,
            ConsensusError::Damaged { .. } => ErrorKind::Corrupt,
            ConsensusError::UnknownVersion { .. } => ErrorKind::Unsupported,
        }
    }
}

impl From<std::io::Error> for ConsensusError {
    fn from(error: std::io::Error) -> Self {
        ConsensusError::Disk(error.to_string())
    }
}

/// Why a proposal was not committed, or is not known to be.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProposeError {
    /// Another member leads.
    #[error("another member leads the group: leader={leader:?}")]
    NotLeader {
        /// Which, where it is known.
        leader: Option<Member>,
    },
    /// The outcome is unknown, or the majority does not answer.
    #[error("{0}")]
    Unavailable(String),
}

impl ProposeError {
    /// What the error means.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }
}
