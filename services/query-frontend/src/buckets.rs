//! The buckets of a native histogram with their bounds, as the HTTP API shows them.

use pando_model::{Histogram, Span};

/// A bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bucket {
    /// 0 `(lower, upper]`, 1 `[lower, upper)`, 2 both open, 3 both closed.
    pub(crate) rule: u8,
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    pub(crate) count: f64,
}

/// The buckets of `h` from the lowest up: negative ones, the zero bucket, positive ones.
pub(crate) fn buckets(h: &Histogram) -> Vec<Bucket> {
    let custom = h.uses_custom_buckets();
    let at = |positive: bool, index: i32, count: f64| {
        let (below, above) = (bound(h, index.saturating_sub(1)), bound(h, index));
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
        let upper = h.zero_threshold;
        all.push(Bucket { rule: 3, lower: -upper, upper, count: h.zero_count });
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

/// The upper bound of positive bucket `index`.
fn bound(h: &Histogram, index: i32) -> f64 {
    if h.uses_custom_buckets() {
        return match usize::try_from(index) {
            Err(_) => f64::NEG_INFINITY,
            Ok(at) => h.custom_values.get(at).copied().unwrap_or(f64::INFINITY),
        };
    }
    let (part, exponent) = match u32::try_from(h.schema) {
        Err(_) => (0.5, i64::from(index) << h.schema.unsigned_abs().min(31)),
        Ok(schema) => {
            let schema = schema.min(8);
            let place = index.rem_euclid(1 << schema) as usize;
            (fraction(place << (8 - schema)), i64::from(index >> schema))
        }
    };
    // The bucket below the one for infinite observations ends with the largest number.
    if part == 0.5 && exponent == 1024 {
        return f64::MAX;
    }
    scaled(2.0 * part, exponent)
}

/// How far Prometheus' table of bounds lies below the exact powers of two, in units of the last
/// place and plus one, for schema 8; the others are parts of it. Clients compare bounds as texts,
/// so that the table counts, not the exact value.
const BELOW_EXACT: &[u8; 256] = b"\
    1111112111211111112311222222222211211121122211221122102211221122\
    1111112222332132112111211112111111121011213311221222112121332222\
    2121223322322122222222323233323311221121223321332233212232332232\
    2243223233433343333333444455435422322333324422333243223333543344";

/// `2^(place / 256 - 1)` as Prometheus' table has it.
fn fraction(place: usize) -> f64 {
    let exact = 0.5 * (place as f64 / 256.0).exp2();
    let below = BELOW_EXACT.get(place).map_or(0, |digit| i64::from(*digit) - i64::from(b'1'));
    f64::from_bits(exact.to_bits().wrapping_add_signed(-below))
}

/// `v * 2^exponent`, through subnormal numbers and infinity.
fn scaled(v: f64, exponent: i64) -> f64 {
    let power = |exponent: i64| f64::from_bits(((exponent + 1023) as u64) << 52);
    match exponent {
        -1022..=1023 => v * power(exponent),
        1024.. => f64::INFINITY,
        _ => v * power(-1000) * power((exponent + 1000).max(-1022)),
    }
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
    fn bounds_are_those_of_prometheus_table() {
        // Some of each schema, as they stand in its source.
        let known = [
            (2, 3, 0.8408964152537144),
            (3, 7, 0.9170040432046711),
            (4, 15, 0.9576032806985735),
            (5, 3, 0.5335702003384117),
            (5, 15, 0.6919549409819159),
        ];
        for (schema, place, want) in known {
            assert_eq!(fraction(place << (8 - schema)), want, "schema={schema} place={place}");
        }
        let all = (0..256).fold(0u64, |sum, at| sum.wrapping_mul(31) ^ fraction(at).to_bits());
        assert_eq!(all, PINNED_TABLE, "the platform's exp2 is another one");
        assert!((1..256).all(|at| fraction(at - 1) < fraction(at)));
        assert_eq!(scaled(1.0, -1074), f64::from_bits(1));
        assert_eq!(scaled(1.5, 1023), 1.5 * 2f64.powi(1023));
    }
    const PINNED_TABLE: u64 = 11_525_374_375_449_367_517;

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
