//! `FloatStats`: what a block row says of its floats, so that some functions never decode them.

use pando_model::is_stale_nan;

/// Facts about a series' floats in time order.
#[derive(Clone, Copy, Debug)]
pub struct FloatStats {
    /// All values, stale markers too.
    pub count: usize,
    /// Stale markers among them; everything below is of the other values.
    pub stale: usize,
    /// The smallest value that is not NaN; NaN where there is none.
    pub min: f64,
    /// The largest value that is not NaN; NaN where there is none.
    pub max: f64,
    /// The first value; NaN where there is none.
    pub first: f64,
    /// The last value; NaN where there is none.
    pub last: f64,
    /// How often a value is lower than the one before it.
    pub resets: usize,
}

impl FloatStats {
    /// The facts about `values`.
    pub fn of(values: &[f64]) -> FloatStats {
        let mut stats = FloatStats {
            count: values.len(),
            stale: 0,
            min: f64::NAN,
            max: f64::NAN,
            first: f64::NAN,
            last: f64::NAN,
            resets: 0,
        };
        let mut seen = false;
        for &v in values {
            if is_stale_nan(v) {
                stats.stale += 1;
                continue;
            }
            if !seen {
                (stats.first, seen) = (v, true);
            } else {
                stats.resets += usize::from(v < stats.last);
            }
            stats.last = v;
            // A comparison with the NaN of the start is false, one with a NaN value must not
            // replace.
            if v < stats.min || stats.min.is_nan() {
                stats.min = v;
            }
            if v > stats.max || stats.max.is_nan() {
                stats.max = v;
            }
        }
        stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pando_model::STALE_NAN;

    #[test]
    fn stale_markers_hide_nothing_and_count_for_nothing() {
        let stats = FloatStats::of(&[5.0, STALE_NAN, 3.0, 4.0, f64::NAN, 1.0, 1.0, STALE_NAN]);
        assert_eq!((stats.count, stats.stale, stats.resets), (8, 2, 1));
        assert_eq!((stats.min, stats.max, stats.first, stats.last), (1.0, 5.0, 5.0, 1.0));
        let stats = FloatStats::of(&[STALE_NAN]);
        assert!(stats.min.is_nan() && stats.first.is_nan() && stats.last.is_nan());
        let stats = FloatStats::of(&[f64::NAN, 2.0, f64::NAN]);
        assert_eq!((stats.min, stats.max, stats.resets), (2.0, 2.0, 0));
        assert!(stats.first.is_nan() && stats.last.is_nan());
    }
}
