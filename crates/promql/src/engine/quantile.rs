//! Quantiles of plain values, by linear interpolation between ranks.

/// The `q`-quantile of `values`: NaN for none or a NaN `q`, an infinity outside of 0..=1. NaN values are the
/// smallest.
pub(crate) fn quantile(q: f64, values: &[f64]) -> f64 {
    interpolated(q, values.len(), |lower, upper| {
        let mut keys: Vec<i64> = values.iter().map(|v| order_key(*v)).collect();
        // A counter's are in order already.
        match keys.is_sorted() {
            true => (keys[lower], keys[upper]),
            false => select(&mut keys, lower, upper),
        }
    })
}

/// Those of `keys` at two ranks, the same or neighbours, wherever they are. It changes their order.
pub(crate) fn select(keys: &mut [i64], lower: usize, upper: usize) -> (i64, i64) {
    let (_, at_lower, above) = keys.select_nth_unstable(lower);
    let at_lower = *at_lower;
    // The next one is the smallest of those above.
    let next = above.iter().min().copied().filter(|_| upper > lower);
    (at_lower, next.unwrap_or(at_lower))
}

/// The `q`-quantile of `count` values, whose order keys at two ranks, the same or neighbours, `keys` tells.
pub(crate) fn interpolated(
    q: f64,
    count: usize,
    keys: impl FnOnce(usize, usize) -> (i64, i64),
) -> f64 {
    if count == 0 || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let n = count as f64;
    let rank = q * (n - 1.0);
    let lower = rank.floor().max(0.0);
    let upper = (lower + 1.0).min(n - 1.0);
    let weight = rank - rank.floor();
    let (lower, upper) = keys(lower as usize, upper as usize);
    of_order_key(lower) * (1.0 - weight) + of_order_key(upper) * weight
}

/// A number that is ordered as the floats are, NaN before everything.
pub(crate) fn order_key(v: f64) -> i64 {
    let bits = v.to_bits() as i64;
    if v.is_nan() { i64::MIN } else { bits ^ ((bits >> 63) & i64::MAX) }
}

/// The float of an [`order_key`].
fn of_order_key(key: i64) -> f64 {
    if key == i64::MIN {
        return f64::NAN;
    }
    f64::from_bits((key ^ ((key >> 63) & i64::MAX)) as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Ascending, NaN before everything.
    fn nan_first(a: &f64, b: &f64) -> std::cmp::Ordering {
        match (a.is_nan(), b.is_nan()) {
            (true, true) => std::cmp::Ordering::Equal,
            (true, false) => std::cmp::Ordering::Less,
            (false, true) => std::cmp::Ordering::Greater,
            (false, false) => a.total_cmp(b),
        }
    }

    /// By sorting all.
    fn sorted_quantile(q: f64, values: &[f64]) -> f64 {
        let mut sorted = values.to_vec();
        sorted.sort_by(nan_first);
        let rank = q * (sorted.len() as f64 - 1.0);
        let (lower, weight) = (rank.floor(), rank - rank.floor());
        let upper = (lower + 1.0).min(sorted.len() as f64 - 1.0);
        sorted[lower as usize] * (1.0 - weight) + sorted[upper as usize] * weight
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn what_is_selected_is_what_sorting_gives(
            codes in proptest::collection::vec(0u8..12, 1..40), q in 0.0f64..=1.0, sorted: bool,
        ) {
            let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0, -1.5];
            let of = |code: &u8| special.get(*code as usize).copied().unwrap_or(f64::from(*code));
            let mut values: Vec<f64> = codes.iter().map(of).collect();
            if sorted {
                values.sort_by(nan_first);
            }
            let (a, b) = (quantile(q, &values), sorted_quantile(q, &values));
            prop_assert!(a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()), "{a} {b}");
        }
    }
}
