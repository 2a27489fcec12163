//! Bucket bounds. Bucket `i` of an exponential schema `s` ends with `2^(i / 2^s)` and begins where the one below
//! ends; bucket `i` of a histogram with custom buckets ends with custom value `i`, the last with infinity.

use std::sync::LazyLock;

use pando_model::Histogram;

/// The steps of the finest schema between 1 and 2.
const STEPS: usize = 256;
/// Schemas beyond this, either way, are taken as this: all their bounds are 1, or nothing and infinity.
const SCHEMA_MAX: i32 = 80;

/// How far Prometheus' table of bounds lies below the exact powers of two, in units of the last
/// place and plus one, for schema 8; the others are parts of it. Clients compare bounds as texts,
/// so that the table counts, not the exact value.
const BELOW_EXACT: &[u8; STEPS] = b"\
    1111112111211111112311222222222211211121122211221122102211221122\
    1111112222332132112111211112111111121011213311221222112121332222\
    2121223322322122222222323233323311221121223321332233212232332232\
    2243223233433343333333444455435422322333324422333243223333543344";

/// `2^(i / 256 - 1)` as Prometheus' table has it: bounds of all schemas between 0.5 and 1.
static FRACTIONS: LazyLock<[f64; STEPS]> = LazyLock::new(|| {
    std::array::from_fn(|i| {
        let exact = 0.5 * (i as f64 / STEPS as f64).exp2();
        let below = BELOW_EXACT.get(i).map_or(0, |digit| i64::from(*digit) - i64::from(b'1'));
        f64::from_bits(exact.to_bits().wrapping_add_signed(-below))
    })
});

/// The upper bound of the positive bucket `index` of an exponential schema; the bucket below the one for
/// infinite observations ends with the largest number.
pub fn exponential(index: i32, schema: i32) -> f64 {
    // A power of two divides without rounding, so that whole and rest are exact.
    let exponent = f64::from(index) * f64::from(-schema.clamp(-SCHEMA_MAX, SCHEMA_MAX)).exp2();
    if exponent == 1024.0 {
        return f64::MAX;
    }
    let whole = exponent.floor();
    let rest = (exponent - whole) * STEPS as f64;
    let fraction = match FRACTIONS.get(rest as usize) {
        Some(fraction) if rest.fract() == 0.0 => *fraction,
        // A schema finer than any valid one.
        _ => 0.5 * (rest / STEPS as f64).exp2(),
    };
    2.0 * fraction * whole.exp2()
}

/// The upper bound of the positive bucket `index` of `h`.
pub fn upper(h: &Histogram, index: i32) -> f64 {
    if h.uses_custom_buckets() {
        return custom(&h.custom_values, index);
    }
    exponential(index, h.schema)
}

/// The upper bound of the bucket `index` with custom bounds `values`.
pub(super) fn custom(values: &[f64], index: i32) -> f64 {
    match usize::try_from(index) {
        Ok(at) => values.get(at).copied().unwrap_or(f64::INFINITY),
        Err(_) => f64::NEG_INFINITY,
    }
}

/// The bucket that bucket `index` falls into where the schema is coarser by `halvings`.
pub(super) fn coarser(index: i32, halvings: u32) -> i32 {
    (index.saturating_sub(1) >> halvings.min(31)).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_grow_by_the_schema() {
        let bounds =
            |schema, from: i32| [0, 1, 2].map(|i: i32| exponential(i.saturating_add(from), schema));
        assert_eq!(bounds(0, -1), [0.5, 1.0, 2.0]);
        assert_eq!(bounds(-1, 0), [1.0, 4.0, 16.0]);
        let root = std::f64::consts::SQRT_2;
        assert_eq!(bounds(1, 0), [1.0, root.next_down(), 2.0], "a unit below the square root");
        assert_eq!(exponential(256 * 3, 8), 8.0);
        assert_eq!(exponential(1 << 14, 14), 2.0);
    }

    #[test]
    fn extreme_buckets_have_bounds_too() {
        assert_eq!(exponential(1024, 0), f64::MAX);
        assert_eq!(exponential(64, -4), f64::MAX);
        assert_eq!(exponential(1025, 0), f64::INFINITY);
        assert_eq!(exponential(-1074, 0), f64::from_bits(1));
        assert_eq!(exponential(i32::MIN, -4), 0.0);
        assert_eq!(exponential(i32::MAX, i32::MIN), f64::INFINITY);
        assert!((exponential(i32::MAX, i32::MAX) - 1.0).abs() < 1e-14);
        assert_eq!([-1, 0, 1].map(|i| custom(&[5.0], i)), [f64::NEG_INFINITY, 5.0, f64::INFINITY]);
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
            assert_eq!(exponential(place, schema), 2.0 * want, "schema={schema} place={place}");
        }
        let all = FRACTIONS.iter().fold(0u64, |sum, v| sum.wrapping_mul(31) ^ v.to_bits());
        assert_eq!(all, 11_525_374_375_449_367_517, "the platform's exp2 is another one");
        assert!(FRACTIONS.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn a_coarser_bucket_ends_where_two_finer_ones_do() {
        for index in -20..20 {
            let coarse = coarser(index, 1);
            assert!(exponential(index, 1) <= exponential(coarse, 0), "{index}");
            assert!(exponential(index - 1, 1) >= exponential(coarse - 1, 0), "{index}");
        }
        assert_eq!([i32::MIN, i32::MAX].map(|i| coarser(i, 40)), [0, 1]);
    }
}
