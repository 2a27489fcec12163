//! Histograms between two samples.

use pando_model::Histogram;

use super::{Added, HistogramSum, Incompatible, is_reset, multiplied};

/// The histogram at `fraction` of the way from `a` to `b`, and what there is to say of the subtraction and of the
/// addition that it takes. Across a reset of a counter it rises from nothing to `b`.
pub(crate) fn interpolated(
    a: &Histogram,
    b: &Histogram,
    fraction: f64,
    counter: bool,
) -> Result<(Histogram, [Added; 2]), Incompatible> {
    if a.uses_custom_buckets() != b.uses_custom_buckets() {
        return Err(Incompatible);
    }
    if counter && is_reset(b, a) {
        return Ok((multiplied(b, fraction), Default::default()));
    }
    let mut sum = HistogramSum::of(b);
    let less = sum.subtract(a)?;
    sum.scale(fraction);
    let more = sum.add(a)?;
    Ok((sum.finish(), [less, more]))
}

#[cfg(test)]
mod tests {
    use pando_model::{ResetHint, histogram::CUSTOM_BUCKETS_SCHEMA};

    use super::*;

    fn counted(count: f64, reset_hint: ResetHint) -> Histogram {
        Histogram { count, sum: count / 2.0, reset_hint, ..Histogram::default() }
    }

    #[test]
    fn a_counter_rises_from_nothing_across_a_reset() {
        let a = counted(8.0, ResetHint::Unknown);
        for (count, hint, counter, wanted) in [
            (16.0, ResetHint::Unknown, true, 10.0),
            (4.0, ResetHint::Unknown, false, 7.0),
            (4.0, ResetHint::Unknown, true, 1.0),
            (16.0, ResetHint::Reset, true, 4.0),
        ] {
            let b = counted(count, hint);
            let (between, _) = interpolated(&a, &b, 0.25, counter).expect("both exponential");
            assert_eq!((between.count, between.sum), (wanted, wanted / 2.0), "{count} {counter}");
        }
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let custom = |bounds: &[f64]| Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            custom_values: bounds.to_vec(),
            ..Histogram::default()
        };
        let exponential = counted(1.0, ResetHint::Reset);
        let mixed = interpolated(&custom(&[1.0]), &exponential, 0.5, true);
        assert_eq!(mixed.err(), Some(Incompatible), "also where there was a reset");
        let reconciled = |a: &[f64], b: &[f64]| {
            let (between, added) = interpolated(&custom(a), &custom(b), 0.5, false).expect("fits");
            (between.custom_values, added.map(|a| a.reconciled))
        };
        assert_eq!(reconciled(&[1.0, 2.0], &[1.0, 2.0]), (vec![1.0, 2.0], [false, false]));
        assert_eq!(reconciled(&[1.0], &[1.0, 2.0]), (vec![1.0], [true, false]));
        assert_eq!(reconciled(&[1.0, 2.0], &[1.0, 3.0]), (vec![1.0], [true, true]));
    }
}
