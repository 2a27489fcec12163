//! Samples in memory.

use std::collections::BTreeMap;

use pando_model::{Labels, Matcher, SampleValue, SeriesKey, SeriesSamples, TimeRange};

use crate::error::QueryError;
use crate::local::SeriesSource;

/// Series in memory, to be filled and asked.
#[derive(Clone, Debug, Default)]
pub struct MemorySource {
    series: BTreeMap<Labels, BTreeMap<i64, SampleValue>>,
}

impl MemorySource {
    /// A source without samples.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a sample; of two at one time the later one counts.
    pub fn add(&mut self, labels: &Labels, t_ms: i64, value: SampleValue) {
        self.series.entry(labels.clone()).or_default().insert(t_ms, value);
    }

    /// All series.
    pub fn series(&self) -> Vec<SeriesSamples> {
        self.series.iter().map(|(labels, samples)| whole(labels, samples)).collect()
    }
}

fn whole(labels: &Labels, samples: &BTreeMap<i64, SampleValue>) -> SeriesSamples {
    let samples = samples.iter().map(|(t, v)| (*t, v.clone()));
    SeriesSamples::from_values(labels.clone(), SeriesKey(labels.hash64()), samples)
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
