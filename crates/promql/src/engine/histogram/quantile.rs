//! `histogram_quantile` of a native histogram.
//!
//! The buckets are walked until they hold the rank that is asked for, from the end that is nearer. Within the
//! bucket observations are taken as evenly spread: on a logarithmic scale where the bucket is exponential, on a
//! linear one in the zero bucket and between custom bounds, as in classic histograms.

use pando_model::Histogram;

use super::buckets::{self, Bucket};

/// What observations that are not a number did to a quantile: they count as the largest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NanObservations {
    /// The quantile is one of them.
    Result,
    /// They moved it up.
    Skew,
}

/// The `q`-quantile, and whether NaN observations have a part in it. NaN where there is nothing or `q` is NaN,
/// an infinity for a `q` outside of 0..=1.
pub(crate) fn quantile(q: f64, h: &Histogram) -> (f64, Option<NanObservations>) {
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if h.count == 0.0 || q.is_nan() {
        return (f64::NAN, None);
    }
    // A sum that is NaN tells of NaN observations. They are in no bucket, so that ranks only hold from below.
    let forward = h.sum.is_nan() || q < 0.5;
    let mut buckets = buckets::ascending(h);
    if !forward {
        buckets.reverse();
    }
    let rank = h.count * if forward { q } else { 1.0 - q };
    let (mut bucket, mut count, mut rest) = (Bucket::default(), 0.0, buckets.iter());
    for next in rest.by_ref() {
        bucket = *next;
        count += next.count;
        if next.count != 0.0 && count >= rank {
            break;
        }
    }
    if h.uses_custom_buckets() {
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return (bucket.upper, None);
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return (bucket.lower, None);
        }
    } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
        bucket = buckets::one_sided(bucket, h);
    }
    // Rounding may have counted more than there is.
    count = count.min(h.count);
    if count < rank {
        return match h.sum.is_nan() {
            true => (f64::NAN, Some(NanObservations::Result)),
            // The buckets hold less than the histogram says: it is broken.
            false => (bucket.upper, None),
        };
    }
    let into = if forward { rank - (count - bucket.count) } else { count - rank };
    let mut nan = None;
    if h.sum.is_nan() {
        // Infinities of both signs make a sum NaN too; they are in the buckets.
        let all = rest.fold(count, |all, b| all + b.count);
        nan = (all < h.count).then_some(NanObservations::Skew);
    }
    (between(&bucket, into / bucket.count, h.uses_custom_buckets()), nan)
}

/// The value at `fraction` of a bucket.
fn between(bucket: &Bucket, fraction: f64, linear: bool) -> f64 {
    let Bucket { lower, upper, .. } = *bucket;
    if linear || (lower <= 0.0 && upper >= 0.0) {
        return lower + (upper - lower) * fraction;
    }
    let (low, high) = (lower.abs().log2(), upper.abs().log2());
    if lower > 0.0 {
        return (low + (high - low) * fraction).exp2();
    }
    -(high + (low - high) * (1.0 - fraction)).exp2()
}
