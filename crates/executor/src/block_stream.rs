//! `BlockStream`: the series of one block, rows still encoded, within a fragment's budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pando_block::{SeriesPart, SeriesScan};
use pando_promql::QueryError;

use crate::error::ExecuteError;

/// Bytes of the row groups that the scans of one fragment are at, compressed: part of the query's budget. Rows that
/// wait for their turn hold the pages that they are in besides, decompressed: a page of each column or two, and at
/// most as many rows as a scan hands over at a time. Values that are not compressed are parts of what was fetched: the
/// rows of batches that are worked on keep their row groups while the next ones are read.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) bytes: Arc<AtomicU64>,
    pub(crate) bytes_max: u64,
}

/// A running scan of one block.
pub(crate) struct BlockStream {
    scan: SeriesScan,
    held: Held,
    /// What of `held` is this block's.
    own_bytes: u64,
}

impl BlockStream {
    /// The series of `scan`, whose bytes are part of `held`.
    pub(crate) fn new(scan: SeriesScan, held: Held) -> Self {
        BlockStream { scan, held, own_bytes: 0 }
    }

    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// They cannot be read, or the query's budget is spent.
    pub(crate) async fn next_batch(&mut self) -> Result<Option<Vec<SeriesPart>>, ExecuteError> {
        let batch = self.scan.next_parts().await?;
        self.count()?;
        Ok(batch)
    }

    fn count(&mut self) -> Result<(), ExecuteError> {
        let now = self.scan.held_bytes();
        let (bytes, limit) = (&self.held.bytes, self.held.bytes_max);
        let before = std::mem::replace(&mut self.own_bytes, now);
        let all = bytes.fetch_add(now, Ordering::Relaxed) + now;
        bytes.fetch_sub(before, Ordering::Relaxed);
        if all.saturating_sub(before) > limit {
            return Err(QueryError::Budget { what: "bytes", limit }.into());
        }
        Ok(())
    }
}
