//! `HeadError`: why the head cannot answer.

use pando_codec::CodecError;
use pando_model::{Cut, ErrorKind, ShardId};
use thiserror::Error;

/// Why a shard's head could not answer a query or be restored.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum HeadError {
    /// The generation is in a block and was dropped from memory: the caller's catalog version is too old.
    #[error("generation is not in memory any more: shard={shard} cut={cut} dropped={dropped}")]
    Dropped {
        /// The shard.
        shard: ShardId,
        /// The first generation that was asked for.
        cut: Cut,
        /// The newest generation that was dropped.
        dropped: Cut,
    },
    /// The generation does not exist here yet: this replica has not applied the cut before it.
    #[error("generation has not begun here yet: shard={shard} cut={cut} open={open}")]
    Behind {
        /// The shard.
        shard: ShardId,
        /// The generation that was asked for.
        cut: Cut,
        /// The open generation.
        open: Cut,
    },
    /// A checkpoint that is not what was written.
    #[error("checkpoint cannot be read: shard={shard}")]
    Checkpoint {
        /// The shard.
        shard: ShardId,
        /// What is wrong.
        source: CodecError,
    },
    /// A checkpoint of another shard.
    #[error("checkpoint belongs to another shard: shard={shard} found={found}")]
    OtherShard {
        /// The shard that was restored.
        shard: ShardId,
        /// The shard in the checkpoint.
        found: ShardId,
    },
    /// Samples in memory that do not decode: memory was damaged, or we have a fault.
    #[error("samples in memory are damaged: shard={shard}")]
    Damaged {
        /// The shard.
        shard: ShardId,
        /// What is wrong.
        source: CodecError,
    },
}

impl HeadError {
    /// What the error means to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            HeadError::Dropped { .. } => ErrorKind::Stale,
            HeadError::Behind { .. } => ErrorKind::Unavailable,
            HeadError::Checkpoint { source, .. } => source.kind(),
            HeadError::OtherShard { .. } => ErrorKind::Internal,
            HeadError::Damaged { .. } => ErrorKind::Corrupt,
        }
    }
}
