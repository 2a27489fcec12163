//! Reading a shard: which series match, and their samples in batches.
//!
//! A [`Selection`] is a list of series, not of samples: reading it takes a batch at a time, so that a large answer
//! is never held whole and the shard need not stay locked in between. Series come in the order of a block's rows:
//! metric's name, key, labels; so those that are scraped together are neighbours and share their axis.

use std::collections::HashMap;
use std::sync::Arc;

use pando_model::{
    Cut, Exemplar, KeyRange, Labels, MatchOp, Matcher, SeriesSamples, TenantId, TimeRange,
};
use roaring::RoaringBitmap;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::HeadError;
use crate::generation::{Generation, RowSamples};
use crate::series_table::SeriesTable;
use crate::shard::Shard;

/// Axes that a selection remembers, so that equal ones are shared.
const AXES_MAX: usize = 4096;

/// Series that were found, and how far they have been read.
#[derive(Debug)]
pub struct Selection {
    tenant: TenantId,
    /// Row and low half of the hash: a row may be another series' by the time it is read.
    rows: Vec<(u32, u64)>,
    next: usize,
    /// The generations that are read, both included.
    first: Cut,
    last: Cut,
    time: TimeRange,
    axes: HashMap<u64, Arc<[i64]>>,
}

impl Selection {
    /// The tenant of all its series.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The number of series that are left to read; some of them may have no sample.
    pub fn len(&self) -> usize {
        self.rows.len() - self.next
    }

    /// Whether all was read.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One axis for all series with equal times.
    fn axis(&mut self, times: Vec<i64>) -> Arc<[i64]> {
        let bytes = times.iter().fold(times.len() as u64, |hash, t| {
            (hash ^ *t as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31)
        });
        let hash = xxh3_64(&bytes.to_le_bytes());
        if let Some(axis) = self.axes.get(&hash)
            && **axis == *times
        {
            return axis.clone();
        }
        if self.axes.len() >= AXES_MAX {
            self.axes.clear();
        }
        let axis: Arc<[i64]> = times.into();
        self.axes.insert(hash, axis.clone());
        axis
    }
}

impl Shard {
    /// The series of `tenant` with keys in `keys` that pass all `matchers`, to be read from the generations
    /// `first_cut` and later, the open one included, at the times `time`.
    pub fn select(
        &self,
        tenant: &TenantId,
        keys: KeyRange,
        matchers: &[Matcher],
        time: TimeRange,
        first_cut: Cut,
    ) -> Result<Selection, HeadError> {
        self.check_cut(first_cut)?;
        let rows = self.tenants.get(tenant).map_or(Vec::new(), |state| {
            let mut rows: Vec<u32> = matching(&state.series, matchers)
                .iter()
                .filter(|row| keys.contains(state.series.key(*row)))
                .collect();
            let generations = self.generations.iter().filter(|g| g.cut >= first_cut);
            let parts: Vec<_> = generations.filter_map(|g| g.tenants.get(tenant)).collect();
            rows.retain(|row| parts.iter().any(|part| part.has(*row)));
            sort_rows(&state.series, &mut rows);
            with_hashes(&state.series, rows)
        });
        let last = Cut(u64::MAX);
        let axes = HashMap::new();
        Ok(Selection { tenant: tenant.clone(), rows, next: 0, first: first_cut, last, time, axes })
    }

    /// All samples of generation `cut`, tenant after tenant: what its block is built from.
    pub fn select_generation(&self, cut: Cut) -> Result<Vec<Selection>, HeadError> {
        self.check_cut(cut)?;
        let generation = self.generations.iter().find(|generation| generation.cut == cut);
        let tenants = generation.into_iter().flat_map(|generation| &generation.tenants);
        let selections = tenants.filter_map(|(tenant, part)| {
            let series = &self.tenants.get(tenant)?.series;
            let mut rows: Vec<u32> = part.rows().iter().collect();
            sort_rows(series, &mut rows);
            Some(Selection {
                tenant: tenant.clone(),
                rows: with_hashes(series, rows),
                next: 0,
                first: cut,
                last: cut,
                time: TimeRange { min_ms: i64::MIN, max_ms: i64::MAX },
                axes: HashMap::new(),
            })
        });
        Ok(selections.collect())
    }

    /// [`Shard::select_generation`] as one iterator, for whoever may hold the shard meanwhile.
    #[cfg(test)]
    pub(crate) fn generation_series(&self, cut: Cut) -> Result<SeriesIter<'_>, HeadError> {
        let mut selections = self.select_generation(cut)?;
        selections.reverse();
        Ok(SeriesIter { shard: self, selections, batch: Vec::new().into_iter() })
    }

    /// The next series of `selection`, until they have `samples_max` samples or more. Empty: all was read.
    pub fn read(
        &self,
        selection: &mut Selection,
        samples_max: usize,
    ) -> Result<Vec<SeriesSamples>, HeadError> {
        if !selection.is_empty() {
            self.check_cut(selection.first)?;
        }
        let (mut batch, mut samples) = (Vec::new(), 0);
        let Some(tenant) = self.tenants.get(&selection.tenant) else { return Ok(batch) };
        while samples < samples_max
            && let Some((row, hash)) = selection.rows.get(selection.next).copied()
        {
            selection.next += 1;
            let known = (row as usize) < tenant.series.row_end();
            if !known || tenant.series.hash(row) as u64 != hash {
                continue;
            }
            if let Some(series) = self.read_row(selection, &tenant.series, row)? {
                samples += series.len();
                batch.push(series);
            }
        }
        Ok(batch)
    }

    fn read_row(
        &self,
        selection: &mut Selection,
        series: &SeriesTable,
        row: u32,
    ) -> Result<Option<SeriesSamples>, HeadError> {
        let range = (selection.time.min_ms, selection.time.max_ms);
        let here = |g: &&Generation| selection.first <= g.cut && g.cut <= selection.last;
        let (mut parts, mut exemplars): (Vec<RowSamples>, _) = (Vec::new(), Vec::new());
        for generation in self.generations.iter().filter(here) {
            let Some(part) = generation.tenants.get(&selection.tenant) else { continue };
            let mut samples = part.read(row, range).map_err(|error| self.damaged(error))?;
            samples.clip(selection.time);
            if !samples.run.times.is_empty() {
                parts.push(samples);
            }
            exemplars.extend(part.exemplars(row));
            exemplars.retain(|e| selection.time.contains(e.timestamp_ms));
        }
        let apart = parts.windows(2).all(|w| w[0].run.times.last() < w[1].run.times.first());
        if parts.is_empty() {
            return Ok(None);
        }
        let (labels, key) = (series.labels(row), series.key(row));
        let mut of = |samples: RowSamples, selection: &mut Selection| SeriesSamples {
            labels: labels.clone(),
            key,
            axis: selection.axis(samples.run.times),
            floats: samples.run.values,
            histograms: samples.histograms,
            starts: samples.run.starts,
            exemplars: std::mem::take(&mut exemplars),
        };
        if apart {
            let all = parts.into_iter().reduce(RowSamples::concat).unwrap_or_default();
            return Ok(Some(of(all, selection)));
        }
        let parts = parts.into_iter().map(|part| of(part, selection)).collect();
        Ok(SeriesSamples::merge(parts))
    }

    fn check_cut(&self, first_cut: Cut) -> Result<(), HeadError> {
        let (shard, open) = (self.id, self.open_cut());
        if first_cut <= self.dropped {
            return Err(HeadError::Dropped { shard, cut: first_cut, dropped: self.dropped });
        }
        if first_cut > open {
            return Err(HeadError::Behind { shard, cut: first_cut, open });
        }
        Ok(())
    }

    /// The label names of `tenant`'s series that pass `matchers`, sorted, at most `limit`.
    pub fn label_names(
        &self,
        tenant: &TenantId,
        matchers: &[Matcher],
        limit: usize,
    ) -> Vec<String> {
        let Some(state) = self.tenants.get(tenant) else { return Vec::new() };
        let series = &state.series;
        if matchers.is_empty() {
            return series.names().keys().take(limit).map(|name| name.to_string()).collect();
        }
        let rows = matching(series, matchers);
        let used = |number: &u32| series.pair(*number).rows.intersects(&rows);
        let names = series.names().iter().filter(|(_, values)| values.values().any(used));
        names.take(limit).map(|(name, _)| name.to_string()).collect()
    }

    /// The values of label `name` on `tenant`'s series that pass `matchers`, sorted, at most `limit`.
    pub fn label_values(
        &self,
        tenant: &TenantId,
        name: &str,
        matchers: &[Matcher],
        limit: usize,
    ) -> Vec<String> {
        let Some(state) = self.tenants.get(tenant) else { return Vec::new() };
        let series = &state.series;
        let Some(values) = series.names().get(name) else { return Vec::new() };
        if matchers.is_empty() {
            return values.keys().take(limit).map(|value| value.to_string()).collect();
        }
        let rows = matching(series, matchers);
        let here = values.iter().filter(|(_, number)| series.pair(**number).rows.intersects(&rows));
        here.take(limit).map(|(value, _)| value.to_string()).collect()
    }

    /// The labels of `tenant`'s series that pass `matchers`, at most `limit`, in no order.
    pub fn series(&self, tenant: &TenantId, matchers: &[Matcher], limit: usize) -> Vec<Labels> {
        let Some(state) = self.tenants.get(tenant) else { return Vec::new() };
        let rows = matching(&state.series, matchers);
        rows.iter().take(limit).map(|row| state.series.labels(row)).collect()
    }

    /// The exemplars of [`Shard::select`]'s series with times in `time`, by series, in no order.
    pub fn exemplars(
        &self,
        tenant: &TenantId,
        keys: KeyRange,
        matchers: &[Matcher],
        time: TimeRange,
        first_cut: Cut,
    ) -> Result<Vec<(Labels, Vec<Exemplar>)>, HeadError> {
        self.check_cut(first_cut)?;
        let Some(state) = self.tenants.get(tenant) else { return Ok(Vec::new()) };
        let generations = self.generations.iter().filter(|g| g.cut >= first_cut);
        let parts: Vec<_> = generations.filter_map(|g| g.tenants.get(tenant)).collect();
        let rows = matching(&state.series, matchers);
        let rows = rows.iter().filter(|row| keys.contains(state.series.key(*row)));
        let of_row = |row| {
            let all = parts.iter().flat_map(|part| part.exemplars(row));
            let exemplars: Vec<_> = all.filter(|e| time.contains(e.timestamp_ms)).collect();
            (!exemplars.is_empty()).then(|| (state.series.labels(row), exemplars))
        };
        Ok(rows.filter_map(of_row).collect())
    }
}

impl RowSamples {
    /// Keeps the samples within `time`.
    fn clip(&mut self, time: TimeRange) {
        let times = &self.run.times;
        let start = times.partition_point(|t| *t < time.min_ms);
        // The upper end of all time is the one millisecond that a half-open range cannot name.
        let end = match time.max_ms {
            i64::MAX => times.len(),
            max_ms => times.partition_point(|t| *t < max_ms),
        };
        if start == 0 && end == times.len() {
            return;
        }
        let kept = start..end.max(start);
        self.run.times = self.run.times[kept.clone()].to_vec();
        self.run.values = self.run.values[kept.clone()].to_vec();
        if !self.run.starts.is_empty() {
            self.run.starts = self.run.starts[kept.clone()].to_vec();
        }
        self.histograms.retain_mut(|(at, _)| {
            let inside = kept.contains(&(*at as usize));
            *at = at.wrapping_sub(start as u32);
            inside
        });
    }

    /// Appends samples that are all later.
    fn concat(mut self, other: RowSamples) -> RowSamples {
        let before = self.run.times.len();
        if !self.run.starts.is_empty() || !other.run.starts.is_empty() {
            self.run.starts.resize(before, 0);
            self.run.starts.extend(&other.run.starts);
            self.run.starts.resize(before + other.run.times.len(), 0);
        }
        self.run.times.extend(other.run.times);
        self.run.values.extend(other.run.values);
        let moved = other.histograms.into_iter().map(|(at, h)| (at + before as u32, h));
        self.histograms.extend(moved);
        self
    }
}

/// Rows whose labels pass all matchers.
fn matching(series: &SeriesTable, matchers: &[Matcher]) -> RoaringBitmap {
    let mut rows: Option<RoaringBitmap> = None;
    let (positive, negative): (Vec<&Matcher>, Vec<&Matcher>) =
        matchers.iter().partition(|matcher| !matcher.matches_empty());
    for matcher in positive {
        let found = carrying(series, matcher, true);
        rows = Some(rows.map_or_else(|| found.clone(), |rows| rows & &found));
    }
    let mut rows = rows.unwrap_or_else(|| series.rows().clone());
    for matcher in negative {
        rows -= carrying(series, matcher, false);
    }
    rows
}

/// Rows that carry the matcher's label with a value that passes, or that does not.
fn carrying(series: &SeriesTable, matcher: &Matcher, passes: bool) -> RoaringBitmap {
    let mut rows = RoaringBitmap::new();
    let Some(values) = series.names().get(matcher.name()) else { return rows };
    let exact = matches!(matcher.op(), MatchOp::Equal if passes)
        || matches!(matcher.op(), MatchOp::NotEqual if !passes);
    if exact {
        if let Some(number) = values.get(matcher.value()) {
            series.pair(*number).rows.add_to(&mut rows);
        }
        return rows;
    }
    for (_, number) in values.iter().filter(|(value, _)| matcher.matches(value) == passes) {
        series.pair(*number).rows.add_to(&mut rows);
    }
    rows
}

fn with_hashes(series: &SeriesTable, rows: Vec<u32>) -> Vec<(u32, u64)> {
    rows.into_iter().map(|row| (row, series.hash(row) as u64)).collect()
}

/// Sorts rows by metric's name, key and labels.
fn sort_rows(series: &SeriesTable, rows: &mut [u32]) {
    let labels = |row: u32| series.pairs(row).map(|pair| (&*pair.name, &*pair.value));
    let mut named: Vec<(&str, u64, u32)> =
        rows.iter().map(|row| (series.metric_name(*row), series.key(*row).0, *row)).collect();
    // Labels are looked at only where two keys collide.
    named.sort_unstable_by(|a, b| {
        (a.0, a.1).cmp(&(b.0, b.1)).then_with(|| labels(a.2).cmp(labels(b.2)))
    });
    for (row, (_, _, sorted)) in rows.iter_mut().zip(named) {
        *row = sorted;
    }
}

/// The series of a generation, tenant after tenant.
#[derive(Debug)]
pub struct SeriesIter<'a> {
    shard: &'a Shard,
    /// Last first.
    selections: Vec<Selection>,
    batch: std::vec::IntoIter<SeriesSamples>,
}

impl Iterator for SeriesIter<'_> {
    type Item = Result<(TenantId, SeriesSamples), HeadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let selection = self.selections.last_mut()?;
            if let Some(series) = self.batch.next() {
                return Some(Ok((selection.tenant.clone(), series)));
            }
            match self.shard.read(selection, 100_000) {
                Ok(batch) if batch.is_empty() => {
                    self.selections.pop();
                }
                Ok(batch) => self.batch = batch.into_iter(),
                Err(error) => {
                    self.selections.clear();
                    return Some(Err(error));
                }
            }
        }
    }
}
