//! Counters: `rate`, `increase`, `delta`, `irate`, `idelta`, `changes`, `resets`.

use super::resets::Resets;
use super::{FloatWindow, RangeFunction};
use crate::engine::window::Bound;

/// How a difference becomes that of the whole window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Extrapolation {
    /// Whether it is a counter's, which starts at zero and falls in resets only.
    pub(in crate::engine) counter: bool,
    pub(in crate::engine) per_second: bool,
}

impl Extrapolation {
    /// That of `rate` or `increase`, or else that of `delta`.
    pub(super) fn of(function: RangeFunction) -> Self {
        Extrapolation {
            counter: matches!(function, RangeFunction::Rate | RangeFunction::Increase),
            per_second: function == RangeFunction::Rate,
        }
    }
}

/// `rate`, `increase` and `delta`: the difference of the window's ends, stretched to the window's edges where the
/// first and last samples are near enough to them. `resets` are those of the whole series, `lo` is the window's first
/// position in it; between the ends nothing is read. Where it is known when the counter was zero, at `zero_ms` within
/// the window, nothing is stretched to the left, and one sample is enough. The order of floating-point operations is
/// Prometheus', so that answers are equal to the last bit.
#[inline]
pub(super) fn extrapolated(
    window: FloatWindow<'_>,
    resets: &Resets,
    lo: usize,
    zero_ms: Option<i64>,
    how: Extrapolation,
) -> Option<f64> {
    let FloatWindow { times, values, end_ms, range_ms } = window;
    let last = values.len().checked_sub(1).filter(|n| *n > 0 || zero_ms.is_some())?;
    let mut result = difference(values, resets, lo)?;
    if zero_ms.is_some() {
        result += values[0];
    }
    let ends = Ends {
        zero_ms,
        first_ms: times[0],
        last_ms: times[last],
        samples: values.len(),
        first: values[0],
        increase: result,
    };
    Some(result * ends.factor(end_ms, range_ms, how))
}

/// The difference of the last value and the first, with what was lost in `resets` in between.
#[inline]
fn difference(values: &[f64], resets: &Resets, lo: usize) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    let result = values[last] - values[0];
    Some(match resets.is_empty() {
        true => result,
        false => resets.add_lost(result, resets.until(lo)..resets.until(lo + last)),
    })
}

/// The ends of a window, and what it grew by between them.
pub(super) struct Ends {
    /// When the counter was zero, if that is known to lie in the window.
    pub(super) zero_ms: Option<i64>,
    pub(super) first_ms: i64,
    pub(super) last_ms: i64,
    /// How many samples there are: two or more, or one where the zero is known.
    pub(super) samples: usize,
    /// The first value, or count of observations.
    pub(super) first: f64,
    /// By how much that grew, resets included.
    pub(super) increase: f64,
}

impl Ends {
    /// What the increase is to be multiplied by, so that it is that of the whole window.
    #[inline]
    pub(super) fn factor(&self, end_ms: i64, range_ms: i64, how: Extrapolation) -> f64 {
        let Ends { zero_ms, first_ms, last_ms, samples, first, increase } = *self;
        let mut reach = Reach::of_samples(first_ms, last_ms, samples, end_ms, range_ms);
        if let Some(zero_ms) = zero_ms {
            reach.to_start = 0.0;
            reach.sampled = seconds(zero_ms, last_ms);
        }
        if how.counter {
            reach = reach.limited_by_zero(first, increase);
        }
        reach.factor(range_ms, how)
    }
}

/// How far the samples of a window reach, and how far an increase is stretched beyond them, seconds.
#[derive(Clone, Copy, Default)]
pub(super) struct Reach {
    /// Before the first sample.
    pub(super) to_start: f64,
    /// From the first sample to the last.
    pub(super) sampled: f64,
    /// After the last sample.
    to_end: f64,
}

impl Reach {
    /// That of `samples` samples: to the window's edges where these are near enough.
    #[inline]
    pub(super) fn of_samples(
        first_ms: i64,
        last_ms: i64,
        samples: usize,
        end_ms: i64,
        range_ms: i64,
    ) -> Self {
        let to_start = seconds(end_ms.saturating_sub(range_ms), first_ms);
        let to_end = seconds(last_ms, end_ms);
        let sampled = seconds(first_ms, last_ms);
        let average = match samples {
            1 => 0.0,
            n => sampled / (n - 1) as f64,
        };
        // A gap this much longer than the usual distance is taken as the series' beginning or end.
        let threshold = average * 1.1;
        let stretched = |gap: f64| if gap >= threshold { average / 2.0 } else { gap };
        Reach { to_start: stretched(to_start), sampled, to_end: stretched(to_end) }
    }

    /// A counter starts at zero: it is never stretched to before that. `first` is its first value.
    #[inline]
    pub(super) fn limited_by_zero(self, first: f64, increase: f64) -> Self {
        let mut to_zero = self.to_start;
        if increase > 0.0 && first >= 0.0 {
            to_zero = self.sampled * (first / increase);
        }
        let to_start = if to_zero < self.to_start { to_zero } else { self.to_start };
        Reach { to_start, ..self }
    }

    /// What the increase is to be multiplied by.
    #[inline]
    pub(super) fn factor(&self, range_ms: i64, how: Extrapolation) -> f64 {
        let mut factor = (self.sampled + self.to_start + self.to_end) / self.sampled;
        if how.per_second {
            factor /= range_ms as f64 / 1000.0;
        }
        factor
    }
}

#[inline]
fn seconds(from_ms: i64, upto_ms: i64) -> f64 {
    upto_ms.saturating_sub(from_ms) as f64 / 1000.0
}

/// `irate` (per second, with a reset counted from zero) and `idelta` of the last two samples. `reset` tells of one
/// that the values need not show.
pub(super) fn instant(window: FloatWindow<'_>, rate: bool, reset: bool) -> Option<f64> {
    let n = window.values.len();
    if n < 2 {
        return None;
    }
    let (before, last) = (window.values[n - 2], window.values[n - 1]);
    let interval_ms = window.times[n - 1].saturating_sub(window.times[n - 2]);
    let mut result = last - before;
    if rate && (reset || last < before) {
        result = last;
    }
    if rate {
        result /= interval_ms as f64 / 1000.0;
    }
    Some(result)
}

/// Where a value of a whole series differs from the one before; NaN after NaN is no change.
pub(super) fn changes_of(values: &[f64]) -> Vec<u32> {
    let changed = |w: &[f64]| w[0] != w[1] && !(w[0].is_nan() && w[1].is_nan());
    let pairs = (1u32..).zip(values.windows(2));
    pairs.filter(|(_, pair)| changed(pair)).map(|(at, _)| at).collect()
}

/// How often the value changes within a window, whose samples are at `bound`.
pub(super) fn changes(changes: &[u32], bound: Bound) -> Option<f64> {
    let from = changes.partition_point(|at| *at as usize <= bound.lo());
    let upto = changes.partition_point(|at| (*at as usize) < bound.hi());
    Some((upto - from.min(upto)) as f64)
}

/// How often the value falls within a window, whose samples are at `bound`.
pub(super) fn resets(resets: &Resets, bound: Bound) -> Option<f64> {
    let (from, upto) = (resets.until(bound.lo()), resets.until(bound.hi().checked_sub(1)?));
    Some((upto - from.min(upto)) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::window::WindowCache;
    use crate::steps::Steps;

    fn window<'a>(times: &'a [i64], values: &'a [f64], end_ms: i64) -> FloatWindow<'a> {
        FloatWindow { times, values, end_ms, range_ms: 60_000 }
    }

    const INCREASE: Extrapolation = Extrapolation { counter: true, per_second: false };
    const DELTA: Extrapolation = Extrapolation { counter: false, per_second: false };

    #[test]
    fn a_gap_of_more_than_a_tenth_above_the_distance_of_samples_is_an_end() {
        // Samples 10 s apart from 100 s to 150 s; the window reaches `gap_ms` to either side.
        let reach = |gap_ms: i64| {
            let reach =
                Reach::of_samples(100_000, 150_000, 6, 150_000 + gap_ms, 50_000 + 2 * gap_ms);
            assert_eq!(reach.sampled, 50.0);
            [reach.to_start, reach.to_end]
        };
        assert_eq!(reach(10_000), [10.0; 2]);
        assert_eq!(reach(10_999), [10.999; 2]);
        assert_eq!(reach(11_000), [5.0; 2], "half of the distance of samples");
        assert_eq!(reach(25_000), [5.0; 2]);
    }

    #[test]
    fn rate_extrapolates_to_the_edges_but_not_below_zero() {
        let times = [15_000, 30_000, 45_000, 60_000];
        let rising = window(&times, &[10.0, 20.0, 30.0, 40.0], 60_000);
        // 30 over 45 s, 15 s to the start: a counter of 10 reaches zero exactly there.
        assert_eq!(extrapolated(rising, &Resets::default(), 0, None, INCREASE), Some(40.0));
        let low = window(&times, &[1.0, 11.0, 21.0, 31.0], 60_000);
        let increase =
            extrapolated(low, &Resets::default(), 0, None, INCREASE).expect("two samples");
        assert!((increase - 31.0).abs() < 1e-9, "{increase}");
        assert_eq!(extrapolated(low, &Resets::default(), 0, None, DELTA), Some(40.0));
        let one = window(&times[..1], &[1.0], 60_000);
        // A single sample says nothing of how far apart samples are: it is not stretched.
        assert_eq!(extrapolated(one, &Resets::default(), 0, Some(5_000), INCREASE), Some(1.0));
        assert_eq!(extrapolated(one, &Resets::default(), 0, None, INCREASE), None);
    }

    #[test]
    fn resets_are_found_inside_of_the_window_only() {
        let values = [5.0, 1.0, 3.0, 0.0, 2.0];
        let resets_at = Resets::new(vec![(1, 5.0), (3, 3.0)]);
        let axis: Vec<i64> = (0..values.len() as i64).collect();
        let [whole, part] = [5, 4].map(|range_ms| {
            WindowCache::default().uncached(&axis, &Steps::instant(4), range_ms)[0]
        });
        assert_eq!(resets(&resets_at, part), Some(1.0));
        assert_eq!(resets(&resets_at, whole), Some(2.0));
        let changing = changes_of(&[1.0, 2.0, f64::NAN, f64::NAN, 2.0]);
        assert_eq!(changing, [1, 2, 4]);
        assert_eq!(changes(&changing, part), Some(2.0));
        assert_eq!(changes(&changing, whole), Some(3.0));
    }
}
