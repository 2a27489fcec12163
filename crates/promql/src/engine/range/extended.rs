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

use std::sync::Arc;

use pando_model::SeriesSamples;

use super::{Edges, FloatWindow, RangeCall, RangeFunction, push_note};
use crate::annotations::Note;
use crate::engine::samples::Samples;
use crate::engine::vector::StepVector;
use crate::engine::window::{Bound, WindowCache};
use crate::error::QueryError;

impl RangeCall<'_> {
    /// The function over windows with edges that are not plain.
    pub(super) fn extended(
        &self,
        series: &SeriesSamples,
        samples: &Samples<'_>,
        windows: &mut WindowCache,
        out: &mut StepVector,
        notes: &mut Vec<Note>,
    ) -> Result<(), QueryError> {
        let edges = self.rules.edges;
        let name = series.labels.metric_name();
        let ends = self.steps.shifted(edges.ahead_ms().saturating_neg());
        let reach = edges.back_ms().saturating_add(edges.ahead_ms());
        let range_ms = self.range_ms.saturating_add(reach);
        let floats: Arc<[Bound]> = match samples.shared_axis() {
            true => windows.bounds(&series.axis, &ends, range_ms),
            false => windows.uncached(&samples.times, &ends, range_ms),
        };
        // Most series have none: then the list is empty.
        let histograms = match samples.histogram_times.is_empty() {
            true => Vec::new(),
            false => windows.uncached(&samples.histogram_times, &ends, range_ms).to_vec(),
        };
        match self.function {
            RangeFunction::Changes | RangeFunction::Resets => {
                let (floats, histograms) = self.anchored(samples, &floats, &histograms);
                if histograms.iter().all(|h| h.is_empty()) {
                    self.floats(samples, &floats, name, out, notes);
                    return Ok(());
                }
                self.mixed(samples, name, (&floats, &histograms), out, notes)
            }
            _ => self.extended_rate(samples, name, (&floats, &histograms), out, notes),
        }
    }

    fn start_ms(&self, step: usize) -> i64 {
        self.steps.at(step).saturating_sub(self.range_ms)
    }

    /// Cuts widened windows down to the anchor, the last sample of either kind at or before the start, and what is
    /// later; to nothing where nothing is.
    fn anchored(
        &self,
        samples: &Samples<'_>,
        floats: &[Bound],
        histograms: &[Bound],
    ) -> (Vec<Bound>, Vec<Bound>) {
        let histograms = histograms.iter().chain(std::iter::repeat(&Bound::NONE));
        let cut = |(i, (f, h)): (usize, (&Bound, &Bound))| {
            let start = self.start_ms(i);
            let (mut f_from, f_anchor) = split(&samples.times, *f, start);
            let (mut h_from, h_anchor) = split(&samples.histogram_times, *h, start);
            if f_from >= f.hi() && h_from >= h.hi() {
                return (Bound::NONE, Bound::NONE);
            }
            match (f_anchor, h_anchor) {
                (Some(f_time), h) if h.is_none_or(|h_time| f_time >= h_time) => f_from -= 1,
                (_, Some(_)) => h_from -= 1,
                _ => {}
            }
            (f.starting_at(f_from), h.starting_at(h_from))
        };
        floats.iter().zip(histograms).enumerate().map(cut).unzip()
    }

    fn extended_rate(
        &self,
        samples: &Samples<'_>,
        name: &str,
        (floats, histograms): (&[Bound], &[Bound]),
        out: &mut StepVector,
        notes: &mut Vec<Note>,
    ) -> Result<(), QueryError> {
        let counter = self.function != RangeFunction::Delta;
        let resets = if counter { samples.resets() } else { Vec::new() };
        let smoothed = matches!(self.rules.edges, Edges::Smoothed { .. });
        let mut bounds = floats.to_vec();
        for (i, h) in histograms.iter().enumerate().filter(|(_, h)| !h.is_empty()) {
            if !bounds[i].is_empty() {
                push_note(notes, Note::MixedFloatsHistograms(name.to_string()));
                bounds[i] = Bound::NONE;
                continue;
            }
            // No sample in the range or at its edges: no result, whatever histograms come to.
            let times = &samples.histogram_times[h.lo()..h.hi()];
            if ends_of(times, self.start_ms(i), self.steps.at(i), smoothed).is_some() {
                return Err(self.unsupported(name));
            }
        }
        self.each(samples, &bounds, out, |window, bound, _| {
            let increase = increase(window, &resets, bound.lo(), smoothed, counter)?;
            Some(match self.function {
                RangeFunction::Rate => increase / (self.range_ms as f64 / 1000.0),
                _ => increase,
            })
        });
        Ok(())
    }
}

/// The first position of `bound` after `start_ms`, and the time of the one before it.
fn split(times: &[i64], bound: Bound, start_ms: i64) -> (usize, Option<i64>) {
    let window = &times[bound.lo()..bound.hi()];
    let before = window.partition_point(|t| *t <= start_ms);
    (bound.lo() + before, before.checked_sub(1).map(|at| window[at]))
}

/// The positions of the samples that stand for the window's edges; `None` where it says nothing about the range.
fn ends_of(times: &[i64], start: i64, end: i64, smoothed: bool) -> Option<(usize, usize)> {
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

/// The value at `t` on the line between two samples. Across a counter's reset it rises from zero.
fn interpolate((t1, v1): (i64, f64), (t2, v2): (i64, f64), t: i64, counter: bool) -> f64 {
    let v1 = if counter && v2 < v1 { 0.0 } else { v1 };
    let (passed, whole) = (t.saturating_sub(t1), t2.saturating_sub(t1));
    v1 + (v2 - v1) * passed as f64 / whole as f64
}

/// The values of floats at the window's edges.
fn values_at_edges(
    window: FloatWindow<'_>,
    (first, last): (usize, usize),
    smoothed: bool,
    counter: bool,
) -> (f64, f64) {
    let FloatWindow { times, values, end_ms, range_ms } = window;
    let start_ms = end_ms.saturating_sub(range_ms);
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
    resets: &[(u32, f64)],
    lo: usize,
    smoothed: bool,
    counter: bool,
) -> Option<f64> {
    let FloatWindow { times, values, end_ms, range_ms } = window;
    let start_ms = end_ms.saturating_sub(range_ms);
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
        let at = resets.partition_point(|(at, _)| *at as usize <= lo + from);
        let inside = resets[at..].iter().take_while(|(at, _)| (*at as usize) < lo + upto);
        inside.for_each(|(_, value)| lost += value);
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
    let smoothed = matches!(edges, Edges::Smoothed { .. });
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
            let resets: Vec<(u32, f64)> = falls.map(|(i, w)| (i as u32 + 1, w[0])).collect();
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
