//! `BlockError`: what can go wrong with a block, and `ReadError`: what its bytes' source may
//! answer.

use pando_codec::CodecError;
use pando_model::{BlockId, ErrorKind};
use pando_proto::record::RecordError;
use thiserror::Error;

/// Why a range of an object could not be read. Made by whoever implements [`crate::RangeReader`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct ReadError {
    /// What it means to a caller: not found, unavailable, timeout ...
    pub kind: ErrorKind,
    /// What was read, and what went wrong.
    pub message: String,
}

/// Why a block could not be written, opened or read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BlockError {
    /// Bytes are not what was written: a hash differs, or bytes that it covers contradict each
    /// other.
    #[error("block is corrupt: block={block} offset={offset} bytes={bytes} what=\"{what}\"")]
    Corrupt {
        /// The block.
        block: BlockId,
        /// Where the range begins in the object, bytes.
        offset: u64,
        /// Length of the range, bytes.
        bytes: u64,
        /// What is wrong there.
        what: String,
    },
    /// Written by a later version of the format.
    #[error("unknown version of the block format: block={block} found={found} known={known}")]
    Unsupported {
        /// The block.
        block: BlockId,
        /// The version in the record.
        found: u32,
        /// The newest version that is known here.
        known: u32,
    },
    /// A row was pushed that does not come after the one before it.
    #[error("rows are out of order: block={block} row={row} series={series} what=\"{what}\"")]
    Order {
        /// The block being written.
        block: BlockId,
        /// The row that was refused.
        row: u64,
        /// Tenant and labels of the row.
        series: String,
        /// Which part of the order is broken.
        what: &'static str,
    },
    /// Something pushed or stored exceeds a limit.
    #[error("block limit exceeded: block={block} {limit} found={found} max={max}")]
    Limit {
        /// The block.
        block: BlockId,
        /// The name of the limit.
        limit: &'static str,
        /// What was found.
        found: u64,
        /// What is allowed.
        max: u64,
    },
    /// A value's encoding could not be read, though its page is as it was written.
    #[error(
        "value of a block cannot be decoded: block={block} series={series} column={column}: \
         {source}"
    )]
    Value {
        /// The block.
        block: BlockId,
        /// The labels of the row.
        series: String,
        /// The column.
        column: &'static str,
        /// What the codec said.
        source: CodecError,
    },
    /// The Parquet library refused verified bytes, or refused to write.
    #[error("parquet: block={block} {what}")]
    Parquet {
        /// The block.
        block: BlockId,
        /// What it said.
        what: String,
    },
    /// A merge would have lost or invented samples.
    #[error(
        "merge does not conserve samples: block={block} what=\"{what}\" samples={samples} \
         expected={expected}"
    )]
    Conservation {
        /// The block whose samples are not what they should be.
        block: BlockId,
        /// Which side of the merge.
        what: &'static str,
        /// Samples found (the multiset hash may differ even where the numbers are equal).
        samples: u64,
        /// Samples expected.
        expected: u64,
    },
    /// The record in a footer.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The bytes could not be had.
    #[error("block={block}: {source}")]
    Read {
        /// The block.
        block: BlockId,
        /// What the source of the bytes said.
        source: ReadError,
    },
}

impl BlockError {
    /// What the error means to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            BlockError::Corrupt { .. } | BlockError::Parquet { .. } => ErrorKind::Corrupt,
            BlockError::Unsupported { .. } => ErrorKind::Unsupported,
            BlockError::Order { .. } | BlockError::Conservation { .. } => ErrorKind::Internal,
            BlockError::Limit { .. } => ErrorKind::LimitExceeded,
            BlockError::Value { source, .. } => source.kind(),
            BlockError::Record(e) => e.kind(),
            BlockError::Read { source, .. } => source.kind,
        }
    }
}

/// A parquet error about `block`.
pub(crate) fn parquet_error(
    block: BlockId,
) -> impl Fn(parquet::errors::ParquetError) -> BlockError {
    move |e| BlockError::Parquet { block, what: e.to_string() }
}

/// An arrow error about `block`.
pub(crate) fn arrow_error(block: BlockId) -> impl Fn(arrow::error::ArrowError) -> BlockError {
    move |e| BlockError::Parquet { block, what: e.to_string() }
}

/// Runs `decode` of verified bytes. The parquet crate panics on some inputs; what it is given here
/// has been hashed first, so that a panic is a fault in our own files or in that crate. It becomes
/// an error of this block, since one bad block must not end a process that serves many.
pub(crate) fn contain<T>(
    block: BlockId,
    decode: impl FnOnce() -> Result<T, BlockError>,
) -> Result<T, BlockError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(decode)).unwrap_or_else(|cause| {
        let text = cause
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| cause.downcast_ref::<&str>().map(|s| (*s).to_string()))
            .unwrap_or_default();
        Err(BlockError::Parquet { block, what: format!("decoder panicked: {text}") })
    })
}
