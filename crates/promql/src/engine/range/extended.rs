//! `anchored` and `smoothed` ranges: `rate`, `increase`, `delta`, `changes` and `resets` that look past the edges
//! of their window, after Prometheus 3.14 (proposal PROM-52).
//!
//! Samples are taken from a window widened by the lookback (see [`Edges`]); the result is that of the range alone.
//! Nothing is extrapolated: the difference of two values, one for each edge, and a rate divides it by the range.
//!
//! ```text
//! anchored  left: the last sample at or before the start; without one, the first in the range. right: the last.
//! smoothed  left and right: on the line between the neighbours of the edge; the first or last sample where there
//!           is no neighbour outside. On a line across a counter's reset the counter rises from zero.
//! ```
//!
//! What a counter lost in resets between the edges is added: first edge to first sample within, sample to sample,
//! last sample within to second edge.

use pando_model::SeriesSamples;

use super::counters::Extrapolation;
use super::resets::Resets;
use super::{Edges, FloatWindow, OneSeries, RangeCall, RangeFunction, RangeRules};
use crate::annotations::Note;
use crate::budget::Ledger;
use crate::engine::samples::Samples;
use crate::engine::vector::StepVector;
use crate::engine::window::{Bound, WindowCache};
use crate::error::QueryError;

impl OneSeries<'_> {
    /// The function over windows with edges that are not plain.
    pub(super) fn extended(
        &self,
        windows: &mut WindowCache,
        out: &mut StepVector,
        notes: &mut Vec<Note>,
        ledger: &mut Ledger,
    ) -> Result<(), QueryError> {
        let RangeCall { function, range_ms, rules: RangeRules { edges, .. }, .. } = *self.call;
        let ends = self.call.steps.shifted(edges.ahead_ms().saturating_neg());
        let reach = edges.back_ms().saturating_add(edges.ahead_ms());
        let range_ms = range_ms.saturating_add(reach);
        // Most series have no histograms.
        let only_floats = self.samples.histogram_times.is_empty();
        if matches!(function, RangeFunction::Changes | RangeFunction::Resets) {
            if only_floats {
                let bounds = self.float_bounds(windows, &ends, range_ms);
                self.floats(&self.anchored(&self.samples.times, &bounds), out, notes);
                return Ok(());
            }
            let bounds =
                |times: &[i64]| self.anchored(times, &windows.uncached(times, &ends, range_ms));
            self.compare(bounds, out);
            return Ok(());
        }
        let mut bounds = self.float_bounds(windows, &ends, range_ms);
        if !only_floats {
            let histograms = windows.uncached(&self.samples.histogram_times, &ends, range_ms);
            bounds = self.extended_histograms(&bounds, &histograms, out, notes, ledger)?.into();
        }
        self.extended_floats(&bounds, out);
        Ok(())
    }

    /// Cuts widened windows down to the anchor, the last sample at or before the start, and what is later; to
    /// nothing where nothing is.
    fn anchored(&self, times: &[i64], bounds: &[Bound]) -> Vec<Bound> {
        let cut = |(i, bound): (usize, &Bound)| {
            let window = &times[bound.lo()..bound.hi()];
            let before = window.partition_point(|t| *t <= self.start_ms(i));
            match before == window.len() {
                true => Bound::NONE,
                false => bound.starting_at(bound.lo() + before.saturating_sub(1)),
            }
        };
        bounds.iter().enumerate().map(cut).collect()
    }

    fn extended_floats(&self, bounds: &[Bound], out: &mut StepVector) {
        let how = Extrapolation::of(self.call.function);
        let resets = self.resets(how);
        let smoothed = self.call.rules.edges.is_smoothed();
        self.each(bounds, out, |window, bound, _| {
            let increase = increase(window, &resets, bound.lo(), smoothed, how.counter)?;
            Some(match how.per_second {
                true => increase / (self.call.range_ms as f64 / 1000.0),
                false => increase,
            })
        });
    }

    /// When the range at `step` begins.
    pub(super) fn start_ms(&self, step: usize) -> i64 {
        self.call.steps.at(step).saturating_sub(self.call.range_ms)
    }
}

/// The positions of the samples that stand for the window's edges; `None` where it says nothing about the range.
pub(super) fn ends_of(
    times: &[i64],
    start: i64,
    end: i64,
    smoothed: bool,
) -> Option<(usize, usize)> {
    let newest = times.len().checked_sub(1)?;
    let first = times[..newest].partition_point(|t| *t <= start).saturating_sub(1);
    let last = match smoothed {
        true => times[..newest].partition_point(|t| *t < end),
        false => newest,
    };
    let all_before = times[last] <= start;
    let all_after = smoothed && times[first] > end;
    (!all_before && !all_after).then_some((first, last))
}

/// How much of the way from `t1` to `t2` lies before `t`, and the whole of it.
pub(crate) fn passed_of(t1: i64, t2: i64, t: i64) -> (f64, f64) {
    (t.saturating_sub(t1) as f64, t2.saturating_sub(t1) as f64)
}

/// The value at `t` on the line between two samples. Across a counter's reset it rises from zero.
fn interpolate((t1, v1): (i64, f64), (t2, v2): (i64, f64), t: i64, counter: bool) -> f64 {
    let v1 = if counter && v2 < v1 { 0.0 } else { v1 };
    let (passed, whole) = passed_of(t1, t2, t);
    v1 + (v2 - v1) * passed / whole
}

/// The values of floats at the window's edges.
fn values_at_edges(
    window: FloatWindow<'_>,
    (first, last): (usize, usize),
    smoothed: bool,
    counter: bool,
) -> (f64, f64) {
    let FloatWindow { times, values, end_ms, .. } = window;
    let start_ms = window.start_ms();
    let point = |i: usize| (times[i], values[i]);
    let left = match smoothed && times[first] < start_ms {
        true => interpolate(point(first), point(first + 1), start_ms, counter),
        false => values[first],
    };
    let right = match smoothed && last > 0 && times[last] > end_ms {
        true => interpolate(point(last - 1), point(last), end_ms, counter),
        false => values[last],
    };
    (left, right)
}

/// What the series rose by from edge to edge. The window is the widened one, with the range's own end and length;
/// `resets` and `lo` are as in [`super::counters::extrapolated`].
fn increase(
    window: FloatWindow<'_>,
    resets: &Resets,
    lo: usize,
    smoothed: bool,
    counter: bool,
) -> Option<f64> {
    let FloatWindow { times, values, end_ms, .. } = window;
    let start_ms = window.start_ms();
    let (first, last) = ends_of(times, start_ms, end_ms, smoothed)?;
    let (left, right) = values_at_edges(window, (first, last), smoothed, counter);
    let mut result = right - left;
    if !counter {
        return Some(result);
    }
    // The samples within, without those that stand at an edge.
    let from = first + usize::from(times[first] <= start_ms);
    let upto = last + usize::from(times[last] < end_ms);
    let (mut lost, mut before) = (0.0, left);
    if let Some([a, ..]) = values.get(from..upto) {
        if *a < left {
            lost += left;
        }
        lost = resets.add_lost(lost, resets.until(lo + from)..resets.until(lo + upto - 1));
        before = values[upto - 1];
    }
    if right < before {
        lost += before;
    }
    result += lost;
    Some(result)
}

/// A range vector as it is returned itself: the floats within the range, and one at each edge.
pub(crate) fn samples_at_edges(
    series: &SeriesSamples,
    edges: Edges,
    end_ms: i64,
    range_ms: i64,
) -> Result<Vec<(i64, f64)>, QueryError> {
    let samples = Samples::of(series);
    let smoothed = edges.is_smoothed();
    if !samples.histograms.is_empty() {
        let name = if smoothed { "smoothed" } else { "anchored" };
        let message = format!("{name} modifier is not supported with histograms");
        return Err(QueryError::execution(message));
    }
    let (times, values) = (&*samples.times, &*samples.values);
    let start_ms = end_ms.saturating_sub(range_ms);
    let Some(ends) = ends_of(times, start_ms, end_ms, smoothed) else { return Ok(Vec::new()) };
    let window = FloatWindow { times, values, end_ms, range_ms };
    let (left, right) = values_at_edges(window, ends, smoothed, false);
    let mut out = vec![(start_ms, left)];
    let within = times.iter().zip(values).filter(|(t, _)| **t > start_ms && **t < end_ms);
    out.extend(within.map(|(t, v)| (*t, *v)));
    out.push((end_ms, right));
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same without any shortcut: walks over all samples.
    fn slow(
        times: &[i64],
        values: &[f64],
        end_ms: i64,
        range_ms: i64,
        smoothed: bool,
    ) -> Option<f64> {
        let start = end_ms - range_ms;
        let line = |t: i64, or: f64| {
            let after = times.iter().position(|s| *s > t).filter(|i| *i > 0);
            let Some(i) = after.filter(|i| smoothed && times[i - 1] != t) else { return or };
            interpolate((times[i - 1], values[i - 1]), (times[i], values[i]), t, true)
        };
        let before = times.iter().rposition(|t| *t <= start);
        let upto = times.iter().rposition(|t| *t <= end_ms);
        let in_range = times.iter().any(|t| *t > start && *t <= end_ms);
        let spans = smoothed && before.is_some() && times.iter().any(|t| *t > end_ms);
        if !in_range && !spans {
            return None;
        }
        let left = line(start, values[before.unwrap_or(0)]);
        let right = line(end_ms, values[upto?]);
        let mut track = vec![left];
        let inside = times.iter().zip(values).filter(|(t, _)| **t > start && **t < end_ms);
        track.extend(inside.map(|(_, v)| *v));
        track.push(right);
        let lost: f64 = track.windows(2).filter(|w| w[1] < w[0]).map(|w| w[0]).sum();
        Some(right - left + lost)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn resets_are_found_without_a_walk(
            points in proptest::collection::vec((1i64..40, 0u8..6), 1..12),
            end in 0i64..300, range in 1i64..120, smoothed in any::<bool>(),
        ) {
            let mut t = 0;
            let (mut times, mut values) = (Vec::new(), Vec::new());
            for (gap, value) in points {
                t += gap;
                times.push(t);
                values.push(f64::from(value));
            }
            let falls = values.windows(2).enumerate().filter(|(_, w)| w[1] < w[0]);
            let resets = Resets::new(falls.map(|(i, w)| (i as u32 + 1, w[0])).collect());
            // An anchored window ends where the range does.
            let len = if smoothed { times.len() } else { times.partition_point(|t| *t <= end) };
            let (times, values) = (&times[..len], &values[..len]);
            let window = FloatWindow { times, values, end_ms: end, range_ms: range };
            let got = increase(window, &resets, 0, smoothed, true);
            let wanted = slow(times, values, end, range, smoothed);
            match (got, wanted) {
                (Some(a), Some(b)) => prop_assert!((a - b).abs() < 1e-9, "{a} {b}"),
                (a, b) => prop_assert_eq!(a, b),
            }
        }
    }
}
