//! `HistogramMean`: the mean of histograms: a sum as long as no number of it overflows, then an incremental mean,
//! as [`crate::engine::kahan::Mean`] is of floats.

use pando_model::Histogram;

use super::sum::{Added, HistogramSum, Incompatible};

/// A running mean.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HistogramMean {
    /// The sum, or the mean where `incremental`.
    pub(crate) sum: HistogramSum,
    /// How many histograms there are.
    pub(crate) count: f64,
    pub(crate) incremental: bool,
}

impl HistogramMean {
    /// The mean of `h` alone.
    pub(crate) fn of(h: &Histogram) -> Self {
        HistogramMean { sum: HistogramSum::of(h), count: 1.0, incremental: false }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<HistogramMean>() + self.sum.heap_bytes()
    }

    /// Adds `h`.
    pub(crate) fn add(&mut self, h: &Histogram) -> Result<Added, Incompatible> {
        if !self.incremental {
            // Only numbers near the largest need a second try.
            let near = self.sum.largest() + largest(h) >= f64::MAX / 4.0;
            let before = near.then(|| self.sum.clone());
            let added = self.sum.add(h)?;
            match before {
                Some(before) if self.sum.has_overflown() => self.sum = before,
                _ => {
                    self.count += 1.0;
                    return Ok(added);
                }
            }
            self.become_incremental();
        }
        self.count += 1.0;
        self.sum.scale((self.count - 1.0) / self.count);
        let count = self.count;
        self.sum.add_mapped(h, |v| v / count)
    }

    /// Adds everything that `other` has seen.
    pub(crate) fn merge(&mut self, mut other: HistogramMean) -> Result<Added, Incompatible> {
        if !self.incremental && !other.incremental {
            let mut sum = self.sum.clone();
            let added = sum.merge(other.sum.clone())?;
            if !sum.has_overflown() {
                self.sum = sum;
                self.count += other.count;
                return Ok(added);
            }
        }
        self.become_incremental();
        other.become_incremental();
        let count = self.count + other.count;
        self.sum.scale(self.count / count);
        other.sum.scale(other.count / count);
        self.count = count;
        self.sum.merge(other.sum)
    }

    fn become_incremental(&mut self) {
        if !self.incremental {
            self.incremental = true;
            self.sum.divide(self.count);
        }
    }

    /// The mean.
    pub(crate) fn finish(&self) -> Histogram {
        if self.incremental {
            return self.sum.finish();
        }
        let mut mean = self.sum.clone();
        mean.divide(self.count);
        mean.finish()
    }
}

impl HistogramSum {
    /// The number that is farthest from zero.
    fn largest(&self) -> f64 {
        let cells = self.positive.iter().chain(&self.negative).map(|(_, kahan)| kahan);
        let all = [&self.zero_count, &self.count, &self.sum].into_iter().chain(cells);
        all.fold(0.0, |most: f64, kahan| most.max(kahan.sum.abs()))
    }
}

fn largest(h: &Histogram) -> f64 {
    let buckets = h.positive_buckets.iter().chain(&h.negative_buckets);
    [&h.zero_count, &h.count, &h.sum]
        .into_iter()
        .chain(buckets)
        .fold(0.0, |most: f64, v| most.max(v.abs()))
}
