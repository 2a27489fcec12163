//! `smoothed` instant selectors, after Prometheus 3.14: at each step the value on the line between the sample before
//! and the sample after it, both within the lookback. Without a sample after the step the one before it is carried
//! forward, without one before there is nothing. Stale markers are no samples here. Floats and
//! histograms in reach of one step make no value, and neither do exponential and custom buckets.

use std::sync::Arc;

use pando_model::{Histogram, ResetHint, SeriesSamples};

use super::histogram::interpolated;
use super::range::{note_interpolated, passed_of, push_note};
use super::samples::Samples;
use super::vector::StepVector;
use super::window::{Bound, WindowCache};
use crate::annotations::Note;
use crate::budget::{Ledger, STEPS_PER_CHECK};
use crate::error::QueryError;
use crate::steps::Steps;

/// The values of `series` at `steps`; its histograms are held in `ledger`.
pub(crate) fn values(
    series: &SeriesSamples,
    steps: &Steps,
    lookback_ms: i64,
    windows: &mut WindowCache,
    notes: &mut Vec<Note>,
    ledger: &mut Ledger,
) -> Result<StepVector, QueryError> {
    let mut out = StepVector::empty(series.labels.clone(), steps.len());
    let name = || series.labels.metric_name().to_string();
    let samples = Samples::of(series);
    let ends = steps.shifted(lookback_ms.saturating_neg());
    let reach = lookback_ms.saturating_mul(2);
    let floats = match samples.shared_axis() {
        true => windows.bounds(&series.axis, &ends, reach),
        false => windows.uncached(&samples.times, &ends, reach),
    };
    // Most series have none, and then no bounds either.
    let histograms = match samples.histogram_times.is_empty() {
        true => Vec::new(),
        false => windows.uncached(&samples.histogram_times, &ends, reach).to_vec(),
    };
    let histograms = histograms.iter().chain(std::iter::repeat(&Bound::NONE));
    for (i, (f, h)) in floats.iter().zip(histograms).enumerate() {
        if i % STEPS_PER_CHECK == 0 {
            ledger.check_cancel()?;
        }
        let t = steps.at(i);
        match (f.is_empty(), h.is_empty()) {
            (true, true) => {}
            (false, false) => push_note(notes, Note::MixedFloatsHistograms(name())),
            (false, true) => {
                let (times, values) =
                    (&samples.times[f.lo()..f.hi()], &samples.values[f.lo()..f.hi()]);
                if let Some(v) = float_at(times, values, t) {
                    out.set(i, v);
                }
            }
            (true, false) => {
                let times = &samples.histogram_times[h.lo()..h.hi()];
                let value = histogram_at(times, &samples.histograms[h.lo()..h.hi()], t, notes);
                match value {
                    Some(Some(value)) => out.push_histogram(i, value, ledger)?,
                    Some(None) => push_note(notes, Note::MixedExponentialCustom(name())),
                    None => {}
                }
            }
        }
    }
    Ok(out)
}

/// The value at `t` among floats; `None` where nothing is at or before it.
fn float_at(times: &[i64], values: &[f64], t: i64) -> Option<f64> {
    let (before, after) = neighbours(times, t)?;
    if before == after {
        return Some(values[before]);
    }
    let (passed, whole) = passed_of(times[before], times[after], t);
    Some(values[before] + (values[after] - values[before]) * passed / whole)
}

/// The same among histograms; `Some(None)` where it would lie between exponential and custom buckets.
fn histogram_at(
    times: &[i64],
    histograms: &[Arc<Histogram>],
    t: i64,
    notes: &mut Vec<Note>,
) -> Option<Option<Arc<Histogram>>> {
    let (before, after) = neighbours(times, t)?;
    let (a, b) = (&histograms[before], &histograms[after]);
    if before == after {
        return Some(Some(a.clone()));
    }
    // Of two gauges nothing is reset.
    let counter = [a, b].iter().any(|h| h.reset_hint != ResetHint::Gauge);
    let (passed, whole) = passed_of(times[before], times[after], t);
    let between = interpolated(a, b, passed / whole, counter).ok();
    Some(between.map(|between| Arc::new(note_interpolated(between, notes))))
}

/// The positions of the samples that the value at `t` lies between; the same one twice where it stands alone.
fn neighbours(times: &[i64], t: i64) -> Option<(usize, usize)> {
    let after = times.partition_point(|s| *s < t);
    match (after.checked_sub(1), times.get(after)) {
        (_, Some(s)) if *s == t => Some((after, after)),
        (Some(before), Some(_)) => Some((before, after)),
        (Some(before), None) => Some((before, before)),
        (None, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_between_its_neighbours_or_is_carried_forward() {
        let (times, values) = ([10, 20, 40], [1.0, 3.0, -1.0]);
        let wanted = [
            (9, None),
            (10, Some(1.0)),
            (15, Some(2.0)),
            (25, Some(2.0)),
            (40, Some(-1.0)),
            (90, Some(-1.0)),
        ];
        for (t, value) in wanted {
            assert_eq!(float_at(&times, &values, t), value, "{t}");
        }
        assert_eq!(float_at(&[], &[], 0), None);
    }
}
