//! A histogram as a text: the label that `count_values` makes of it.

use std::fmt::Write;

use pando_model::Histogram;
use pando_model::number::go_float;

use super::buckets::{self, Bucket};

/// `{count:3, sum:2.5, [-2,-1):1, [-0.001,0.001]:1, (0.5,1]:1}`: buckets that are not empty, from the lowest up.
pub(crate) fn text(h: &Histogram) -> String {
    let mut out = format!("{{count:{}, sum:{}", go_float(h.count), go_float(h.sum));
    let custom = h.uses_custom_buckets();
    let mut push = |bucket: &Bucket, closed: (bool, bool)| {
        let (opening, closing) =
            (if closed.0 { '[' } else { '(' }, if closed.1 { ']' } else { ')' });
        let [lower, upper, count] = [bucket.lower, bucket.upper, bucket.count].map(go_float);
        // Writing to a text cannot fail.
        let _ = write!(out, ", {opening}{lower},{upper}{closing}:{count}");
    };
    let populated = |b: &Bucket| b.count != 0.0;
    let mut negative: Vec<Bucket> = buckets::side(h, false).filter(populated).collect();
    negative.reverse();
    negative.iter().for_each(|b| push(b, (b.lower < 0.0, b.upper > 0.0)));
    buckets::zero(h).filter(populated).iter().for_each(|b| push(b, (true, true)));
    for bucket in buckets::side(h, true).filter(populated) {
        let closed = match custom {
            true => (bucket.lower == f64::NEG_INFINITY, true),
            false => (bucket.lower < 0.0, bucket.upper > 0.0),
        };
        push(&bucket, closed);
    }
    out.push('}');
    out
}
