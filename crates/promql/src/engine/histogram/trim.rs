//! `</` and `>/`: a histogram without the observations above or below a value.
//!
//! Buckets on the kept side stay, those on the other side go, and the one that the value lies in keeps the part
//! that its spread gives it: even on a logarithmic scale where it is exponential, on a linear one in the zero
//! bucket and between custom bounds. The sum is estimated anew, from the middle of what is kept of each bucket. A
//! bucket without an end says nothing of its spread, so that it is kept or dropped as a whole.

use pando_model::Histogram;

use super::buckets::{self, Bucket};
use super::cells;

/// Which observations stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Keep {
    /// Those up to the value.
    Below,
    /// Those from the value up.
    Above,
}

/// What is kept of a bucket: how many observations, and where they are taken to be.
#[derive(Clone, Copy)]
struct Kept {
    count: f64,
    middle: f64,
}

/// `h` with the observations on the other side of `value` trimmed away.
pub(crate) fn trimmed(h: &Histogram, keep: Keep, value: f64) -> Histogram {
    let linear = h.uses_custom_buckets();
    let (mut count, mut sum, mut changed) = (0.0, 0.0, false);
    let mut note = |kept: Kept, before: f64| {
        count += kept.count;
        sum += kept.middle * kept.count;
        changed |= kept.count != before;
    };
    let mut side = |positive: bool| -> (Vec<pando_model::Span>, Vec<f64>, bool) {
        let (mut trimmed, mut populated) = (Vec::new(), false);
        for ((index, _), bucket) in cells::side(h, positive).zip(buckets::side(h, positive)) {
            if bucket.count == 0.0 {
                continue;
            }
            populated = true;
            let kept = trim_bucket(&bucket, keep, value, linear, positive);
            note(kept, bucket.count);
            trimmed.push((index, kept.count));
        }
        cells::tidy(&mut trimmed, |kept, next| *kept += next);
        let (spans, counts) = cells::spans(trimmed.into_iter());
        (spans, counts, populated)
    };
    let (positive_spans, positive_buckets, any_positive) = side(true);
    let (negative_spans, negative_buckets, any_negative) = side(false);
    let mut zero_count = h.zero_count;
    if let Some(zero) = buckets::zero(h).filter(|zero| zero.count > 0.0) {
        let kept = trim_zero_bucket(zero, keep, value, any_negative, any_positive);
        note(kept, zero.count);
        zero_count = kept.count;
    }
    if !changed {
        return h.clone();
    }
    Histogram {
        integer: false,
        reset_hint: h.reset_hint,
        schema: h.schema,
        zero_threshold: h.zero_threshold,
        zero_count,
        count,
        sum,
        positive_spans,
        negative_spans,
        positive_buckets,
        negative_buckets,
        custom_values: h.custom_values.clone(),
    }
}

const NOTHING: Kept = Kept { count: 0.0, middle: 0.0 };

fn trim_bucket(b: &Bucket, keep: Keep, value: f64, linear: bool, positive: bool) -> Kept {
    let (whole, cut) = match keep {
        Keep::Below => (b.upper <= value, b.lower < value),
        Keep::Above => (b.lower >= value, b.upper > value),
    };
    if whole {
        return Kept { count: b.count, middle: middle(b.lower, b.upper, linear, positive) };
    }
    if !cut {
        return NOTHING;
    }
    if b.lower == f64::NEG_INFINITY || b.upper == f64::INFINITY {
        return trim_endless(b, keep, value);
    }
    let below = b.count * share_below(b, value, linear, positive);
    match keep {
        Keep::Below => Kept { count: below, middle: middle(b.lower, value, linear, positive) },
        Keep::Above => {
            Kept { count: b.count - below, middle: middle(value, b.upper, linear, positive) }
        }
    }
}

/// Which share of a bucket's observations lies below `value`, which is in it.
fn share_below(b: &Bucket, value: f64, linear: bool, positive: bool) -> f64 {
    if linear {
        return (value - b.lower) / (b.upper - b.lower);
    }
    let [low, high, at] = [b.lower, b.upper, value].map(|v| v.abs().log2());
    match positive {
        true => (at - low) / (high - low),
        false => 1.0 - (at - high) / (low - high),
    }
}

/// A bucket without an end, which `value` lies in.
fn trim_endless(b: &Bucket, keep: Keep, value: f64) -> Kept {
    match (keep, b.lower == f64::NEG_INFINITY) {
        // Observations are taken as positive where the bucket's only end is: the bucket begins at zero.
        (Keep::Below, true) if value > 0.0 && b.upper > 0.0 && b.upper != f64::INFINITY => {
            Kept { count: b.count * value / b.upper, middle: value / 2.0 }
        }
        (Keep::Above, true) if value >= 0.0 && b.upper != f64::INFINITY => {
            Kept { count: b.count * (1.0 - value / b.upper), middle: (value + b.upper) / 2.0 }
        }
        (Keep::Below, true) if b.upper <= 0.0 => Kept { count: b.count, middle: value },
        (Keep::Above, false) => Kept { count: b.count, middle: value },
        _ => NOTHING,
    }
}

/// The zero bucket; where all other observations have one sign, its own have it too.
fn trim_zero_bucket(
    zero: Bucket,
    keep: Keep,
    value: f64,
    any_negative: bool,
    any_positive: bool,
) -> Kept {
    let lower = if any_positive && !any_negative { 0.0 } else { zero.lower };
    let upper = if any_negative && !any_positive { 0.0 } else { zero.upper };
    let (whole, none) = match keep {
        Keep::Below => (value >= upper, value <= lower),
        Keep::Above => (value <= lower, value >= upper),
    };
    if none {
        return NOTHING;
    }
    if whole {
        return Kept { count: zero.count, middle: (lower + upper) / 2.0 };
    }
    let (from, to) = if keep == Keep::Below { (lower, value) } else { (value, upper) };
    Kept { count: zero.count * (to - from) / (upper - lower), middle: (from + to) / 2.0 }
}

/// Where the observations between two values are taken to be.
fn middle(lower: f64, upper: f64, linear: bool, positive: bool) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => 0.0,
        (true, false) if upper > 0.0 => upper / 2.0,
        (true, false) => upper,
        (false, true) => lower,
        (false, false) if linear => (lower + upper) / 2.0,
        (false, false) if positive => (lower * upper).abs().sqrt(),
        (false, false) => -(lower * upper).abs().sqrt(),
    }
}
