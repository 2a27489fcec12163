//! Compensated sums and means (Kahan's, with Neumaier's improvement), in Prometheus' order of operations.

/// A running sum and what it has lost to rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Kahan {
    pub(crate) sum: f64,
    pub(crate) compensation: f64,
}

impl Kahan {
    /// Adds `v`.
    #[inline]
    pub(crate) fn add(&mut self, v: f64) {
        let total = self.sum + v;
        if total.is_infinite() {
            self.compensation = 0.0;
        } else if self.sum.abs() >= v.abs() {
            self.compensation += (self.sum - total) + v;
        } else {
            self.compensation += (v - total) + self.sum;
        }
        self.sum = total;
    }

    /// The sum.
    #[inline]
    pub(crate) fn value(&self) -> f64 {
        self.sum + self.compensation
    }
}

/// A running mean: a sum as long as that does not overflow, then an incremental mean.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Mean {
    /// The sum, or the mean where `incremental`.
    pub(crate) kahan: Kahan,
    pub(crate) count: f64,
    pub(crate) incremental: bool,
}

impl Mean {
    /// Adds `v`.
    #[inline]
    pub(crate) fn add(&mut self, v: f64) {
        self.count += 1.0;
        if !self.incremental {
            let mut next = self.kahan;
            next.add(v);
            if self.count == 1.0 || !next.sum.is_infinite() {
                self.kahan = next;
                return;
            }
            let before = self.count - 1.0;
            self.incremental = true;
            self.kahan.sum /= before;
            self.kahan.compensation /= before;
        }
        let weight = (self.count - 1.0) / self.count;
        self.kahan.sum *= weight;
        self.kahan.compensation *= weight;
        self.kahan.add(v / self.count);
    }

    /// Adds everything that `other` has seen.
    pub(crate) fn merge(&mut self, other: Mean) {
        if other.count == 0.0 {
            return;
        }
        if self.count == 0.0 {
            *self = other;
            return;
        }
        if !self.incremental && !other.incremental {
            let mut next = self.kahan;
            next.add(other.kahan.sum);
            if !next.sum.is_infinite() {
                next.add(other.kahan.compensation);
                self.kahan = next;
                self.count += other.count;
                return;
            }
        }
        let (a, b) = (self.as_incremental(), other.as_incremental());
        let count = a.count + b.count;
        let mut kahan = Kahan {
            sum: a.kahan.sum * (a.count / count),
            compensation: a.kahan.compensation * (a.count / count),
        };
        kahan.add(b.kahan.sum * (b.count / count));
        kahan.add(b.kahan.compensation * (b.count / count));
        *self = Mean { kahan, count, incremental: true };
    }

    fn as_incremental(self) -> Mean {
        if self.incremental {
            return self;
        }
        let Kahan { sum, compensation } = self.kahan;
        let kahan = Kahan { sum: sum / self.count, compensation: compensation / self.count };
        Mean { kahan, count: self.count, incremental: true }
    }

    /// The mean; NaN of nothing.
    #[inline]
    pub(crate) fn value(&self) -> f64 {
        if self.incremental {
            return self.kahan.value();
        }
        self.kahan.sum / self.count + self.kahan.compensation / self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(values: &[f64]) -> Mean {
        let mut mean = Mean::default();
        values.iter().for_each(|v| mean.add(*v));
        mean
    }

    #[test]
    fn small_terms_survive_large_ones() {
        let mut sum = Kahan::default();
        [5.0, 1e100, 5.0, -1e100].iter().for_each(|v| sum.add(*v));
        assert_eq!(sum.value(), 10.0);
    }

    #[test]
    fn means_do_not_overflow_in_any_split() {
        let values = [f64::MAX, f64::MAX, f64::MAX / 2.0, -f64::MAX, 7.0];
        let whole = mean(&values).value();
        assert!(whole.is_finite());
        for at in 0..=values.len() {
            let mut merged = mean(&values[..at]);
            merged.merge(mean(&values[at..]));
            assert!((merged.value() / whole - 1.0).abs() < 1e-9, "{at}: {}", merged.value());
        }
    }

    #[test]
    fn infinities_stay() {
        assert_eq!(mean(&[f64::INFINITY, 1.0]).value(), f64::INFINITY);
        assert_eq!(mean(&[1.0, f64::NEG_INFINITY, 2.0]).value(), f64::NEG_INFINITY);
        assert!(mean(&[f64::INFINITY, f64::NEG_INFINITY]).value().is_nan());
    }
}
