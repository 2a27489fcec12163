//! `Resets`: where a counter falls, and what it lost there.
//!
//! Prometheus adds what each reset within a window lost, one after the other. Where all of that is integers, prefix
//! sums say the same in one step, to the last bit: every partial sum is an integer below 2^53, which floats hold as it
//! is.

use std::ops::Range;

/// Integers of this magnitude and above are not all floats.
const EXACT_MAX: f64 = (1u64 << 53) as f64;

/// The resets of one series.
#[derive(Default)]
pub(crate) struct Resets {
    /// Positions in ascending order, each with the value before.
    falls: Vec<(u32, f64)>,
    /// What was lost before each fall, and before the end; empty where that is not exact.
    sums: Vec<i64>,
    /// What a sum may begin with, at most, to be exact.
    room: f64,
    /// Falls that were looked at.
    #[cfg(test)]
    looks: std::cell::Cell<usize>,
}

impl Resets {
    /// The resets at `falls`: positions in ascending order, each with the value before.
    pub(crate) fn new(falls: Vec<(u32, f64)>) -> Self {
        // Most series have none: nothing is allocated for them.
        if falls.is_empty() {
            return Resets::default();
        }
        let mut resets = Resets { falls, ..Resets::default() };
        let (mut sum, mut magnitude) = (0i64, 0.0);
        let mut sums = Vec::with_capacity(resets.falls.len() + 1);
        sums.push(sum);
        for (_, before) in &resets.falls {
            magnitude += before.abs();
            if !is_integer(*before) || magnitude >= EXACT_MAX {
                return resets;
            }
            sum += *before as i64;
            sums.push(sum);
        }
        resets.room = EXACT_MAX - magnitude;
        resets.sums = sums;
        resets
    }

    pub(super) fn is_empty(&self) -> bool {
        self.falls.is_empty()
    }

    /// How many of them are at `position` or before it.
    pub(super) fn until(&self, position: usize) -> usize {
        self.falls.partition_point(|(at, _)| *at as usize <= position)
    }

    /// The same, where it is known that the first `known` are.
    pub(super) fn until_from(&self, known: usize, position: usize) -> usize {
        let later = self.falls[known..].iter();
        let found = known + later.take_while(|(at, _)| *at as usize <= position).count();
        self.look(found - known + 1);
        found
    }

    /// `start`, and what was lost in the resets `within`, added one after the other.
    #[inline]
    pub(super) fn add_lost(&self, start: f64, within: Range<usize>) -> f64 {
        if within.is_empty() {
            return start;
        }
        if start.abs() < self.room && is_integer(start) {
            self.look(2);
            return start + (self.sums[within.end] - self.sums[within.start]) as f64;
        }
        self.look(within.len());
        self.falls[within].iter().fold(start, |sum, (_, before)| sum + before)
    }

    #[inline]
    fn look(&self, _falls: usize) {
        #[cfg(test)]
        self.looks.set(self.looks.get() + _falls);
    }
}

/// Whether `v` is one; a negative zero is not, which additions may keep.
fn is_integer(v: f64) -> bool {
    ((v as i64) as f64).to_bits() == v.to_bits()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one_by_one(resets: &Resets, start: f64, within: Range<usize>) -> f64 {
        resets.falls[within].iter().fold(start, |sum, (_, before)| sum + before)
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            8 => (-9i64..1_000).prop_map(|v| v as f64),
            1 => -100.0..100.0,
            1 => prop::sample::select(vec![-0.0, f64::NAN, f64::INFINITY, 3e15, 9e15, 1e16, 1e300]),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn sums_are_those_of_one_after_the_other(
            values in proptest::collection::vec(value(), 0..9), start in value(), at in 0usize..9, to in 0usize..9,
        ) {
            let resets = Resets::new((1..).zip(values).collect());
            let count = resets.falls.len();
            let within = at.min(to).min(count)..at.max(to).min(count);
            let sum = resets.add_lost(start, within.clone());
            prop_assert_eq!(sum.to_bits(), one_by_one(&resets, start, within).to_bits());
        }
    }

    #[test]
    fn windows_cost_the_same_whatever_they_hold() {
        let looks = |step: f64| {
            let falls: Vec<(u32, f64)> =
                (1..=10_000).map(|at| (at, f64::from(at) + step)).collect();
            let resets = Resets::new(falls);
            let (mut from, mut upto) = (0, 0);
            for end in 5_000..10_000 {
                from = resets.until_from(from, end - 5_000);
                upto = resets.until_from(upto, end);
                let sum = resets.add_lost(1.0, from..upto);
                assert_eq!(sum, one_by_one(&resets, 1.0, from..upto));
            }
            resets.looks.get()
        };
        assert!(looks(0.0) < 40_000, "looks={}", looks(0.0));
        // Fractions are added one after the other.
        assert!(looks(0.5) > 5_000 * 5_000);
    }
}
