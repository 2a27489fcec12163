//! `SeriesSamples`: decoded samples of one series on a shared time axis, the currency between storage
//! (head, blocks, the wire) and the query engine.

use std::sync::Arc;

use crate::exemplar::Exemplar;
use crate::histogram::Histogram;
use crate::key::SeriesKey;
use crate::labels::Labels;
use crate::sample::SampleValue;

/// Samples of one series in time order.
///
/// Series that are scraped together hold clones of one `Arc` as their axis, so that whoever works on many
/// of them can compute per axis what depends on times only (compare with `Arc::ptr_eq`).
#[derive(Clone, Debug)]
pub struct SeriesSamples {
    /// The series.
    pub labels: Labels,
    /// Its key.
    pub key: SeriesKey,
    /// Strictly increasing times, ms: one per sample.
    pub axis: Arc<[i64]>,
    /// One float per time; 0 where the sample is a histogram.
    pub floats: Vec<f64>,
    /// The histogram samples as (position in the axis, value), positions increasing. Empty for most series.
    pub histograms: Vec<(u32, Arc<Histogram>)>,
    /// One start timestamp per time, ms, 0 for unknown; empty where none is known.
    pub starts: Vec<i64>,
    /// Exemplars, sorted by time. They take no part in samples' counts and digests.
    pub exemplars: Vec<Exemplar>,
}

impl SeriesSamples {
    /// The number of samples.
    pub fn len(&self) -> usize {
        self.axis.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.axis.is_empty()
    }

    /// Whether there is nothing but floats.
    pub fn is_plain(&self) -> bool {
        self.histograms.is_empty() && self.starts.is_empty() && self.exemplars.is_empty()
    }

    /// A series of `floats`, one per time of `axis`.
    ///
    /// # Panics
    /// Where they differ in number.
    pub fn of_floats(labels: Labels, key: SeriesKey, axis: Arc<[i64]>, floats: Vec<f64>) -> Self {
        assert_eq!(axis.len(), floats.len(), "a float for each time");
        let (histograms, starts, exemplars) = Default::default();
        SeriesSamples { labels, key, axis, floats, histograms, starts, exemplars }
    }

    /// The value of sample `at`.
    ///
    /// # Panics
    /// Where `at` is not below `len()`.
    pub fn value(&self, at: usize) -> SampleValue {
        match self.histograms.binary_search_by_key(&(at as u32), |(p, _)| *p) {
            Ok(i) => SampleValue::Histogram(self.histograms[i].1.clone()),
            Err(_) => SampleValue::Float(self.floats[at]),
        }
    }

    /// Makes a series of `samples` with strictly increasing times.
    pub fn from_values(
        labels: Labels,
        key: SeriesKey,
        samples: impl IntoIterator<Item = (i64, SampleValue)>,
    ) -> Self {
        let (mut axis, mut floats, mut histograms) = (Vec::new(), Vec::new(), Vec::new());
        for (t, value) in samples {
            match value {
                SampleValue::Float(v) => floats.push(v),
                SampleValue::Histogram(h) => {
                    histograms.push((axis.len() as u32, h));
                    floats.push(0.0);
                }
            }
            axis.push(t);
        }
        let (starts, exemplars) = (Vec::new(), Vec::new());
        SeriesSamples { labels, key, axis: axis.into(), floats, histograms, starts, exemplars }
    }

    /// Merges parts of one series: of samples at the same time the greater value by
    /// [`SampleValue::merge_order`] is kept, so that the order of `parts` does not matter. Starts follow
    /// their samples; of equal samples the larger start is kept. `None` for no parts.
    pub fn merge(parts: Vec<SeriesSamples>) -> Option<SeriesSamples> {
        let mut parts: Vec<SeriesSamples> = parts.into_iter().collect();
        if parts.len() <= 1 {
            return parts.pop();
        }
        parts.sort_by_key(|p| p.axis.first().copied().unwrap_or(i64::MAX));
        let apart = parts.windows(2).all(|w| match (w[0].axis.last(), w[1].axis.first()) {
            (Some(end), Some(start)) => end < start,
            _ => true,
        });
        let has_starts = parts.iter().any(|p| !p.starts.is_empty());
        let mut exemplars: Vec<Exemplar> =
            parts.iter_mut().flat_map(|p| std::mem::take(&mut p.exemplars)).collect();
        exemplars.sort_by_key(|e| e.timestamp_ms);
        exemplars.dedup();
        let mut order: Vec<(usize, usize)> = Vec::with_capacity(parts.iter().map(Self::len).sum());
        for (p, part) in parts.iter().enumerate() {
            order.extend((0..part.len()).map(|i| (p, i)));
        }
        if !apart {
            order.sort_by_key(|&(p, i)| parts[p].axis[i]);
        }
        let start_of = |p: usize, i: usize| parts[p].starts.get(i).copied().unwrap_or(0);
        let mut axis: Vec<i64> = Vec::with_capacity(order.len());
        let (mut floats, mut starts) = (Vec::with_capacity(order.len()), Vec::new());
        let mut histograms: Vec<(u32, Arc<Histogram>)> = Vec::new();
        for (p, i) in order {
            let t = parts[p].axis[i];
            let mut value = parts[p].value(i);
            let mut start = start_of(p, i);
            if axis.last() == Some(&t) {
                let at = axis.len() - 1;
                let kept = match histograms.last() {
                    Some((position, h)) if *position == at as u32 => {
                        SampleValue::Histogram(h.clone())
                    }
                    _ => SampleValue::Float(floats[at]),
                };
                let kept_start = starts.get(at).copied().unwrap_or(0);
                if (value.merge_order(&kept)).then(start.cmp(&kept_start)).is_le() {
                    (value, start) = (kept, kept_start);
                }
                axis.pop();
                floats.pop();
                starts.truncate(at);
                if histograms.last().is_some_and(|(position, _)| *position == at as u32) {
                    histograms.pop();
                }
            }
            match value {
                SampleValue::Float(v) => floats.push(v),
                SampleValue::Histogram(h) => {
                    histograms.push((axis.len() as u32, h));
                    floats.push(0.0);
                }
            }
            if has_starts {
                starts.push(start);
            }
            axis.push(t);
        }
        let first = parts.swap_remove(0);
        let (labels, key) = (first.labels, first.key);
        Some(SeriesSamples {
            labels,
            key,
            axis: axis.into(),
            floats,
            histograms,
            starts,
            exemplars,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::STALE_NAN;

    fn part(samples: &[(i64, f64)]) -> SeriesSamples {
        SeriesSamples::from_values(
            Labels::empty(),
            SeriesKey(0),
            samples.iter().map(|&(t, v)| (t, SampleValue::Float(v))),
        )
    }

    #[test]
    fn merging_has_no_order_and_keeps_one_of_equal_times() {
        let parts =
            [part(&[(1, 1.0), (3, STALE_NAN)]), part(&[(2, 2.0), (3, 4.0)]), part(&[(3, 3.0)])];
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let merged = SeriesSamples::merge(order.map(|i| parts[i].clone()).to_vec());
            let merged = merged.expect("three parts");
            assert_eq!(&*merged.axis, [1, 2, 3]);
            assert_eq!(merged.floats, [1.0, 2.0, 4.0]);
        }
    }

    #[test]
    fn a_histogram_wins_over_a_number() {
        let h = SeriesSamples::from_values(
            Labels::empty(),
            SeriesKey(0),
            [(5, SampleValue::Histogram(Arc::default()))],
        );
        for parts in [vec![h.clone(), part(&[(5, 1.0)])], vec![part(&[(5, 1.0)]), h.clone()]] {
            let merged = SeriesSamples::merge(parts).expect("two parts");
            assert_eq!(merged.histograms.len(), 1);
        }
    }
}
