//! Compensated sums and means (Kahan's, with Neumaier's improvement), in Prometheus' order of operations.

use super::bitmap::Bitmap;

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
        (self.sum, self.compensation) = added(self.sum, self.compensation, v);
    }

    /// The sum.
    #[inline]
    pub(crate) fn value(&self) -> f64 {
        self.sum + self.compensation
    }
}

/// A sum and its compensation with one value more.
#[inline]
fn added(sum: f64, compensation: f64, v: f64) -> (f64, f64) {
    let total = sum + v;
    let (larger, smaller) = if sum.abs() >= v.abs() { (sum, v) } else { (v, sum) };
    let lost = (larger - total) + smaller;
    (total, if total.is_infinite() { 0.0 } else { compensation + lost })
}

/// Sums side by side, one a step.
#[derive(Clone, Debug)]
pub(crate) struct KahanColumn {
    sums: Vec<f64>,
    compensations: Vec<f64>,
}

impl KahanColumn {
    /// `steps` sums of nothing.
    pub(crate) fn new(steps: usize) -> Self {
        // To negative zero everything can be added, and is itself then.
        KahanColumn { sums: vec![-0.0; steps], compensations: vec![0.0; steps] }
    }

    /// How many sums there are.
    pub(crate) fn len(&self) -> usize {
        self.sums.len()
    }

    /// Adds `v` to the sum of step `i`.
    #[inline]
    pub(crate) fn add(&mut self, i: usize, v: f64) {
        (self.sums[i], self.compensations[i]) = added(self.sums[i], self.compensations[i], v);
    }

    /// Adds those of `values` that are present.
    pub(crate) fn add_present(&mut self, values: &[f64], present: &Bitmap) {
        let sums = self.sums.chunks_mut(64).zip(self.compensations.chunks_mut(64));
        for (((sums, compensations), values), word) in
            sums.zip(values.chunks(64)).zip(present.words())
        {
            let mut add = |i: usize| {
                (sums[i], compensations[i]) = added(sums[i], compensations[i], values[i]);
            };
            if word.count_ones() as usize == values.len() {
                let sums = sums.iter_mut().zip(compensations.iter_mut());
                for ((sum, compensation), v) in sums.zip(values) {
                    (*sum, *compensation) = added(*sum, *compensation, *v);
                }
                continue;
            }
            let mut rest = *word;
            while rest != 0 {
                add(rest.trailing_zeros() as usize);
                rest &= rest - 1;
            }
        }
    }

    /// Replaces the sum of step `i`.
    pub(crate) fn set(&mut self, i: usize, sum: f64, compensation: f64) {
        (self.sums[i], self.compensations[i]) = (sum, compensation);
    }

    /// The sums, one a step.
    pub(crate) fn values(&self) -> Vec<f64> {
        self.sums.iter().zip(&self.compensations).map(|(sum, lost)| sum + lost).collect()
    }

    /// Sums and compensations; 0 where nothing was added, as `present` says.
    pub(crate) fn into_parts(mut self, present: &Bitmap) -> (Vec<f64>, Vec<f64>) {
        let absent = self.sums.iter_mut().enumerate().filter(|(i, _)| !present.get(*i));
        absent.for_each(|(_, sum)| *sum = 0.0);
        (self.sums, self.compensations)
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

/// Mean and squared deviations of a group (Welford), as Prometheus' `stddev` and `stdvar` add them up; those of two
/// groups together by the method of Chan, Golub and LeVeque.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moments {
    mean: f64,
    squares: Kahan,
    count: f64,
}

impl Moments {
    /// Those with this mean, sum of squared deviations, and number of values.
    pub(crate) fn of(mean: f64, squares: f64, count: f64) -> Self {
        Moments { mean, squares: Kahan { sum: squares, compensation: 0.0 }, count }
    }

    /// Adds `v`.
    #[inline]
    pub(crate) fn add(&mut self, v: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.mean = v;
            // Nothing deviates from an infinity by a number.
            self.squares.sum = if v.is_finite() { 0.0 } else { f64::NAN };
            return;
        }
        let delta = v - self.mean;
        self.mean += delta / self.count;
        self.squares.add(delta * (v - self.mean));
    }

    /// Adds everything that `other` has seen.
    pub(crate) fn merge(&mut self, other: Moments) {
        if other.count == 0.0 {
            return;
        }
        if self.count == 0.0 {
            *self = other;
            return;
        }
        let count = self.count + other.count;
        let delta = other.mean - self.mean;
        self.mean += delta * (other.count / count);
        self.squares.add(other.squares.value());
        self.squares.add(delta * (delta * (self.count * other.count / count)));
        self.count = count;
    }

    /// The mean.
    pub(crate) fn mean(&self) -> f64 {
        self.mean
    }

    /// The sum of the squared deviations from it.
    pub(crate) fn squares(&self) -> f64 {
        self.squares.value()
    }

    /// How many values there are.
    pub(crate) fn count(&self) -> f64 {
        self.count
    }

    /// Population variance; NaN of nothing.
    pub(crate) fn variance(&self) -> f64 {
        self.squares.value() / self.count
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
