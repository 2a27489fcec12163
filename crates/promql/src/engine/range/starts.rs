//! Start timestamps: when the counter that a sample belongs to began (OpenTelemetry's `StartTimeUnixNano`,
//! OpenMetrics' `_created`). They tell resets that the values do not show, and where a counter was zero.
//!
//! The rules are Prometheus 3.14's. Of two neighbouring samples the later one tells of a reset if its start is
//!
//! ```text
//! later than the sample before, earlier than itself      the counter began in between
//! equal to the time of the sample before                 a delta follows a delta; but not where the start
//!                                                        before is unknown: then it is OpenTelemetry's
//!                                                        "cumulative, of unknown start"
//! ```
//!
//! A start of 0 is unknown, one at or after its own sample is no start. A start that is earlier than the sample
//! before, and not the start of that sample, contradicts it: a warning.

use std::borrow::Cow;

use pando_model::{SeriesSamples, is_stale_nan};

use super::{FloatWindow, RangeCall, RangeFunction, counters, push_note};
use crate::annotations::Note;
use crate::engine::samples::Samples;
use crate::engine::vector::StepVector;
use crate::engine::window::Bound;

/// A sample's own time and its start, ms.
#[derive(Clone, Copy)]
pub(crate) struct Stamp {
    pub(crate) time_ms: i64,
    pub(crate) start_ms: i64,
}

/// Whether the start of `now` tells of a reset since `before`.
pub(crate) fn is_reset(before: Stamp, now: Stamp) -> bool {
    if now.start_ms == 0 || now.start_ms >= now.time_ms || now.start_ms < before.time_ms {
        return false;
    }
    let known = before.start_ms != 0 && before.start_ms < before.time_ms;
    now.start_ms > before.time_ms || known
}

/// Whether the start of `now` contradicts the sample before.
pub(crate) fn overlaps(before: Stamp, now: Stamp) -> bool {
    now.start_ms != 0 && now.start_ms < before.time_ms && now.start_ms != before.start_ms
}

/// The starts of the floats of `series` that count; empty where none is known.
pub(crate) fn of_floats<'a>(series: &'a SeriesSamples, samples: &Samples<'_>) -> Cow<'a, [i64]> {
    if series.starts.len() != series.len() {
        return Cow::Borrowed(&[]);
    }
    if samples.shared_axis() {
        return Cow::Borrowed(&series.starts);
    }
    let mut histograms = series.histograms.iter().map(|(at, _)| *at as usize).peekable();
    let mut out = Vec::with_capacity(samples.times.len());
    for (i, (start, value)) in series.starts.iter().zip(&series.floats).enumerate() {
        if histograms.next_if_eq(&i).is_none() && !is_stale_nan(*value) {
            out.push(*start);
        }
    }
    Cow::Owned(out)
}

/// The floats of a series with their starts.
pub(crate) struct Started<'a> {
    times: &'a [i64],
    starts: &'a [i64],
}

impl<'a> Started<'a> {
    /// `None` where no start is known.
    pub(crate) fn of(samples: &'a Samples<'_>) -> Option<Self> {
        let (times, starts) = (&*samples.times, &*samples.starts);
        (!starts.is_empty() && starts.len() == times.len()).then_some(Started { times, starts })
    }

    fn stamp(&self, at: usize) -> Stamp {
        Stamp { time_ms: self.times[at], start_ms: self.starts[at] }
    }

    /// The positions, from 1 on, at which `test` holds for a sample and the one before.
    fn positions(&self, test: impl Fn(Stamp, Stamp) -> bool) -> impl Iterator<Item = usize> {
        (1..self.times.len()).filter(move |i| test(self.stamp(i - 1), self.stamp(*i)))
    }

    /// Where a start tells of a reset.
    pub(crate) fn resets(&self) -> impl Iterator<Item = usize> {
        self.positions(is_reset)
    }
}

/// Runs `rate`, `increase` or `irate` over all windows of floats with starts; false for other functions.
pub(super) fn floats(
    call: &RangeCall<'_>,
    samples: &Samples<'_>,
    bounds: &[Bound],
    name: &str,
    out: &mut StepVector,
    notes: &mut Vec<Note>,
) -> bool {
    let Some(started) = Started::of(samples) else { return false };
    match call.function {
        RangeFunction::Rate | RangeFunction::Increase => {}
        RangeFunction::Irate => {
            call.each(samples, bounds, out, |w, bound, _| {
                let last = bound.hi() - 1;
                let reset =
                    bound.len() > 1 && is_reset(started.stamp(last - 1), started.stamp(last));
                if reset { since_reset(w) } else { counters::instant(w, true) }
            });
            return true;
        }
        _ => return false,
    }
    let resets = samples.resets();
    let per_second = call.function == RangeFunction::Rate;
    call.each(samples, bounds, out, |w, bound, _| {
        let first = started.stamp(bound.lo());
        from_start(w, first, &resets, bound.lo(), per_second)
            .or_else(|| counters::extrapolated(w, &resets, bound.lo(), true, per_second))
    });
    let overlaps: Vec<usize> = started.positions(overlaps).collect();
    let within = |b: &Bound| {
        let from = overlaps.partition_point(|at| *at <= b.lo());
        overlaps.get(from).is_some_and(|at| *at < b.hi())
    };
    if bounds.iter().any(within) {
        push_note(notes, Note::StartTimeOverlap(name.to_string()));
    }
    true
}

/// `rate` and `increase` where the first sample's start lies in the window: the counter was zero there, so nothing
/// is extrapolated to the left, and one sample is enough. `None` where it does not.
fn from_start(
    window: FloatWindow<'_>,
    first: Stamp,
    resets: &[(u32, f64)],
    lo: usize,
    per_second: bool,
) -> Option<f64> {
    let FloatWindow { times, values, end_ms, range_ms } = window;
    let inside = first.start_ms > end_ms.saturating_sub(range_ms);
    if first.start_ms == 0 || !inside || first.start_ms >= first.time_ms {
        return None;
    }
    let result = counters::difference(values, resets, lo)? + values[0];
    let last = values.len() - 1;
    let seconds = |from: i64, upto: i64| upto.saturating_sub(from) as f64 / 1000.0;
    let average = match last {
        0 => 0.0,
        gaps => seconds(times[0], times[last]) / gaps as f64,
    };
    let mut to_end = seconds(times[last], end_ms);
    if to_end >= average * 1.1 {
        to_end = average / 2.0;
    }
    let sampled = seconds(first.start_ms, times[last]);
    let mut factor = (sampled + to_end) / sampled;
    if per_second {
        factor /= range_ms as f64 / 1000.0;
    }
    Some(result * factor)
}

/// `irate` after a reset between the last two samples: the last value came since.
fn since_reset(window: FloatWindow<'_>) -> Option<f64> {
    let [.., before, last] = window.times else { return None };
    Some(window.values.last()? / (last.saturating_sub(*before) as f64 / 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(start_ms: i64, time_ms: i64) -> Stamp {
        Stamp { time_ms, start_ms }
    }

    #[test]
    fn a_start_tells_of_a_reset_only_where_it_can() {
        let before = stamp(50, 100);
        for (now, reset) in [
            (stamp(0, 200), false),
            (stamp(50, 200), false),
            (stamp(99, 200), false),
            (stamp(100, 200), true),
            (stamp(150, 200), true),
            (stamp(200, 200), false),
            (stamp(300, 200), false),
        ] {
            assert_eq!(is_reset(before, now), reset, "start {}", now.start_ms);
        }
        // The start before is unknown in one of three ways: a cumulative counter goes on.
        for before in [stamp(0, 100), stamp(100, 100), stamp(130, 100)] {
            assert!(!is_reset(before, stamp(100, 200)), "start {}", before.start_ms);
            assert!(is_reset(before, stamp(101, 200)));
        }
    }

    #[test]
    fn starts_overlap_unless_they_are_the_same() {
        assert!(overlaps(stamp(50, 100), stamp(99, 200)));
        for fits in [stamp(0, 200), stamp(50, 200), stamp(100, 200), stamp(150, 200)] {
            assert!(!overlaps(stamp(50, 100), fits), "start {}", fits.start_ms);
        }
    }
}
