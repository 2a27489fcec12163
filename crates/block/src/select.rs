//! The first stage of a scan: which rows hold the series that are asked for.
//!
//! [`ScanPlan`] prunes by the footer alone and names the ranges of the columns that the test needs:
//! tenant, key, times and the labels that matchers name. [`Selection`] is what passed, and names
//! the ranges of the second stage. Neither does I/O. A matcher sees each distinct text once, and
//! only texts of rows that it is asked about, never a dictionary as a whole (INV-9).

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{Int64Type, UInt64Type};
use bytes::Bytes;
use pando_model::{BlockRecord, KeyRange, Matcher, SeriesKey, TenantId, TimeRange};

use crate::error::BlockError;
use crate::group::{GroupRead, runs};
use crate::io::{RangeReader, coalesce};
use crate::pages::Page;
use crate::prune::Wanted;
use crate::reader::{Opened, fetch_verified};
use crate::schema::Fixed;
use crate::view::View;

/// Which rows may hold the series that are asked for, and what must be read to know.
pub struct ScanPlan {
    block: Arc<Opened>,
    tenant: TenantId,
    keys: KeyRange,
    matchers: Vec<Matcher>,
    time: TimeRange,
    reads: Vec<GroupRead>,
    /// Rows that pass as the footer alone says.
    passed: Vec<SelectedGroup>,
}

/// Rows that passed, of one row group.
#[derive(Clone, Debug)]
pub(crate) struct SelectedGroup {
    pub(crate) group: usize,
    pub(crate) rows: Vec<Range<u64>>,
}

/// The rows of a scan.
#[derive(Clone)]
pub struct Selection {
    pub(crate) block: Arc<Opened>,
    pub(crate) time: TimeRange,
    pub(crate) groups: Vec<SelectedGroup>,
}

impl ScanPlan {
    pub(crate) fn new(
        block: Arc<Opened>,
        tenant: TenantId,
        keys: KeyRange,
        matchers: Vec<Matcher>,
        time: TimeRange,
    ) -> ScanPlan {
        let (reads, passed) = (Vec::new(), Vec::new());
        let mut plan = ScanPlan { block, tenant, keys, matchers, time, reads, passed };
        plan.prune();
        plan
    }

    /// Prunes the tenant's rows: those that are left pass, or are read.
    fn prune(&mut self) {
        let block = &self.block;
        let Some(span) = block.record.tenant(&self.tenant) else { return };
        let common = self.keys.intersect(span.keys);
        let Some(keys) = common.filter(|_| span.time.overlaps(self.time)) else { return };
        // A range that holds all keys of the tenant need not look at them.
        let keys = if keys == span.keys { KeyRange::ALL } else { keys };
        let roots = self.roots();
        let span_rows = span.first_row..span.first_row + span.rows;
        let wanted =
            Wanted { tenant: &self.tenant, keys, matchers: &self.matchers, time: self.time };
        for group in 0..block.groups() {
            let (start, end) = (block.group_starts[group], block.group_starts[group + 1]);
            let rows = span_rows.start.max(start)..span_rows.end.min(end);
            if rows.is_empty() {
                continue;
            }
            let rows = rows.start - start..rows.end - start;
            let rows = wanted.prune(block, group, rows);
            if rows.is_empty() {
                continue;
            }
            if wanted.all_pass(block, group, &rows) {
                self.passed.push(SelectedGroup { group, rows });
            } else {
                self.reads.push(GroupRead { group, rows, roots: roots.clone() });
            }
        }
    }

    fn roots(&self) -> Vec<usize> {
        let columns = &self.block.columns;
        let fixed = [Fixed::Tenant, Fixed::Key, Fixed::MinTime, Fixed::MaxTime];
        let mut roots: Vec<usize> = fixed.iter().map(|c| columns.root(*c)).collect();
        for matcher in &self.matchers {
            let map = || columns.root(Fixed::Labels);
            roots.push(columns.label_root(matcher.name()).unwrap_or_else(map));
        }
        roots.sort_unstable();
        roots.dedup();
        roots
    }

    /// Row groups whose rows are read to test them.
    #[cfg(test)]
    pub(crate) fn groups_read(&self) -> usize {
        self.reads.len()
    }

    /// The ranges to fetch before [`ScanPlan::select`].
    pub fn ranges(&self) -> Vec<Range<u64>> {
        coalesce(self.pages().iter().map(Page::range).collect())
    }

    /// The pages that the first stage decodes.
    pub(crate) fn pages(&self) -> Vec<Page> {
        self.reads.iter().flat_map(|read| read.pages(&self.block)).collect()
    }

    /// Tests the rows. `parts` are the bytes of [`ScanPlan::ranges`].
    pub fn select(&self, parts: &[Bytes]) -> Result<Selection, BlockError> {
        let ranges = self.ranges();
        let mut groups = self.passed.clone();
        for read in &self.reads {
            let mut tests = Tests::new(self);
            let mut batches = read.decode_from(&self.block, &ranges, parts)?;
            let mut positions = read.rows.iter().cloned().flatten();
            let mut selected = Vec::new();
            while let Some(batch) = batches.next()? {
                let view = View { block: &self.block, batch: &batch, roots: &read.roots };
                let passed = self.test(&view, &mut tests)?;
                for (at, position) in (&mut positions).take(batch.num_rows()).enumerate() {
                    if passed[at] {
                        selected.push(position);
                    }
                }
            }
            if !selected.is_empty() {
                groups.push(SelectedGroup { group: read.group, rows: runs(selected) });
            }
        }
        groups.sort_by_key(|selected| selected.group);
        Ok(Selection { block: self.block.clone(), time: self.time, groups })
    }

    /// Fetches what the plan needs and tests the rows.
    pub async fn fetch_and_select(&self, io: &dyn RangeReader) -> Result<Selection, BlockError> {
        fetch_verified(self.block.record.id, io, self.ranges(), |parts| self.select(parts)).await
    }

    fn test(&self, view: &View<'_>, tests: &mut Tests<'_>) -> Result<Vec<bool>, BlockError> {
        let columns = &self.block.columns;
        let tenants = view.texts(columns.root(Fixed::Tenant))?;
        let keys = view.numbers::<UInt64Type>(Fixed::Key)?;
        let min_times = view.numbers::<Int64Type>(Fixed::MinTime)?;
        let max_times = view.numbers::<Int64Type>(Fixed::MaxTime)?;
        let mut passed = Vec::with_capacity(view.batch.num_rows());
        for row in 0..view.batch.num_rows() {
            if tenants.get(row) != Some(self.tenant.as_str()) {
                // The span is hashed and so are the pages: whoever wrote the block did it wrong
                // (INV-9).
                let footer = self.block.record.footer_offset..self.block.record.object_bytes;
                return Err(self.block.corrupt(footer, "a tenant's span holds another one's row"));
            }
            passed.push(
                self.keys.contains(SeriesKey(keys.value(row)))
                    && min_times.value(row) < self.time.max_ms
                    && max_times.value(row) >= self.time.min_ms,
            );
        }
        for test in &mut tests.0 {
            test.apply(view, &mut passed)?;
        }
        Ok(passed)
    }
}

/// The matchers of a scan with what is known of the texts of one row group.
struct Tests<'a>(Vec<Test<'a>>);

struct Test<'a> {
    matcher: &'a Matcher,
    /// The label's column; `None`: in the map.
    root: Option<usize>,
    dictionary: Option<ArrayRef>,
    /// By distinct text: whether it passes, once it has been asked.
    known: Vec<Option<bool>>,
}

impl<'a> Tests<'a> {
    fn new(plan: &'a ScanPlan) -> Self {
        let tests = plan.matchers.iter().map(|matcher| Test {
            matcher,
            root: plan.block.columns.label_root(matcher.name()),
            dictionary: None,
            known: Vec::new(),
        });
        Tests(tests.collect())
    }
}

impl Test<'_> {
    fn apply(&mut self, view: &View<'_>, passed: &mut [bool]) -> Result<(), BlockError> {
        let matcher = self.matcher;
        let empty_passes = matcher.matches_empty();
        let Some(root) = self.root else {
            let rest = view.rest()?;
            for (row, passed) in passed.iter_mut().enumerate().filter(|(_, p)| **p) {
                *passed = match rest.get(row, matcher.name()) {
                    Some(value) => matcher.matches(value),
                    None => empty_passes,
                };
            }
            return Ok(());
        };
        let texts = view.texts(root)?;
        if !self.dictionary.as_ref().is_some_and(|known| Arc::ptr_eq(known, texts.dictionary)) {
            self.dictionary = Some(texts.dictionary.clone());
            self.known = vec![None; texts.dictionary.len()];
        }
        for (row, passed) in passed.iter_mut().enumerate().filter(|(_, p)| **p) {
            *passed = match texts.key(row) {
                Some(key) => {
                    *self.known[key].get_or_insert_with(|| matcher.matches(texts.text(key)))
                }
                None => empty_passes,
            };
        }
        Ok(())
    }
}

impl Selection {
    /// The block's record.
    pub fn record(&self) -> &BlockRecord {
        &self.block.record
    }

    /// The number of rows.
    pub fn rows(&self) -> u64 {
        self.groups.iter().flat_map(|g| &g.rows).map(|r| r.end - r.start).sum()
    }

    /// The number of row groups that have selected rows. They can be read in any order, or side by
    /// side: a series is in one of them.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    pub(crate) fn read(&self, at: usize, roots: Vec<usize>) -> Option<GroupRead> {
        let selected = self.groups.get(at)?;
        Some(GroupRead { group: selected.group, rows: selected.rows.clone(), roots })
    }
}
