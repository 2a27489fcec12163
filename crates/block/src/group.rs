//! `GroupRead`: rows and columns of one row group, the pages they need, and the decoder that turns
//! verified pages into Arrow batches.
//!
//! It does not know why the rows were selected.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection, RowSelectionPolicy,
};

use crate::error::{BlockError, arrow_error, contain, parquet_error};
use crate::io::coalesce;
use crate::pages::{Page, VerifiedPages};
use crate::reader::Opened;

/// Rows that are decoded into Arrow arrays at once.
const BATCH_ROWS: usize = 1_024;

/// Rows between two selected ones that are decoded with them: to skip them costs more, in each column.
const GAP_ROWS_MAX: u64 = 32;

/// What to read of one row group.
#[derive(Clone, Debug)]
pub(crate) struct GroupRead {
    pub(crate) group: usize,
    /// Rows within the group, sorted, disjoint, not empty.
    pub(crate) rows: Vec<Range<u64>>,
    /// Root columns, sorted.
    pub(crate) roots: Vec<usize>,
}

impl GroupRead {
    /// The same with the rows of short gaps, unless their pages make it a quarter larger.
    pub(crate) fn bridged(&self, block: &Opened) -> GroupRead {
        let bridged = self.without_short_gaps();
        let bytes = |read: &GroupRead| -> u64 {
            read.pages(block).iter().map(|page| u64::from(page.bytes)).sum()
        };
        if bridged.rows.len() < self.rows.len() && bytes(&bridged) * 4 > bytes(self) * 5 {
            return self.clone();
        }
        bridged
    }

    fn without_short_gaps(&self) -> GroupRead {
        let mut rows: Vec<Range<u64>> = Vec::with_capacity(self.rows.len());
        for run in &self.rows {
            match rows.last_mut() {
                Some(last) if run.start - last.end <= GAP_ROWS_MAX => last.end = run.end,
                _ => rows.push(run.clone()),
            }
        }
        GroupRead { group: self.group, rows, roots: self.roots.clone() }
    }

    /// The pages that hold the rows.
    pub(crate) fn pages(&self, block: &Opened) -> Vec<Page> {
        let leaves = self.roots.iter().flat_map(|root| block.columns.leaves(*root));
        leaves.flat_map(|leaf| block.pages.select(self.group, leaf, &self.rows)).collect()
    }

    /// The ranges to fetch: pages, joined where they are near.
    pub(crate) fn ranges(&self, block: &Opened) -> Vec<Range<u64>> {
        coalesce(self.pages(block).iter().map(Page::range).collect())
    }

    /// Verifies `parts`, the bytes of [`GroupRead::ranges`], and decodes them batch by batch.
    pub(crate) fn decode(
        &self,
        block: &Arc<Opened>,
        parts: &[Bytes],
    ) -> Result<GroupBatches, BlockError> {
        self.decode_from(block, &self.ranges(block), parts)
    }

    /// [`GroupRead::decode`] where more was fetched than this read needs.
    pub(crate) fn decode_from(
        &self,
        block: &Arc<Opened>,
        ranges: &[Range<u64>],
        parts: &[Bytes],
    ) -> Result<GroupBatches, BlockError> {
        let record = &block.record;
        let pages = self.pages(block);
        let verified =
            VerifiedPages::verify(record.id, record.object_bytes, &pages, ranges, parts)?;
        let reader = contain(record.id, || {
            let mask =
                ProjectionMask::roots(block.arrow.parquet_schema(), self.roots.iter().copied());
            let rows = self.rows.iter().map(|r| r.start as usize..r.end as usize);
            let total = block.group_rows(self.group) as usize;
            let selection = RowSelection::from_consecutive_ranges(rows, total);
            // A mask would decode pages that no selected row is in, and those have not been
            // fetched.
            ParquetRecordBatchReaderBuilder::new_with_metadata(verified, block.arrow.clone())
                .with_row_groups(vec![self.group])
                .with_projection(mask)
                .with_row_selection(selection)
                .with_row_selection_policy(RowSelectionPolicy::Selectors)
                .with_batch_size(BATCH_ROWS)
                .build()
                .map_err(parquet_error(record.id))
        })?;
        let rows = self.rows.iter().map(|r| r.end - r.start).sum();
        Ok(GroupBatches { block: block.clone(), reader: Some(reader), rows_left: rows })
    }
}

/// The batches of a [`GroupRead`].
pub(crate) struct GroupBatches {
    block: Arc<Opened>,
    reader: Option<ParquetRecordBatchReader>,
    rows_left: u64,
}

impl GroupBatches {
    /// The next batch. Exactly the selected rows come, or an error.
    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>, BlockError> {
        let id = self.block.record.id;
        let Some(reader) = &mut self.reader else { return Ok(None) };
        let batch = contain(id, || reader.next().transpose().map_err(arrow_error(id)));
        let short = || BlockError::Parquet {
            block: id,
            what: "another number of rows was decoded than selected".to_string(),
        };
        match batch {
            Ok(Some(batch)) => {
                let left = self.rows_left.checked_sub(batch.num_rows() as u64);
                self.rows_left = left.ok_or_else(short)?;
                Ok(Some(batch))
            }
            Ok(None) => {
                self.reader = None;
                if self.rows_left > 0 { Err(short()) } else { Ok(None) }
            }
            Err(e) => {
                self.reader = None;
                Err(e)
            }
        }
    }
}

/// Positions as runs: `[3, 4, 7]` becomes `[3..5, 7..8]`. `positions` rise.
pub(crate) fn runs(positions: impl IntoIterator<Item = u64>) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for at in positions {
        match runs.last_mut() {
            Some(run) if run.end == at => run.end = at + 1,
            _ => runs.push(at..at + 1),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_gaps_are_bridged() {
        let bridged = |rows: Vec<Range<u64>>| {
            GroupRead { group: 0, rows, roots: Vec::new() }.without_short_gaps().rows
        };
        assert_eq!(bridged(vec![3..4, 5..9, 41..42, 75..76]), [3..42, 75..76]);
        assert!(bridged(vec![]).is_empty());
    }

    #[test]
    fn neighbours_become_runs() {
        assert_eq!(runs([3, 4, 7]), [3..5, 7..8]);
        assert!(runs([]).is_empty());
    }
}
