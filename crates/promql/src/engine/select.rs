//! Instant selectors: at each step the latest sample within the lookback, unless it is a stale marker.

use pando_model::{SeriesSamples, is_stale_nan};

use super::vector::StepVector;
use super::window::{Bound, WindowCache};
use crate::steps::Steps;

/// The values of `series` at `steps`; with `timestamp` the samples' times in seconds instead.
pub(crate) fn instant(
    series: &SeriesSamples,
    steps: &Steps,
    lookback_ms: i64,
    timestamp: bool,
    windows: &mut WindowCache,
) -> StepVector {
    let mut out = StepVector::empty(series.labels.clone(), steps.len());
    let bounds = windows.bounds(&series.axis, steps, lookback_ms);
    if series.histograms.is_empty() && !timestamp {
        floats(&series.floats, &bounds, &mut out);
        return out;
    }
    let mut next = 0usize;
    for (i, bound) in bounds.iter().enumerate() {
        if bound.is_empty() {
            continue;
        }
        let at = bound.hi() - 1;
        while next < series.histograms.len() && (series.histograms[next].0 as usize) < at {
            next += 1;
        }
        let histogram = series.histograms.get(next).filter(|(p, _)| *p as usize == at);
        let seconds = series.axis[at] as f64 / 1000.0;
        match histogram {
            Some((_, h)) if h.is_stale() => {}
            Some(_) if timestamp => out.set(i, seconds),
            Some((_, h)) => out.histograms.push((i as u32, h.clone())),
            None if is_stale_nan(series.floats[at]) => {}
            None if timestamp => out.set(i, seconds),
            None => out.set(i, series.floats[at]),
        }
    }
    out
}

/// Sets the last one of `floats`, one per time of the axis, that each window has.
fn floats(floats: &[f64], bounds: &[Bound], out: &mut StepVector) {
    let chunks = bounds.chunks(64).zip(out.values.chunks_mut(64));
    for (word, (bounds, values)) in out.present.words_mut().iter_mut().zip(chunks) {
        let set = |(value, bound): (&mut f64, &Bound)| {
            match floats.get(bound.hi().wrapping_sub(1)) {
                Some(v) if !bound.is_empty() && !is_stale_nan(*v) => *value = *v,
                _ => return 0u64,
            }
            1
        };
        let bits = values.iter_mut().zip(bounds).map(set);
        *word = bits.enumerate().fold(0, |word, (i, bit)| word | bit << i);
    }
}

/// The start timestamps of the latest samples, seconds; 0 where they are unknown.
pub(crate) fn start_timestamp(
    series: &SeriesSamples,
    steps: &Steps,
    lookback_ms: i64,
    windows: &mut WindowCache,
) -> StepVector {
    let mut out = instant(series, steps, lookback_ms, true, windows);
    let bounds = windows.bounds(&series.axis, steps, lookback_ms);
    for (i, bound) in bounds.iter().enumerate().filter(|(_, b)| !b.is_empty()) {
        if out.present.get(i) {
            let start = series.starts.get(bound.hi() - 1).copied().unwrap_or(0);
            out.values[i] = start as f64 / 1000.0;
        }
    }
    out
}

/// The times of the latest samples in ms, where they are floats; histograms as they are.
pub(crate) fn sample_time(
    series: &SeriesSamples,
    steps: &Steps,
    lookback_ms: i64,
    windows: &mut WindowCache,
) -> StepVector {
    let mut out = instant(series, steps, lookback_ms, false, windows);
    let bounds = windows.bounds(&series.axis, steps, lookback_ms);
    for (i, bound) in bounds.iter().enumerate().filter(|(_, b)| !b.is_empty()) {
        if out.present.get(i) {
            out.values[i] = series.axis[bound.hi() - 1] as f64;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pando_model::{Histogram, Labels, STALE_NAN, SampleValue, SeriesKey};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Words of presence end at 64 steps.
        #[test]
        fn floats_alone_are_selected_as_beside_a_histogram(
            samples in proptest::collection::vec((1i64..30, 0u8..4), 0..100),
            steps in prop::sample::select(vec![1i64, 63, 64, 65, 130]),
            (start, lookback) in (-50i64..50, 1i64..40),
        ) {
            let mut t = 0;
            let floats = samples.iter().map(|(gap, code)| {
                t += gap;
                let v = if *code == 0 { STALE_NAN } else { f64::from(*code) };
                (t, SampleValue::Float(v))
            });
            let floats: Vec<_> = floats.collect();
            let steps = Steps::range(start, start + 9 * (steps - 1), 9).expect("steps");
            let select = |samples: Vec<(i64, SampleValue)>| {
                let series = SeriesSamples::from_values(Labels::empty(), SeriesKey(0), samples);
                instant(&series, &steps, lookback, false, &mut WindowCache::default())
            };
            // Far behind the last step, so that nobody sees it.
            let late = (1 << 40, SampleValue::Histogram(Arc::new(Histogram::default())));
            let beside = select(floats.iter().cloned().chain([late]).collect());
            prop_assert_eq!(select(floats), beside);
        }
    }

    #[test]
    fn a_stale_marker_ends_the_series_and_lookback_is_left_open() {
        let histogram = SampleValue::Histogram(Arc::new(Histogram::default()));
        let samples = [
            (0, SampleValue::Float(1.0)),
            (10, SampleValue::Float(STALE_NAN)),
            (20, histogram),
            (30, SampleValue::Float(3.0)),
        ];
        let series = SeriesSamples::from_values(Labels::empty(), SeriesKey(0), samples);
        let steps = Steps::range(0, 60, 5).expect("13 steps");
        let out = instant(&series, &steps, 20, false, &mut WindowCache::default());
        assert_eq!(out.present.iter().collect::<Vec<_>>(), [0, 1, 6, 7, 8, 9]);
        assert_eq!(out.histograms.iter().map(|(i, _)| *i).collect::<Vec<_>>(), [4, 5]);
        let times = instant(&series, &steps, 20, true, &mut WindowCache::default());
        assert_eq!(times.float(4), Some(0.02));
        let times = sample_time(&series, &steps, 20, &mut WindowCache::default());
        assert_eq!((times.float(1), times.float(4), times.float(7)), (Some(0.0), None, Some(30.0)));
        assert_eq!(times.histograms.len(), 2);
    }

    #[test]
    fn start_timestamps_are_those_of_the_latest_samples_and_0_where_unknown() {
        let samples =
            [(10, 1.0), (20, STALE_NAN), (30, 3.0)].map(|(t, v)| (t, SampleValue::Float(v)));
        let mut series = SeriesSamples::from_values(Labels::empty(), SeriesKey(0), samples);
        let steps = Steps::range(0, 50, 10).expect("6 steps");
        let read = |series: &SeriesSamples| {
            let out = start_timestamp(series, &steps, 20, &mut WindowCache::default());
            (0..6).map(|i| out.float(i)).collect::<Vec<_>>()
        };
        assert_eq!(read(&series), [None, Some(0.0), None, Some(0.0), Some(0.0), None]);
        series.starts = vec![-500, 7, 28];
        assert_eq!(read(&series), [None, Some(-0.5), None, Some(0.028), Some(0.028), None]);
    }
}
