//! Floats as integers, without losing a bit: decimal mantissas, decimals that are a few ulps off,
//! ordered bits.
//!
//! Every way here is verified value by value: a float has a mantissa at an exponent only if the
//! division gives back its exact bits. It knows nothing of columns.

/// The largest decimal exponent: `10^15` is exact, and more digits would not fit a mantissa.
pub(super) const EXPONENT_MAX: u8 = 15;

/// The farthest that a value may be from its decimal and still count as near it, ulps. One more
/// column of 21 bits still beats the 52 bits of a mantissa.
const NEAR_ULPS_MAX: u64 = 1 << 20;

/// Below this, a float times a power of ten holds every integer.
const EXACT_INTEGERS: f64 = 9_007_199_254_740_992.0;
/// From here on a float has no fraction, and adding a half would round to even.
const NO_FRACTIONS: f64 = 4_503_599_627_370_496.0;

const POWERS_OF_TEN: [f64; EXPONENT_MAX as usize + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// `10^exponent`; exponents above [`EXPONENT_MAX`] count as it.
pub(super) fn power_of_ten(exponent: u8) -> f64 {
    POWERS_OF_TEN[usize::from(exponent.min(EXPONENT_MAX))]
}

/// The integer whose float is exactly `v`.
pub(super) fn to_integer(v: f64) -> Option<i64> {
    let mantissa = v as i64;
    ((mantissa as f64).to_bits() == v.to_bits()).then_some(mantissa)
}

/// The mantissa with which `mantissa / power` is exactly `v`.
pub(super) fn to_decimal(v: f64, power: f64) -> Option<i64> {
    let mantissa = nearest_mantissa(v, power)?;
    ((mantissa as f64 / power).to_bits() == v.to_bits()).then_some(mantissa)
}

/// The mantissa whose decimal is nearest `v`, and how many ulps `v` is above it.
pub(super) fn to_near_decimal(v: f64, power: f64) -> Option<(i64, i64)> {
    let mantissa = nearest_mantissa(v, power)?;
    let ulps = to_ordered(v).wrapping_sub(to_ordered(mantissa as f64 / power));
    (ulps.unsigned_abs() <= NEAR_ULPS_MAX).then_some((mantissa, ulps))
}

fn nearest_mantissa(v: f64, power: f64) -> Option<i64> {
    let scaled = v * power;
    let size = scaled.abs();
    let half = if size < NO_FRACTIONS { 0.5f64.copysign(scaled) } else { 0.0 };
    // NaN fails the comparison too.
    if size < EXACT_INTEGERS { Some((scaled + half) as i64) } else { None }
}

/// The smallest exponent at which `v` has a mantissa.
pub(super) fn smallest_exponent(v: f64) -> Option<u8> {
    if to_integer(v).is_some() {
        return Some(0);
    }
    (1..=EXPONENT_MAX).find(|e| to_decimal(v, power_of_ten(*e)).is_some())
}

/// The bits of `v` as an integer that is ordered as floats are: neighbours differ by 1.
pub(super) fn to_ordered(v: f64) -> i64 {
    let bits = v.to_bits() as i64;
    bits ^ ((bits >> 63) & i64::MAX)
}

/// The inverse of [`to_ordered`].
pub(super) fn from_ordered(ordered: i64) -> f64 {
    f64::from_bits((ordered ^ ((ordered >> 63) & i64::MAX)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_have_their_smallest_exponent() {
        let cases = [(5.0, 0), (0.1, 1), (-12.34, 2), (5.000707794, 9), (1e15, 0), (1e-15, 15)];
        for (v, exponent) in cases {
            assert_eq!(smallest_exponent(v), Some(exponent), "{v}");
        }
        for v in [-0.0, f64::NAN, f64::INFINITY, 0.1 + 0.2, 1e300, 1e-300, f64::MIN_POSITIVE] {
            assert_eq!(smallest_exponent(v), None, "{v}");
        }
        assert_eq!(to_integer(i64::MIN as f64), Some(i64::MIN));
    }

    #[test]
    fn a_sum_of_decimals_is_near_one() {
        let (mantissa, ulps) = to_near_decimal(0.1 + 0.2, 10.0).expect("0.3 and an ulp");
        assert_eq!((mantissa, ulps), (3, 1));
        assert_eq!(to_near_decimal(-0.0, 10.0), Some((0, -1)));
        assert_eq!(to_near_decimal(f64::NAN, 10.0), None);
    }

    #[test]
    fn ordered_bits_are_ordered() {
        let values =
            [f64::NEG_INFINITY, -1.0, -f64::MIN_POSITIVE, -0.0, 0.0, 1e-300, 1.0, f64::INFINITY];
        assert!(values.windows(2).all(|w| to_ordered(w[0]) < to_ordered(w[1])));
        assert!(values.iter().all(|v| from_ordered(to_ordered(*v)).to_bits() == v.to_bits()));
        assert_eq!(to_ordered(0.0) - to_ordered(-0.0), 1);
    }
}
