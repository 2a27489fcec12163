//! `ShownHistogram`: a native histogram as the HTTP API shows it, which is less than there is: count, sum and the
//! buckets that are not empty, with their bounds. There is no schema, no reset hint, no empty bucket, and of the zero
//! bucket and of custom bounds only what such a bucket shows.

use std::fmt;

use pando_model::Histogram;

use super::compare::floats_equal;
use crate::engine::histogram::bounds::upper;
use crate::engine::histogram::{Bucket, cells, text_of};

/// A histogram of the API.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShownHistogram {
    /// All observations.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
    /// The buckets that are not empty, from the lowest up.
    pub buckets: Vec<ShownBucket>,
}

/// A bucket of the API.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShownBucket {
    /// Which bounds belong to it: 0 the upper one, 1 the lower one, 2 none, 3 both.
    pub rule: u8,
    /// The lower bound.
    pub lower: f64,
    /// The upper bound.
    pub upper: f64,
    /// Its observations.
    pub count: f64,
}

impl ShownHistogram {
    /// What is shown of `h`.
    pub(super) fn of(h: &Histogram) -> Self {
        let custom = h.uses_custom_buckets();
        let positive = cells(&h.positive_spans, &h.positive_buckets).map(|(index, count)| {
            let rule = if custom && index == 0 { 3 } else { 0 };
            let (lower, upper) = (upper(h, index.saturating_sub(1)), upper(h, index));
            ShownBucket { rule, lower, upper, count }
        });
        let negative = cells(&h.negative_spans, &h.negative_buckets).map(|(index, count)| {
            let (lower, upper) = (-upper(h, index), -upper(h, index.saturating_sub(1)));
            ShownBucket { rule: 1, lower, upper, count }
        });
        let edge = h.zero_threshold;
        // Below nothing it is not shown.
        let count = if h.zero_count > 0.0 { h.zero_count } else { 0.0 };
        let zero = ShownBucket { rule: 3, lower: -edge, upper: edge, count };
        let mut buckets: Vec<ShownBucket> = negative.chain([zero]).chain(positive).collect();
        buckets.retain(|bucket| bucket.count != 0.0);
        buckets.sort_by(|a, b| a.lower.total_cmp(&b.lower).then(a.upper.total_cmp(&b.upper)));
        ShownHistogram { count: h.count, sum: h.sum, buckets }
    }

    /// Whether the two are equal enough.
    pub(super) fn equals(&self, other: &ShownHistogram) -> bool {
        floats_equal(self.count, other.count)
            && floats_equal(self.sum, other.sum)
            && self.buckets.len() == other.buckets.len()
            && self.buckets.iter().zip(&other.buckets).all(|(a, b)| {
                a.rule == b.rule
                    && floats_equal(a.lower, b.lower)
                    && floats_equal(a.upper, b.upper)
                    && floats_equal(a.count, b.count)
            })
    }
}

impl fmt::Display for ShownHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let buckets = self.buckets.iter().map(|&ShownBucket { rule, lower, upper, count }| {
            (Bucket { lower, upper, count }, (rule == 1 || rule == 3, rule == 0 || rule == 3))
        });
        f.write_str(&text_of(self.count, self.sum, buckets))
    }
}

#[cfg(test)]
mod tests {
    use super::super::histogram::parse;
    use super::*;

    #[test]
    fn buckets_are_shown_from_the_lowest_up_and_empty_ones_are_not() {
        let text = "sum:1 count:9 z_bucket:1 z_bucket_w:0.5 buckets:[1 0 2] offset:1 n_buckets:[2 3] n_offset:1";
        let shown = ShownHistogram::of(&parse(text).expect("a histogram"));
        let bounds: Vec<_> =
            shown.buckets.iter().map(|b| (b.rule, b.lower, b.upper, b.count)).collect();
        let wanted = [
            (1, -4.0, -2.0, 3.0),
            (1, -2.0, -1.0, 2.0),
            (3, -0.5, 0.5, 1.0),
            (0, 1.0, 2.0, 1.0),
            (0, 4.0, 8.0, 2.0),
        ];
        assert_eq!(bounds, wanted);
        assert_eq!((shown.count, shown.sum), (9.0, 1.0));
        let text = "{count:9, sum:1, [-4,-2):3, [-2,-1):2, [-0.5,0.5]:1, (1,2]:1, (4,8]:2}";
        assert_eq!(shown.to_string(), text);
        let mut other = shown.clone();
        assert!(shown.equals(&other));
        other.buckets[2].rule = 0;
        assert!(!shown.equals(&other));
    }

    #[test]
    fn the_first_custom_bucket_has_both_bounds() {
        let text = "schema:-53 sum:1 count:3 custom_values:[5 10] buckets:[1 0 2]";
        let shown = ShownHistogram::of(&parse(text).expect("a histogram"));
        let bounds: Vec<_> = shown.buckets.iter().map(|b| (b.rule, b.lower, b.upper)).collect();
        assert_eq!(bounds, [(3, f64::NEG_INFINITY, 5.0), (0, 10.0, f64::INFINITY)]);
    }
}
