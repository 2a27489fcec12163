//! `histogram_fraction` of a native histogram: which part of the observations lies between two values. The inverse
//! of the quantile, with the same spread within a bucket.

use pando_model::Histogram;

use super::buckets::{self, Bucket};

/// The fraction between `lower` and `upper`, and whether NaN observations, which lie nowhere, are among those that
/// it is a fraction of. NaN where there is nothing or a bound is NaN.
pub(crate) fn fraction(lower: f64, upper: f64, h: &Histogram) -> (f64, bool) {
    if h.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return (f64::NAN, false);
    }
    if lower >= upper {
        return (0.0, false);
    }
    let mut buckets = buckets::ascending(h);
    let custom = h.uses_custom_buckets();
    for bucket in buckets.iter_mut().filter(|b| b.lower <= 0.0 && b.upper >= 0.0) {
        *bucket = buckets::one_sided(*bucket, h);
    }
    let (mut all, mut nan) = (h.count, false);
    if h.sum.is_nan() {
        let held = buckets.iter().map(|b| b.count).sum();
        nan = held < h.count;
        all = held;
    }
    let rank = |value| rank(value, &buckets, custom).map_or(all, |rank| rank.min(all));
    ((rank(upper) - rank(lower)) / h.count, nan)
}

/// How many observations are below `value`; `None` where all are.
fn rank(value: f64, buckets: &[Bucket], custom: bool) -> Option<f64> {
    let mut below = 0.0;
    for bucket in buckets {
        if bucket.lower >= value {
            return Some(below);
        }
        if bucket.upper > value {
            return Some(match part(value, bucket, custom) {
                Some(part) => below + part,
                None => bucket.count,
            });
        }
        below += bucket.count;
    }
    None
}

/// How many observations of the bucket are below `value`, which lies in it; `None` where that cannot be said
/// because it has no lower end.
fn part(value: f64, bucket: &Bucket, custom: bool) -> Option<f64> {
    let Bucket { lower, upper, count } = *bucket;
    if custom || (lower <= 0.0 && upper >= 0.0) {
        let finite = lower != f64::NEG_INFINITY;
        return finite.then(|| count * (value - lower) / (upper - lower));
    }
    let [low, high, at] = [lower, upper, value].map(|v| v.abs().log2());
    Some(
        count
            * match value > 0.0 {
                true => (at - low) / (high - low),
                false => 1.0 - (at - high) / (low - high),
            },
    )
}
