//! The second stage of a scan: the selected rows as whole series.
//!
//! [`GroupSeries`] decodes one row group from its verified pages, without I/O. [`SeriesScan`]
//! fetches row group after row group and hands out batches.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use pando_model::{Metadata, SeriesSamples, TenantId};

use crate::axes::Axes;
use crate::decode::{Row, decode_batch, sample_roots};
use crate::error::BlockError;
use crate::group::{GroupBatches, GroupRead};
use crate::io::RangeReader;
use crate::reader::{Opened, fetch_verified};
use crate::select::Selection;
use crate::view::View;

impl Selection {
    /// The ranges to fetch before [`Selection::decode`] of row group `at` (below
    /// [`Selection::groups`]).
    pub fn ranges(&self, at: usize) -> Vec<Range<u64>> {
        let read = self.read(at, sample_roots(&self.block.columns));
        read.map(|read| read.ranges(&self.block)).unwrap_or_default()
    }

    /// The series of the `at`-th row group with selected rows. `parts` are the bytes of
    /// [`Selection::ranges`].
    pub fn decode(&self, at: usize, parts: &[Bytes]) -> Result<GroupSeries, BlockError> {
        self.decode_with(at, parts, Axes::new(Some(self.time)))
    }

    /// [`Selection::decode`] with the axes of the row groups before, so that targets share theirs.
    fn decode_with(
        &self,
        at: usize,
        parts: &[Bytes],
        axes: Axes,
    ) -> Result<GroupSeries, BlockError> {
        match self.read(at, sample_roots(&self.block.columns)) {
            Some(read) => GroupSeries::new(self.block.clone(), read, parts, axes),
            None => Ok(GroupSeries::empty(self.block.clone(), axes)),
        }
    }
}

/// A series as it stands in a block.
pub(crate) struct Series {
    pub(crate) samples: SeriesSamples,
    pub(crate) tenant: Option<TenantId>,
    pub(crate) metadata: Option<Metadata>,
}

/// The series of one row group, in order: rows of one series joined, samples outside of the scan's
/// time left out, equal axes shared.
pub struct GroupSeries {
    block: Arc<Opened>,
    roots: Vec<usize>,
    batches: Option<GroupBatches>,
    axes: Axes,
    rows: std::vec::IntoIter<Row>,
    next: Option<Row>,
}

impl GroupSeries {
    fn empty(block: Arc<Opened>, axes: Axes) -> Self {
        let rows = Vec::new().into_iter();
        GroupSeries { block, roots: Vec::new(), batches: None, axes, rows, next: None }
    }

    pub(crate) fn new(
        block: Arc<Opened>,
        read: GroupRead,
        parts: &[Bytes],
        axes: Axes,
    ) -> Result<Self, BlockError> {
        let batches = read.decode(&block, parts)?;
        let mut series = GroupSeries::empty(block, axes);
        (series.roots, series.batches) = (read.roots, Some(batches));
        series.next = series.next_row()?;
        Ok(series)
    }

    pub(crate) fn into_axes(self) -> Axes {
        self.axes
    }

    /// The next series; `None` at the end. After an error the rest is lost.
    pub fn next_series(&mut self) -> Result<Option<SeriesSamples>, BlockError> {
        loop {
            match self.next_raw()? {
                Some(series) if series.samples.is_empty() => {}
                series => return Ok(series.map(|s| s.samples)),
            }
        }
    }

    /// Series of about `samples_max` samples together; empty at the end.
    pub fn next_batch(&mut self, samples_max: usize) -> Result<Vec<SeriesSamples>, BlockError> {
        let mut batch = Vec::new();
        let mut samples = 0;
        while samples < samples_max.max(1) {
            let Some(series) = self.next_series()? else { break };
            samples += series.len();
            batch.push(series);
        }
        Ok(batch)
    }

    /// The next series with what else its rows say; it may be without samples.
    pub(crate) fn next_raw(&mut self) -> Result<Option<Series>, BlockError> {
        let Some(first) = self.next.take() else { return Ok(None) };
        let mut parts = vec![first];
        loop {
            match self.next_row()? {
                Some(row) if same_series(&parts[0], &row) => parts.push(row),
                row => {
                    self.next = row;
                    return Ok(self.join(parts));
                }
            }
        }
    }

    fn next_row(&mut self) -> Result<Option<Row>, BlockError> {
        loop {
            if let Some(row) = self.rows.next() {
                return Ok(Some(row));
            }
            let Some(batches) = &mut self.batches else { return Ok(None) };
            let Some(batch) = batches.next()? else {
                self.batches = None;
                return Ok(None);
            };
            let view = View { block: &self.block, batch: &batch, roots: &self.roots };
            self.rows = decode_batch(&view, &mut self.axes)?.into_iter();
        }
    }

    /// One series of its rows.
    fn join(&mut self, mut rows: Vec<Row>) -> Option<Series> {
        let metadata = rows.iter_mut().rev().find_map(|r| r.metadata.take());
        let tenant = rows.first()?.tenant.clone();
        let parts = rows.into_iter().map(|r| r.samples).collect();
        let samples = SeriesSamples::join(parts, &mut self.axes.joined)?;
        Some(Series { samples, tenant, metadata })
    }
}

fn same_series(a: &Row, b: &Row) -> bool {
    a.samples.key == b.samples.key && a.samples.labels == b.samples.labels && a.tenant == b.tenant
}

/// A running scan: fetches one row group after the other.
pub struct SeriesScan {
    selection: Selection,
    io: Arc<dyn RangeReader>,
    samples_max: usize,
    at: usize,
    group: Option<GroupSeries>,
    /// Bytes of the pages of `group`.
    group_bytes: u64,
    axes: Option<Axes>,
}

impl SeriesScan {
    /// The series of `selection`, in batches of about `samples_max` samples (at least one series
    /// each).
    pub fn new(selection: Selection, io: Arc<dyn RangeReader>, samples_max: usize) -> Self {
        SeriesScan { selection, io, samples_max, at: 0, group: None, group_bytes: 0, axes: None }
    }

    /// The rows that are scanned.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Bytes of pages that the scan holds at the moment.
    pub fn held_bytes(&self) -> u64 {
        if self.group.is_some() { self.group_bytes } else { 0 }
    }

    /// The next series, never an empty batch; `None` at the end. Series come in the order of their
    /// rows.
    pub async fn next_batch(&mut self) -> Result<Option<Vec<SeriesSamples>>, BlockError> {
        loop {
            if let Some(group) = &mut self.group {
                let batch = group.next_batch(self.samples_max)?;
                if !batch.is_empty() {
                    return Ok(Some(batch));
                }
                self.axes = self.group.take().map(GroupSeries::into_axes);
            }
            if self.at >= self.selection.groups() {
                return Ok(None);
            }
            let (selection, at) = (&self.selection, self.at);
            let (mut axes, mut bytes) = (self.axes.take(), 0);
            let group = fetch_verified(
                selection.block.record.id,
                self.io.as_ref(),
                selection.ranges(at),
                |parts| {
                    bytes = parts.iter().map(|part| part.len() as u64).sum();
                    let axes = axes.take().unwrap_or_else(|| Axes::new(Some(selection.time)));
                    selection.decode_with(at, parts, axes)
                },
            )
            .await?;
            (self.group, self.group_bytes) = (Some(group), bytes);
            self.at += 1;
        }
    }
}
