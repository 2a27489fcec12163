//! Prefix sums: the sum of a window is the difference of two of them.
//!
//! With floats that difference is another number than the sum, but not with integers that add up to less than 2^53:
//! each partial sum is a float then, a compensated sum has nothing to compensate for, and all ways to it are equal.

use std::ops::Range;

use super::Looks;
use crate::engine::window::Bound;

/// Integers of this magnitude and above are not all floats.
const EXACT_MAX: u64 = 1 << 53;

/// The sums of everything before each position. One `i64` per sample.
pub(super) struct ExactSums {
    sums: Vec<i64>,
    /// The position of the first.
    from: usize,
    pub(super) looks: Looks,
}

impl ExactSums {
    /// Those of `values` within `reach`; `None` where they are not all integers, or their magnitudes add up to more
    /// than what is exact.
    pub(super) fn of(values: &[f64], reach: Range<usize>) -> Option<Self> {
        let (from, mut looks) = (reach.start, Looks::default());
        let mut sums = Vec::with_capacity(reach.len() + 1);
        let (mut sum, mut magnitude) = (0i64, 0u64);
        sums.push(sum);
        for v in &values[reach] {
            looks.add(1);
            // NaN is 0, and what is out of range the outermost: neither is the same again.
            let integer = *v as i64;
            magnitude += integer.unsigned_abs();
            if integer as f64 != *v || magnitude >= EXACT_MAX {
                return None;
            }
            sum += integer;
            sums.push(sum);
        }
        Some(ExactSums { sums, from, looks })
    }

    /// The sum of one window. As with a compensated one, a sum of negative zeros is 0.
    #[inline]
    pub(super) fn of_window(&mut self, bound: Bound) -> f64 {
        self.looks.add(2);
        (self.sums[bound.hi() - self.from] - self.sums[bound.lo() - self.from]) as f64
    }
}
