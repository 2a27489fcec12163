//! Buckets with their bounds, from the lowest up.

use pando_model::Histogram;

use super::{bounds, cells};

/// A bucket.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Bucket {
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    pub(crate) count: f64,
}

/// The positive or negative buckets of `h`, away from zero.
pub(super) fn side(h: &Histogram, positive: bool) -> impl Iterator<Item = Bucket> + '_ {
    cells::side(h, positive).map(move |(index, count)| {
        let (inner, outer) = (bounds::upper(h, index.saturating_sub(1)), bounds::upper(h, index));
        if positive {
            Bucket { lower: inner, upper: outer, count }
        } else {
            Bucket { lower: -outer, upper: -inner, count }
        }
    })
}

/// The zero bucket, where there is one.
pub(super) fn zero(h: &Histogram) -> Option<Bucket> {
    let (upper, count) = (h.zero_threshold, h.zero_count);
    (!h.uses_custom_buckets()).then_some(Bucket { lower: -upper, upper, count })
}

/// All buckets from the lowest up. Where the zero bucket reaches into its neighbours, they end at it. It is left
/// out where it is empty.
pub(super) fn ascending(h: &Histogram) -> Vec<Bucket> {
    let mut out: Vec<Bucket> = side(h, false).collect();
    out.reverse();
    let zero = h.zero_threshold;
    for bucket in out.iter_mut().filter(|b| b.upper < 0.0 && b.upper > -zero) {
        bucket.upper = -zero;
    }
    out.extend(self::zero(h).filter(|b| b.count > 0.0));
    out.extend(side(h, true).map(|bucket| {
        let cut = !h.uses_custom_buckets() && bucket.lower > 0.0 && bucket.lower < zero;
        if cut { Bucket { lower: zero, ..bucket } } else { bucket }
    }));
    out
}

/// What the zero bucket is known to hold where all other observations have one sign: its other half is empty.
pub(super) fn one_sided(bucket: Bucket, h: &Histogram) -> Bucket {
    match (h.negative_buckets.is_empty(), h.positive_buckets.is_empty()) {
        (true, false) => Bucket { lower: 0.0, ..bucket },
        (false, true) => Bucket { upper: 0.0, ..bucket },
        _ => bucket,
    }
}

#[cfg(test)]
mod tests {
    use pando_model::Span;

    use super::*;

    #[test]
    fn all_buckets_stand_in_order_and_give_way_to_the_zero_bucket() {
        let span = |offset, length| vec![Span { offset, length }];
        let h = Histogram {
            zero_threshold: 0.75,
            zero_count: 5.0,
            positive_spans: span(0, 2),
            positive_buckets: vec![1.0, 2.0],
            negative_spans: span(0, 1),
            negative_buckets: vec![3.0],
            ..Histogram::default()
        };
        let got: Vec<_> = ascending(&h).iter().map(|b| (b.lower, b.upper, b.count)).collect();
        let want = [(-1.0, -0.75, 3.0), (-0.75, 0.75, 5.0), (0.75, 1.0, 1.0), (1.0, 2.0, 2.0)];
        assert_eq!(got, want);
    }
}
