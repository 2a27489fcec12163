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

use crate::engine::samples::Samples;
use crate::engine::window::Bound;

/// A sample's own time and its start, ms.
#[derive(Clone, Copy)]
struct Stamp {
    time_ms: i64,
    start_ms: i64,
}

/// Whether the start of `now` tells of a reset since `before`.
fn is_reset(before: Stamp, now: Stamp) -> bool {
    if now.start_ms == 0 || now.start_ms >= now.time_ms || now.start_ms < before.time_ms {
        return false;
    }
    let known = before.start_ms != 0 && before.start_ms < before.time_ms;
    now.start_ms > before.time_ms || known
}

/// Whether the start of `now` contradicts the sample before.
fn overlaps(before: Stamp, now: Stamp) -> bool {
    now.start_ms != 0 && now.start_ms < before.time_ms && now.start_ms != before.start_ms
}

/// Samples of one kind with their starts, as far as these are known.
#[derive(Clone, Copy)]
pub(crate) struct Started<'a> {
    times: &'a [i64],
    /// One per sample, or none at all.
    starts: &'a [i64],
}

impl<'a> Started<'a> {
    pub(crate) fn floats(samples: &'a Samples<'_>) -> Self {
        Started { times: &samples.times, starts: &samples.starts }
    }

    pub(crate) fn histograms(samples: &'a Samples<'_>) -> Self {
        Started { times: &samples.histogram_times, starts: &samples.histogram_starts }
    }

    fn stamp(&self, at: usize) -> Stamp {
        Stamp { time_ms: self.times[at], start_ms: self.starts.get(at).copied().unwrap_or(0) }
    }

    /// Whether the start of the sample at position `at` tells of a reset since the one before.
    pub(crate) fn is_reset(&self, at: usize) -> bool {
        at > 0 && is_reset(self.stamp(at - 1), self.stamp(at))
    }

    /// The positions of all resets that starts tell of.
    pub(crate) fn resets(self) -> impl Iterator<Item = usize> {
        (1..self.starts.len()).filter(move |at| self.is_reset(*at))
    }

    /// The positions of samples whose starts contradict the samples before.
    pub(super) fn overlaps(&self) -> Vec<usize> {
        let found = |at: &usize| overlaps(self.stamp(at - 1), self.stamp(*at));
        (1..self.starts.len()).filter(found).collect()
    }

    /// When the counter of the sample at `at` was zero, where that is known to be later than `range_start_ms`.
    #[inline]
    pub(super) fn zero_ms(&self, at: usize, range_start_ms: i64) -> Option<i64> {
        let Stamp { time_ms, start_ms } = self.stamp(at);
        Some(start_ms).filter(|t| *t != 0 && *t > range_start_ms && *t < time_ms)
    }
}

/// Whether one of the sorted `positions` lies in `bound`, behind its first.
pub(super) fn any_within(positions: &[usize], bound: Bound) -> bool {
    let from = positions.partition_point(|at| *at <= bound.lo());
    positions.get(from).is_some_and(|at| *at < bound.hi())
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
