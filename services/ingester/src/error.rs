//! Why a generation is not in the catalog yet.

use pando_block::BlockError;
use pando_catalog::CatalogError;
use pando_cluster::ProposeError;
use pando_consensus::ReadError;
use pando_head::HeadError;
use pando_model::{BlockId, Cut, ErrorKind, ShardId};

use crate::write_queue::WriteError;

/// Why an ingester could not do what its shards need. All of it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum IngesterError {
    /// The shard's log.
    #[error(transparent)]
    Log(#[from] WriteError),
    /// What the shard's log holds is not known for sure.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The shard's state.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// A block cannot be built.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The object store.
    #[error(transparent)]
    Store(#[from] CatalogError),
    /// The catalog refuses, or no controller answers.
    #[error(transparent)]
    Controller(#[from] ProposeError),
    /// What was built holds something else than the generation does.
    #[error(
        "block differs from its generation: shard={shard} cut={cut} block={block} \
         samples={samples} expected={expected}"
    )]
    BlockDiffers {
        /// The shard.
        shard: ShardId,
        /// The generation.
        cut: Cut,
        /// The block.
        block: BlockId,
        /// Samples in the block (the hash may differ where the numbers are equal).
        samples: u64,
        /// Samples of the generation.
        expected: u64,
    },
    /// The object store holds something else than was written.
    #[error(
        "object differs from what was written: block={block} bytes={bytes} expected={expected}"
    )]
    ObjectDiffers {
        /// The block.
        block: BlockId,
        /// Bytes that were read (their content may differ where the numbers are equal).
        bytes: usize,
        /// Bytes that were written.
        expected: usize,
    },
    /// Too few members have the same samples, or have answered.
    #[error(
        "replicas do not agree on a generation: shard={shard} cut={cut} agree={agree} need={need}"
    )]
    NoMajority {
        /// The shard.
        shard: ShardId,
        /// The generation.
        cut: Cut,
        /// Members with the digest of this one, itself included.
        agree: usize,
        /// Members that are needed.
        need: usize,
    },
    /// The catalog answered something that is no answer to what it was asked.
    #[error("unexpected answer: {0}")]
    Unexpected(String),
}

impl IngesterError {
    /// What the error means.
    pub fn kind(&self) -> ErrorKind {
        match self {
            IngesterError::Log(error) => error.kind(),
            IngesterError::Read(error) => error.kind(),
            IngesterError::Head(error) => error.kind(),
            IngesterError::Block(error) => error.kind(),
            IngesterError::Store(error) => error.kind(),
            IngesterError::Controller(error) => error.kind(),
            IngesterError::BlockDiffers { .. } | IngesterError::Unexpected(_) => {
                ErrorKind::Internal
            }
            IngesterError::ObjectDiffers { .. } => ErrorKind::Corrupt,
            IngesterError::NoMajority { .. } => ErrorKind::Unavailable,
        }
    }
}
