//! Windows: which positions of a time axis lie in `(step - range, step]`, once per axis and reused by every
//! series on it.

use std::sync::Arc;

use super::range::{AxisRates, Extrapolation};
use crate::steps::Steps;

/// A half-open range of positions in a series.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bound {
    lo: u32,
    hi: u32,
}

impl Bound {
    /// No position.
    pub(crate) const NONE: Bound = Bound { lo: 0, hi: 0 };

    #[inline]
    pub(crate) fn lo(self) -> usize {
        self.lo as usize
    }

    #[inline]
    pub(crate) fn hi(self) -> usize {
        self.hi as usize
    }

    #[inline]
    pub(crate) fn len(self) -> usize {
        (self.hi - self.lo) as usize
    }

    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.lo == self.hi
    }

    /// What is left of it from position `lo` on.
    pub(crate) fn starting_at(self, lo: usize) -> Bound {
        Bound { lo: (lo as u32).clamp(self.lo, self.hi), hi: self.hi }
    }
}

/// How many axes are remembered at most: scrape groups of one batch share few.
const AXES_MAX: usize = 64;
/// Windows that are remembered, of all axes together, some MiB; those of one axis always are.
const WINDOWS_MAX: usize = 128 << 10;

/// Bytes that the bounds of one axis take.
pub(crate) fn bounds_bytes(steps: usize) -> usize {
    steps * size_of::<Bound>()
}

/// What was worked out of an axis.
struct Known {
    // Held, so that no other axis can get its address.
    axis: Arc<[i64]>,
    steps: Steps,
    range_ms: i64,
    bounds: Arc<[Bound]>,
    rates: Option<(Extrapolation, Arc<AxisRates>)>,
}

/// Bounds per axis, the most recently made ones.
#[derive(Default)]
pub(crate) struct WindowCache {
    known: Vec<Known>,
    next: usize,
}

impl WindowCache {
    /// The bounds of every step's window on `axis`.
    pub(crate) fn bounds(
        &mut self,
        axis: &Arc<[i64]>,
        steps: &Steps,
        range_ms: i64,
    ) -> Arc<[Bound]> {
        self.known(axis, steps, range_ms).bounds.clone()
    }

    /// What `rate` and its kin need of every step's window on `axis`.
    pub(crate) fn rates(
        &mut self,
        axis: &Arc<[i64]>,
        steps: &Steps,
        range_ms: i64,
        how: Extrapolation,
    ) -> Arc<AxisRates> {
        let known = self.known(axis, steps, range_ms);
        if let Some((_, rates)) = known.rates.as_ref().filter(|(of, _)| *of == how) {
            return rates.clone();
        }
        let rates = AxisRates::new(axis, &known.bounds, steps, range_ms, how);
        known.rates.insert((how, Arc::new(rates))).1.clone()
    }

    fn known(&mut self, axis: &Arc<[i64]>, steps: &Steps, range_ms: i64) -> &mut Known {
        let same =
            |k: &Known| Arc::ptr_eq(&k.axis, axis) && k.steps == *steps && k.range_ms == range_ms;
        let at = match self.known.iter().rposition(same) {
            Some(at) => at,
            None => {
                let bounds = compute(axis, steps, range_ms).into();
                let axis = axis.clone();
                self.put(Known { axis, steps: *steps, range_ms, bounds, rates: None })
            }
        };
        &mut self.known[at]
    }

    /// Remembers one more axis, in the place of another where there are enough.
    fn put(&mut self, known: Known) -> usize {
        if self.known.len() < axes_max(known.bounds.len()) {
            self.known.push(known);
            return self.known.len() - 1;
        }
        let at = self.next % self.known.len();
        self.known[at] = known;
        self.next = at + 1;
        at
    }

    /// The bounds on times that no other series has.
    pub(crate) fn uncached(&self, times: &[i64], steps: &Steps, range_ms: i64) -> Arc<[Bound]> {
        compute(times, steps, range_ms).into()
    }
}

/// How many axes are remembered over so many steps.
fn axes_max(steps: usize) -> usize {
    (WINDOWS_MAX / steps.max(1)).clamp(1, AXES_MAX)
}

fn compute(times: &[i64], steps: &Steps, range_ms: i64) -> Vec<Bound> {
    let (mut lo, mut hi) = (0usize, 0usize);
    let mut out = Vec::with_capacity(steps.len());
    for end in steps.iter() {
        let start = end.saturating_sub(range_ms);
        lo = advance(times, lo, start);
        hi = advance(times, hi.max(lo), end);
        out.push(Bound { lo: lo as u32, hi: hi as u32 });
    }
    out
}

/// The first position at or after `from` whose time is later than `after`. Gallops, so that steps far apart do
/// not walk over every sample between them.
fn advance(times: &[i64], from: usize, after: i64) -> usize {
    let rest = &times[from..];
    let (mut reach, mut known) = (1usize, 0usize);
    while reach <= rest.len() && rest[reach - 1] <= after {
        known = reach;
        reach *= 2;
    }
    let upto = reach.min(rest.len());
    from + known + rest[known..upto].partition_point(|t| *t <= after)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_more_steps_the_fewer_axes_are_remembered() {
        assert_eq!([1_000, 1 << 14, 1 << 26].map(axes_max), [AXES_MAX, 8, 1]);
    }

    #[test]
    fn an_axis_is_worked_out_once_for_all_its_series() {
        let axis: Arc<[i64]> = vec![0, 10, 20, 30].into();
        let steps = Steps::range(20, 40, 20).expect("two steps");
        let how = Extrapolation { counter: true, per_second: true };
        let mut cache = WindowCache::default();
        let (bounds, rates) =
            (cache.bounds(&axis, &steps, 20), cache.rates(&axis, &steps, 20, how));
        assert!(Arc::ptr_eq(&bounds, &cache.bounds(&axis, &steps, 20)));
        assert!(Arc::ptr_eq(&rates, &cache.rates(&axis, &steps, 20, how)));
        assert!(!Arc::ptr_eq(&bounds, &cache.bounds(&axis, &steps, 10)), "another range");
        assert!(!Arc::ptr_eq(&bounds, &cache.bounds(&axis[..].into(), &steps, 20)), "another axis");
    }

    #[test]
    fn windows_are_left_open() {
        let axis: Arc<[i64]> = vec![0, 10, 20, 30].into();
        let steps = Steps::range(20, 40, 20).expect("two steps");
        let bounds = WindowCache::default().bounds(&axis, &steps, 20);
        assert_eq!(&*bounds, [Bound { lo: 1, hi: 3 }, Bound { lo: 3, hi: 4 }]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn windows_hold_exactly_the_samples_in_range(
            gaps in proptest::collection::vec(1i64..50, 0..60),
            start in -100i64..500, step in 1i64..80, range in 1i64..200,
        ) {
            let mut t = 0;
            let times: Vec<i64> = gaps.iter().map(|g| { t += g; t }).collect();
            let steps = Steps::range(start, start + step * 9, step).expect("ten steps");
            for (bound, end) in compute(&times, &steps, range).iter().zip(steps.iter()) {
                let wanted: Vec<i64> =
                    times.iter().copied().filter(|t| *t > end - range && *t <= end).collect();
                prop_assert_eq!(&times[bound.lo()..bound.hi()], &wanted[..]);
            }
        }
    }
}
