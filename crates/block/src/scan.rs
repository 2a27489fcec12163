//! The second stage of a scan: the selected rows as whole series.
//!
//! [`GroupSeries`] decodes one row group from its verified pages, without I/O. [`SeriesScan`]
//! fetches row group after row group and hands out batches.

use std::iter::{Flatten, Peekable};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use pando_model::{BlockId, LabelsPool, Metadata, SeriesSamples, TenantId, TimeRange};
use parking_lot::Mutex;

use crate::axes::Axes;
use crate::decode::{Row, rows_of, sample_roots};
use crate::error::BlockError;
use crate::group::{GroupBatches, GroupRead};
use crate::io::RangeReader;
use crate::part::SeriesPart;
use crate::reader::{Opened, fetch_verified};
use crate::select::Selection;
use crate::view::View;

/// Labels that several scans have in common.
pub type SharedLabels = Arc<Mutex<LabelsPool>>;

/// What a scan has met so far.
pub(crate) struct Known {
    pub(crate) axes: Axes,
    pub(crate) labels: SharedLabels,
}

impl Known {
    /// Nothing yet, of a scan that wants samples in `time`; `None`: all.
    pub(crate) fn new(block: BlockId, time: Option<TimeRange>) -> Self {
        Known { axes: Axes::new(block, time), labels: SharedLabels::default() }
    }
}

impl Selection {
    /// The ranges to fetch before [`Selection::decode`] of row group `at` (below
    /// [`Selection::groups`]).
    pub fn ranges(&self, at: usize) -> Vec<Range<u64>> {
        let read = self.read(at, sample_roots(&self.block.columns));
        read.map(|read| read.bridged(&self.block).ranges(&self.block)).unwrap_or_default()
    }

    /// The series of the `at`-th row group with selected rows. `parts` are the bytes of
    /// [`Selection::ranges`].
    pub fn decode(&self, at: usize, parts: &[Bytes]) -> Result<GroupSeries, BlockError> {
        self.decode_with(at, parts, Known::new(self.block.record.id, Some(self.time)))
    }

    /// [`Selection::decode`] with what is known of the row groups before, so that targets share their axes.
    fn decode_with(
        &self,
        at: usize,
        parts: &[Bytes],
        known: Known,
    ) -> Result<GroupSeries, BlockError> {
        match self.read(at, sample_roots(&self.block.columns)) {
            Some(read) => GroupSeries::new(self.block.clone(), read, parts, known),
            None => Ok(GroupSeries::empty(self.block.clone(), known)),
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
    asked: Asked,
    known: Known,
    rows: std::vec::IntoIter<Row>,
    next: Option<Row>,
}

impl GroupSeries {
    fn empty(block: Arc<Opened>, known: Known) -> Self {
        let rows = Vec::new().into_iter();
        let (roots, batches, asked) = (Vec::new(), None, Asked::new(Vec::new(), Vec::new()));
        GroupSeries { block, roots, batches, asked, known, rows, next: None }
    }

    /// Those of `read`. `parts` are the bytes of the ranges of what is bridged of it.
    pub(crate) fn new(
        block: Arc<Opened>,
        read: GroupRead,
        parts: &[Bytes],
        known: Known,
    ) -> Result<Self, BlockError> {
        let bridged = read.bridged(&block);
        let batches = bridged.decode(&block, parts)?;
        let mut series = GroupSeries::empty(block, known);
        (series.roots, series.batches) = (read.roots, Some(batches));
        series.asked = Asked::new(bridged.rows, read.rows);
        series.next = series.next_row()?;
        Ok(series)
    }

    pub(crate) fn into_known(self) -> Known {
        self.known
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

    /// Rows of about `samples_max` samples together, none without; empty at the end. Those of one series come one after
    /// the other.
    fn next_parts(&mut self, samples_max: usize) -> Result<Vec<SeriesPart>, BlockError> {
        let (mut parts, mut samples) = (Vec::new(), 0);
        while samples < samples_max.max(1) {
            let Some(row) = self.next.take() else { break };
            self.next = self.next_row()?;
            if !row.part.is_empty() {
                samples += row.part.len();
                parts.push(row.part);
            }
        }
        Ok(parts)
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
                    return self.join(parts);
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
            let asked = self.asked.of_next(batch.num_rows());
            let mut labels = self.known.labels.lock();
            self.rows =
                rows_of(&view, asked.into_iter(), &mut self.known.axes, &mut labels)?.into_iter();
        }
    }

    /// One series of its rows.
    fn join(&mut self, mut rows: Vec<Row>) -> Result<Option<Series>, BlockError> {
        let mut abouts = rows.iter_mut().rev().filter_map(|row| row.about.as_deref_mut());
        let metadata = abouts.find_map(|about| about.metadata.take());
        let tenant = rows.first().and_then(|row| Some(row.about.as_ref()?.tenant.clone()));
        let parts: Result<Vec<_>, _> = rows.iter().map(|row| row.part.decode()).collect();
        let samples = SeriesSamples::join(parts?, &mut self.known.axes.joined);
        Ok(samples.map(|samples| Series { samples, tenant, metadata }))
    }
}

/// Which rows of the batches were asked for: those of short gaps are decoded with them.
struct Asked {
    decoded: Positions,
    asked: Peekable<Positions>,
}

type Positions = Flatten<std::vec::IntoIter<Range<u64>>>;

impl Asked {
    /// Of rows that are `decoded`, among them all that are `asked` for.
    fn new(decoded: Vec<Range<u64>>, asked: Vec<Range<u64>>) -> Self {
        let positions = |rows: Vec<Range<u64>>| rows.into_iter().flatten();
        Asked { decoded: positions(decoded), asked: positions(asked).peekable() }
    }

    /// The places of those among the next `rows` decoded ones.
    fn of_next(&mut self, rows: usize) -> Vec<usize> {
        let next = (0..rows).zip(&mut self.decoded);
        next.filter_map(|(at, row)| self.asked.next_if_eq(&row).map(|_| at)).collect()
    }
}

fn same_series(a: &Row, b: &Row) -> bool {
    fn tenant(row: &Row) -> Option<&TenantId> {
        row.about.as_ref().map(|about| &about.tenant)
    }
    a.part.key == b.part.key && a.part.labels == b.part.labels && tenant(a) == tenant(b)
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
    known: Option<Known>,
    labels: SharedLabels,
}

impl SeriesScan {
    /// The series of `selection`, in batches of about `samples_max` samples (at least one series
    /// each).
    pub fn new(selection: Selection, io: Arc<dyn RangeReader>, samples_max: usize) -> Self {
        let labels = SharedLabels::default();
        let (at, group, group_bytes, known) = (0, None, 0, None);
        SeriesScan { selection, io, samples_max, at, group, group_bytes, known, labels }
    }

    /// The same scan, with labels that it shares with others.
    #[must_use]
    pub fn with_labels(self, labels: SharedLabels) -> Self {
        SeriesScan { labels, ..self }
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
        self.next_of(GroupSeries::next_batch).await
    }

    /// [`SeriesScan::next_batch`], but the rows as they are: not decoded, and one series may have several, one after
    /// the other.
    pub async fn next_parts(&mut self) -> Result<Option<Vec<SeriesPart>>, BlockError> {
        self.next_of(GroupSeries::next_parts).await
    }

    async fn next_of<T>(
        &mut self,
        take: impl Fn(&mut GroupSeries, usize) -> Result<Vec<T>, BlockError>,
    ) -> Result<Option<Vec<T>>, BlockError> {
        loop {
            if let Some(group) = &mut self.group {
                let batch = take(group, self.samples_max)?;
                if !batch.is_empty() {
                    return Ok(Some(batch));
                }
                self.known = self.group.take().map(GroupSeries::into_known);
            }
            if self.at >= self.selection.groups() {
                return Ok(None);
            }
            self.fetch_group().await?;
        }
    }

    /// Fetches the next row group.
    async fn fetch_group(&mut self) -> Result<(), BlockError> {
        let (selection, at) = (&self.selection, self.at);
        let (mut known, mut bytes) = (self.known.take(), 0);
        let block = selection.block.record.id;
        let new =
            || Known { labels: self.labels.clone(), ..Known::new(block, Some(selection.time)) };
        let fetched = fetch_verified(block, self.io.as_ref(), selection.ranges(at), |parts| {
            bytes = parts.iter().map(|part| part.len() as u64).sum();
            selection.decode_with(at, parts, known.take().unwrap_or_else(new))
        });
        let group = fetched.await?;
        (self.group, self.group_bytes) = (Some(group), bytes);
        self.at += 1;
        Ok(())
    }
}
