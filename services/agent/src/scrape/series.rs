//! `SeriesTable`: the series behind the slots of a target's line cache.

use std::collections::HashMap;

use pando_exposition::{ExemplarRef, SampleRef};
use pando_model::{Exemplar, Labels, STALE_NAN, SampleValue, SeriesKey, TenantId};
use pando_shipper::ShipSample;
use xxhash_rust::xxh3::Xxh3;

use super::limits::{ScrapeError, check_labels};
use super::relabel::{sample_labels, with_external};
use super::settings::ScrapeSettings;

/// A sample this far ahead of the clock is dropped, ms.
const AHEAD_MS_MAX: i64 = 10 * 60 * 1_000;

#[derive(Debug)]
struct Series {
    labels: Labels,
    key: SeriesKey,
    /// The scrape that last had a sample of it, and that sample's time.
    last: (u64, i64),
    /// A hash of the exemplar that was shipped last, 0: none. Targets repeat them until they have another.
    exemplar: u64,
}

/// What a scrape has come to, as far as samples go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Sample lines.
    pub(crate) scraped: u64,
    /// Those that relabelling has left.
    pub(crate) kept: u64,
    /// Series that the scrape before did not have.
    pub(crate) added: u64,
    /// Samples that were dropped: their series has one with that time already.
    pub(crate) duplicates: u64,
    /// Samples that were dropped: too far ahead.
    pub(crate) out_of_bounds: u64,
}

/// What a line says beside its series.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LineValue<'b> {
    pub(crate) value: f64,
    pub(crate) timestamp_ms: Option<i64>,
    pub(crate) start_ms: Option<i64>,
    pub(crate) exemplar: Option<ExemplarRef<'b>>,
}

/// The scrape that is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// The time that samples without their own bear.
    pub(crate) at_ms: i64,
    /// The clock.
    pub(crate) now_ms: i64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct SeriesTable {
    slots: Vec<Option<Series>>,
    free: Vec<u32>,
    by_labels: HashMap<Labels, u32>,
    scrape: u64,
    /// Series of this scrape that are new, but whose own timestamps keep the cache from counting them.
    untracked: u64,
}

impl SeriesTable {
    /// Begins a scrape.
    pub(crate) fn begin(&mut self) {
        self.scrape += 1;
        self.untracked = 0;
    }

    /// See [`Counts::added`]; `appeared` is the cache's part of it.
    pub(crate) fn added(&self, appeared: usize) -> u64 {
        appeared as u64 + self.untracked
    }

    /// The slot of the series that a line names; `None` where a rule drops it.
    pub(crate) fn resolve(
        &mut self,
        line: &SampleRef<'_>,
        target: &Labels,
        settings: &ScrapeSettings,
    ) -> Result<Option<u32>, ScrapeError> {
        let config = &settings.config;
        let rules = &config.metric_relabel_configs;
        let emptied = config.honor_labels.then(|| line.empty_labels()).transpose()?;
        let labels = sample_labels(&line.labels()?, target, emptied.as_deref(), rules);
        if labels.is_empty() {
            return Ok(None);
        }
        check_labels(&labels, config.name_scheme, &config.limits)?;
        let labels = with_external(labels, &settings.external_labels);
        if let Some(slot) = self.by_labels.get(&labels) {
            return Ok(Some(*slot));
        }
        if line.timestamp_ms.is_some() && !settings.tracks_timestamped() {
            self.untracked += 1;
        }
        Ok(Some(self.add(labels, &settings.tenant)))
    }

    fn add(&mut self, labels: Labels, tenant: &TenantId) -> u32 {
        let key = SeriesKey::of(tenant, &labels);
        let series = Series { labels: labels.clone(), key, last: (0, 0), exemplar: 0 };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(series);
                slot
            }
            None => {
                self.slots.push(Some(series));
                // The cache has far less room than 2^32 lines.
                (self.slots.len() - 1) as u32
            }
        };
        self.by_labels.insert(labels, slot);
        slot
    }

    /// Takes in one line of the scrape.
    pub(crate) fn push(
        &mut self,
        slot: u32,
        line: LineValue<'_>,
        honor_timestamps: bool,
        moment: Moment,
        counts: &mut Counts,
        samples: &mut Vec<ShipSample>,
    ) {
        counts.kept += 1;
        let Some(Some(series)) = self.slots.get_mut(slot as usize) else { return };
        let own_ms = line.timestamp_ms.filter(|_| honor_timestamps);
        let timestamp_ms = own_ms.unwrap_or(moment.at_ms);
        if timestamp_ms > moment.now_ms.saturating_add(AHEAD_MS_MAX) {
            counts.out_of_bounds += 1;
            return;
        }
        if series.last == (self.scrape, timestamp_ms) {
            counts.duplicates += 1;
            return;
        }
        series.last = (self.scrape, timestamp_ms);
        samples.push(ShipSample {
            labels: series.labels.clone(),
            key: series.key,
            timestamp_ms,
            value: SampleValue::Float(line.value),
            start_ms: line.start_ms.unwrap_or(0),
            exemplars: series.news_of(line.exemplar, timestamp_ms),
        });
    }

    /// Writes stale markers for the series in `slots`.
    pub(crate) fn push_stale(&self, slots: &[u32], at_ms: i64, samples: &mut Vec<ShipSample>) {
        let series = slots.iter().filter_map(|slot| self.slots.get(*slot as usize)?.as_ref());
        samples.extend(series.map(|series| stale(&series.labels, series.key, at_ms)));
    }

    /// The series in `slots`.
    pub(crate) fn named<'a>(
        &'a self,
        slots: &'a [u32],
    ) -> impl Iterator<Item = (Labels, SeriesKey)> + 'a {
        let series = slots.iter().filter_map(|slot| self.slots.get(*slot as usize)?.as_ref());
        series.map(|series| (series.labels.clone(), series.key))
    }

    /// Whether the scrape that began last has a sample of a series.
    pub(crate) fn is_in_this_scrape(&self, labels: &Labels) -> bool {
        let slot = self.by_labels.get(labels);
        let series = slot.and_then(|slot| self.slots.get(*slot as usize)?.as_ref());
        series.is_some_and(|series| series.last.0 == self.scrape)
    }

    /// Forgets the series in `slots`.
    pub(crate) fn release(&mut self, slots: &[u32]) {
        for slot in slots {
            if let Some(series) = self.slots.get_mut(*slot as usize).and_then(Option::take) {
                self.by_labels.remove(&series.labels);
                self.free.push(*slot);
            }
        }
    }

    /// The number of series that are remembered.
    pub(crate) fn len(&self) -> usize {
        self.by_labels.len()
    }
}

impl Series {
    fn news_of(&mut self, exemplar: Option<ExemplarRef<'_>>, at_ms: i64) -> Vec<Exemplar> {
        let Some(exemplar) = exemplar else { return Vec::new() };
        // An exemplar whose labels make no sense is dropped alone.
        let Ok(labels) = exemplar.labels() else { return Vec::new() };
        let mut hash = Xxh3::new();
        hash.update(&labels.hash64().to_le_bytes());
        hash.update(&exemplar.value.to_bits().to_le_bytes());
        hash.update(&exemplar.timestamp_ms.unwrap_or(0).to_le_bytes());
        let hash = hash.digest().max(1);
        if std::mem::replace(&mut self.exemplar, hash) == hash {
            return Vec::new();
        }
        let timestamp_ms = exemplar.timestamp_ms.unwrap_or(at_ms);
        vec![Exemplar { labels, value: exemplar.value, timestamp_ms }]
    }
}

/// The end of a series.
pub(crate) fn stale(labels: &Labels, key: SeriesKey, at_ms: i64) -> ShipSample {
    float(labels, key, at_ms, STALE_NAN)
}

/// A sample without anything around it.
pub(crate) fn float(labels: &Labels, key: SeriesKey, at_ms: i64, value: f64) -> ShipSample {
    ShipSample {
        labels: labels.clone(),
        key,
        timestamp_ms: at_ms,
        value: SampleValue::Float(value),
        start_ms: 0,
        exemplars: Vec::new(),
    }
}
