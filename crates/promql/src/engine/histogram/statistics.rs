//! Mean and variance, estimated from the buckets.

use pando_model::Histogram;

use super::buckets::{self, Bucket};
use crate::engine::kahan::Kahan;

/// The mean of the observations.
pub(crate) fn mean(h: &Histogram) -> f64 {
    h.sum / h.count
}

/// The variance: every observation is taken to be where its bucket's middle is. That is the arithmetic mean of
/// custom bounds, zero for the bucket around it, and the geometric mean of exponential bounds.
pub(crate) fn variance(h: &Histogram) -> f64 {
    let (mean, custom) = (mean(h), h.uses_custom_buckets());
    let middle = |b: &Bucket| {
        if custom {
            (b.upper + b.lower) / 2.0
        } else if b.lower <= 0.0 && b.upper >= 0.0 {
            0.0
        } else {
            (b.upper * b.lower).sqrt().copysign(b.upper)
        }
    };
    let mut squares = Kahan::default();
    for bucket in buckets::ascending(h).iter().filter(|b| b.count != 0.0) {
        let delta = middle(bucket) - mean;
        squares.add(bucket.count * delta * delta);
    }
    squares.value() / h.count
}
