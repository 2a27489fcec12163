//! The buckets of a native histogram with their bounds, as the HTTP API shows them.

use pando_model::{Histogram, Span};
use pando_promql::engine::histogram::bounds::upper;

/// A bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bucket {
    /// 0 `(lower, upper]`, 1 `[lower, upper)`, 2 both open, 3 both closed.
    pub(crate) rule: u8,
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    pub(crate) count: f64,
}

/// The buckets of `h` from the lowest up: negative ones, the zero bucket, positive ones. A zero bucket with less than
/// nothing is not shown, and others reach up to its edge, as Prometheus has it.
pub(crate) fn buckets(h: &Histogram) -> Vec<Bucket> {
    let custom = h.uses_custom_buckets();
    let at = |positive: bool, index: i32, count: f64| {
        let (below, above) = (upper(h, index.saturating_sub(1)), upper(h, index));
        let below = if below > 0.0 { below.max(h.zero_threshold) } else { below };
        let (lower, upper) = if positive { (below, above) } else { (-above, -below) };
        let (with_lower, with_upper) =
            if custom { (index == 0, true) } else { (lower < 0.0, upper > 0.0) };
        let rule = match (with_lower, with_upper) {
            (false, true) => 0,
            (true, false) => 1,
            (false, false) => 2,
            (true, true) => 3,
        };
        Bucket { rule, lower, upper, count }
    };
    let negative = indexes(&h.negative_spans).zip(&h.negative_buckets);
    let mut all: Vec<Bucket> = negative.map(|(i, count)| at(false, i, *count)).collect();
    all.reverse();
    if !custom {
        let (edge, count) = (h.zero_threshold, h.zero_count.max(0.0));
        all.push(Bucket { rule: 3, lower: -edge, upper: edge, count });
    }
    let positive = indexes(&h.positive_spans).zip(&h.positive_buckets);
    all.extend(positive.map(|(i, count)| at(true, i, *count)));
    all
}

/// The indexes of the buckets that `spans` name, in order.
fn indexes(spans: &[Span]) -> impl Iterator<Item = i32> + '_ {
    let mut next = 0i32;
    spans.iter().flat_map(move |span| {
        let first = next.wrapping_add(span.offset);
        next = first.wrapping_add(span.length as i32);
        (0..span.length).map(move |i| first.wrapping_add(i as i32))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(schema: i32, offset: i32, counts: &[f64]) -> Histogram {
        Histogram {
            schema,
            positive_spans: vec![Span { offset, length: counts.len() as u32 }],
            positive_buckets: counts.to_vec(),
            ..Histogram::default()
        }
    }

    #[test]
    fn exponential_bounds_grow_by_the_schema() {
        let uppers =
            |h: Histogram| -> Vec<f64> { buckets(&h).iter().skip(1).map(|b| b.upper).collect() };
        assert_eq!(uppers(with(0, -1, &[1.0; 4])), [0.5, 1.0, 2.0, 4.0]);
        assert_eq!(uppers(with(-1, 0, &[1.0; 3])), [1.0, 4.0, 16.0]);
        let half = uppers(with(1, 0, &[1.0; 3]));
        assert_eq!((half[0], half[2]), (1.0, 2.0));
        assert_eq!(half[1].to_string(), "1.414213562373095", "a unit below the square root");
        assert_eq!(uppers(with(0, 1024, &[1.0])), [f64::MAX]);
        assert_eq!(uppers(with(-4, 64, &[1.0])), [f64::MAX]);
    }

    #[test]
    fn the_zero_bucket_cuts_its_neighbours_and_is_not_shown_below_nothing() {
        let mut h = with(0, 0, &[1.0, 2.0]);
        (h.negative_spans, h.negative_buckets) = (h.positive_spans.clone(), vec![3.0, 4.0]);
        (h.zero_threshold, h.zero_count) = (0.75, 5.0);
        let shown = |h: &Histogram| -> Vec<(f64, f64, f64)> {
            buckets(h).iter().map(|b| (b.lower, b.upper, b.count)).collect()
        };
        let zero = (-0.75, 0.75, 5.0);
        let around =
            [(-2.0, -1.0, 4.0), (-1.0, -0.75, 3.0), zero, (0.75, 1.0, 1.0), (1.0, 2.0, 2.0)];
        assert_eq!(shown(&h), around);
        h.zero_count = -5.0;
        assert_eq!(shown(&h)[2].2, 0.0);
    }

    #[test]
    fn custom_bounds_are_closed_above_and_the_first_below_too() {
        let mut h = with(-53, 0, &[1.0, 2.0, 3.0]);
        h.custom_values = vec![5.0, 10.0];
        let got: Vec<(u8, f64, f64)> =
            buckets(&h).iter().map(|b| (b.rule, b.lower, b.upper)).collect();
        let (low, high) = (f64::NEG_INFINITY, f64::INFINITY);
        assert_eq!(got, [(3, low, 5.0), (0, 5.0, 10.0), (0, 10.0, high)]);
    }
}
