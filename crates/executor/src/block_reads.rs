//! `BlockReads`: what one request has read of blocks, and from where; and `ReadCounters`, which count it while it
//! runs. They belong to the request: what others read meanwhile is not in them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

/// Reads of blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockReads {
    /// Bytes read, wherever they came from. Of a footer that was in memory nothing is read.
    pub bytes_read: u64,
    /// Bytes of these that the object store sent.
    pub bytes_fetched: u64,
    /// Ranges that the object store was asked for.
    pub fetches: u64,
    /// Blocks whose opened footer was in memory.
    pub footer_hits: u64,
    /// Ranges that were in memory.
    pub range_hits: u64,
    /// Ranges that were read from the local folder.
    pub folder_hits: u64,
}

impl BlockReads {
    /// All that the object store was not asked for.
    pub fn cache_hits(&self) -> u64 {
        self.footer_hits.saturating_add(self.range_hits).saturating_add(self.folder_hits)
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: BlockReads) -> BlockReads {
        BlockReads {
            bytes_read: self.bytes_read.saturating_add(other.bytes_read),
            bytes_fetched: self.bytes_fetched.saturating_add(other.bytes_fetched),
            fetches: self.fetches.saturating_add(other.fetches),
            footer_hits: self.footer_hits.saturating_add(other.footer_hits),
            range_hits: self.range_hits.saturating_add(other.range_hits),
            folder_hits: self.folder_hits.saturating_add(other.folder_hits),
        }
    }
}

/// Where bytes of a block came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReadFrom {
    Store,
    Memory,
    Folder,
}

/// Counts the reads of one request. Cloning shares the counts.
#[derive(Clone, Debug, Default)]
pub struct ReadCounters(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    bytes_read: AtomicU64,
    bytes_fetched: AtomicU64,
    fetches: AtomicU64,
    footer_hits: AtomicU64,
    range_hits: AtomicU64,
    folder_hits: AtomicU64,
}

impl ReadCounters {
    /// What was read so far.
    pub fn reads(&self) -> BlockReads {
        let now = |count: &AtomicU64| count.load(Ordering::Relaxed);
        BlockReads {
            bytes_read: now(&self.0.bytes_read),
            bytes_fetched: now(&self.0.bytes_fetched),
            fetches: now(&self.0.fetches),
            footer_hits: now(&self.0.footer_hits),
            range_hits: now(&self.0.range_hits),
            folder_hits: now(&self.0.folder_hits),
        }
    }

    /// An opened footer was in memory.
    pub(crate) fn footer_hit(&self) {
        self.0.footer_hits.fetch_add(1, Ordering::Relaxed);
    }

    /// One range was read.
    pub(crate) fn range(&self, from: ReadFrom, bytes: &Bytes) {
        let bytes = bytes.len() as u64;
        let count = match from {
            ReadFrom::Store => {
                self.0.bytes_fetched.fetch_add(bytes, Ordering::Relaxed);
                &self.0.fetches
            }
            ReadFrom::Memory => &self.0.range_hits,
            ReadFrom::Folder => &self.0.folder_hits,
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.0.bytes_read.fetch_add(bytes, Ordering::Relaxed);
    }
}
