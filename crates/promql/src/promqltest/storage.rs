//! Samples in memory.

use std::collections::BTreeMap;

use pando_model::{Labels, Matcher, SampleValue, SeriesKey, SeriesSamples, TimeRange};

use crate::error::QueryError;
use crate::local::SeriesSource;

/// A value, and its start timestamp in ms, 0 for unknown.
type Stored = (SampleValue, i64);

/// Series in memory, to be filled and asked.
#[derive(Clone, Debug, Default)]
pub struct MemorySource {
    series: BTreeMap<Labels, BTreeMap<i64, Stored>>,
}

impl MemorySource {
    /// A source without samples.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a sample; of two at one time the later one counts.
    pub fn add(&mut self, labels: &Labels, t_ms: i64, value: SampleValue) {
        self.add_with_start(labels, t_ms, value, 0);
    }

    /// The same for a sample with a start timestamp, ms; 0 for unknown.
    pub fn add_with_start(
        &mut self,
        labels: &Labels,
        t_ms: i64,
        value: SampleValue,
        start_ms: i64,
    ) {
        self.series.entry(labels.clone()).or_default().insert(t_ms, (value, start_ms));
    }

    /// All series.
    pub fn series(&self) -> Vec<SeriesSamples> {
        self.series.iter().map(|(labels, samples)| whole(labels, samples)).collect()
    }
}

fn whole(labels: &Labels, samples: &BTreeMap<i64, Stored>) -> SeriesSamples {
    let values = samples.iter().map(|(t, (v, _))| (*t, v.clone()));
    let key = SeriesKey(labels.hash64());
    let mut series = SeriesSamples::from_values(labels.clone(), key, values);
    if samples.values().any(|(_, start)| *start != 0) {
        series.starts = samples.values().map(|(_, start)| *start).collect();
    }
    series
}

impl SeriesSource for MemorySource {
    fn select(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<Vec<SeriesSamples>, QueryError> {
        let mut out = Vec::new();
        for (labels, samples) in &self.series {
            let any = samples.range(range.min_ms..range.max_ms).next().is_some();
            if any && Matcher::all_match(matchers, labels) {
                out.push(whole(labels, samples));
            }
        }
        Ok(out)
    }
}
