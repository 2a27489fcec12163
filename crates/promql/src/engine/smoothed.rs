//! `smoothed` instant selectors, after Prometheus 3.14: at each step the value on the line between the sample before
//! and the sample after it, both within the lookback. Without a sample after the step the one before it is carried
//! forward, without one before there is nothing. Stale markers are no samples here.

use std::sync::Arc;

use pando_model::{ResetHint, SeriesSamples};

use super::range::push_note;
use super::samples::Samples;
use super::vector::StepVector;
use super::window::{Bound, WindowCache};
use crate::annotations::Note;
use crate::error::QueryError;
use crate::steps::Steps;

/// The values of `series` at `steps`.
pub(crate) fn values(
    series: &SeriesSamples,
    steps: &Steps,
    lookback_ms: i64,
    windows: &mut WindowCache,
    notes: &mut Vec<Note>,
) -> Result<StepVector, QueryError> {
    let mut out = StepVector::empty(series.labels.clone(), steps.len());
    let name = series.labels.metric_name();
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
        let t = steps.at(i);
        match (f.is_empty(), h.is_empty()) {
            (true, true) => {}
            (false, false) => push_note(notes, Note::MixedFloatsHistograms(name.to_string())),
            (false, true) => {
                let (times, values) =
                    (&samples.times[f.lo()..f.hi()], &samples.values[f.lo()..f.hi()]);
                if let Some(v) = at(times, values, t) {
                    out.set(i, v);
                }
            }
            (true, false) => {
                let times = &samples.histogram_times[h.lo()..h.hi()];
                match neighbours(times, t) {
                    None => {}
                    Some((before, after)) if before == after => {
                        let mut value = samples.histograms[h.lo() + before].clone();
                        // A hint tells of two neighbouring samples; what is carried forward has none.
                        if times[before] != t && value.reset_hint != ResetHint::Unknown {
                            Arc::make_mut(&mut value).reset_hint = ResetHint::Unknown;
                        }
                        out.histograms.push((i as u32, value));
                    }
                    Some(_) => {
                        let message = format!(
                            "smoothed native histograms are not supported yet: metric={name}"
                        );
                        return Err(QueryError::execution(message));
                    }
                }
            }
        }
    }
    Ok(out)
}

/// The value at `t` among floats; `None` where nothing is at or before it.
fn at(times: &[i64], values: &[f64], t: i64) -> Option<f64> {
    let (before, after) = neighbours(times, t)?;
    if before == after {
        return Some(values[before]);
    }
    let passed = t.saturating_sub(times[before]) as f64;
    let whole = times[after].saturating_sub(times[before]) as f64;
    Some(values[before] + (values[after] - values[before]) * passed / whole)
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
            assert_eq!(at(&times, &values, t), value, "{t}");
        }
        assert_eq!(at(&[], &[], 0), None);
    }
}
