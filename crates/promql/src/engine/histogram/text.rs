//! A histogram as a text: the label that `count_values` makes of it.

use std::fmt::Write;

use pando_model::Histogram;
use pando_model::number::go_float;

use super::buckets::{self, Bucket};

/// Whether the lower and the upper bound belong to a bucket.
pub(crate) type Closed = (bool, bool);

/// `{count:3, sum:2.5, [-2,-1):1, [-0.001,0.001]:1, (0.5,1]:1}`: buckets that are not empty, from the lowest up.
pub(crate) fn text(h: &Histogram) -> String {
    let custom = h.uses_custom_buckets();
    let populated = |b: &Bucket| b.count != 0.0;
    let mut negative: Vec<Bucket> = buckets::side(h, false).filter(populated).collect();
    negative.reverse();
    let negative = negative.into_iter().map(|b| (b, (b.lower < 0.0, b.upper > 0.0)));
    let zero = buckets::zero(h).filter(populated).map(|b| (b, (true, true)));
    let positive = buckets::side(h, true).filter(populated).map(|b| match custom {
        true => (b, (b.lower == f64::NEG_INFINITY, true)),
        false => (b, (b.lower < 0.0, b.upper > 0.0)),
    });
    text_of(h.count, h.sum, negative.chain(zero).chain(positive))
}

/// The same, of these buckets.
pub(crate) fn text_of(
    count: f64,
    sum: f64,
    buckets: impl IntoIterator<Item = (Bucket, Closed)>,
) -> String {
    let mut out = format!("{{count:{}, sum:{}", go_float(count), go_float(sum));
    for (Bucket { lower, upper, count }, (lower_closed, upper_closed)) in buckets {
        let opening = if lower_closed { '[' } else { '(' };
        let closing = if upper_closed { ']' } else { ')' };
        let [lower, upper, count] = [lower, upper, count].map(go_float);
        // Writing to a text cannot fail.
        let _ = write!(out, ", {opening}{lower},{upper}{closing}:{count}");
    }
    out.push('}');
    out
}
