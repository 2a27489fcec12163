//! `*_over_time`: sums, means, extremes and spreads of a window.

use super::FloatWindow;
use crate::engine::kahan::{Kahan, Mean};
use crate::engine::quantile::quantile;

/// Compensated sum.
pub(super) fn sum(window: FloatWindow<'_>) -> Option<f64> {
    let mut sum = Kahan::default();
    window.values.iter().for_each(|v| sum.add(*v));
    Some(sum.value())
}

/// Compensated mean, incremental where the sum would overflow.
pub(super) fn avg(window: FloatWindow<'_>) -> Option<f64> {
    let mut mean = Mean::default();
    window.values.iter().for_each(|v| mean.add(*v));
    Some(mean.value())
}

/// The smallest value; NaN only where there is nothing else.
pub(super) fn min(window: FloatWindow<'_>) -> Option<f64> {
    extreme(window, |v, best| v < best).map(|(v, _)| v)
}

/// The largest value; NaN only where there is nothing else.
pub(super) fn max(window: FloatWindow<'_>) -> Option<f64> {
    extreme(window, |v, best| v > best).map(|(v, _)| v)
}

/// When the last of the largest values was, seconds.
pub(super) fn time_of_max(window: FloatWindow<'_>) -> Option<f64> {
    extreme(window, |v, best| v >= best).map(|(_, i)| window.times[i] as f64 / 1000.0)
}

/// When the last of the smallest values was, seconds.
pub(super) fn time_of_min(window: FloatWindow<'_>) -> Option<f64> {
    extreme(window, |v, best| v <= best).map(|(_, i)| window.times[i] as f64 / 1000.0)
}

fn extreme(window: FloatWindow<'_>, better: fn(f64, f64) -> bool) -> Option<(f64, usize)> {
    let mut best = (*window.values.first()?, 0);
    for (i, &v) in window.values.iter().enumerate().skip(1) {
        if better(v, best.0) || best.0.is_nan() {
            best = (v, i);
        }
    }
    Some(best)
}

/// When the first sample was, seconds.
pub(super) fn first_time(window: FloatWindow<'_>) -> Option<f64> {
    window.times.first().map(|t| *t as f64 / 1000.0)
}

/// When the last sample was, seconds.
pub(super) fn last_time(window: FloatWindow<'_>) -> Option<f64> {
    window.times.last().map(|t| *t as f64 / 1000.0)
}

/// Population variance (Welford, compensated).
pub(super) fn variance(window: FloatWindow<'_>) -> Option<f64> {
    let (mut mean, mut squares) = (Kahan::default(), Kahan::default());
    for (i, v) in window.values.iter().enumerate() {
        let delta = v - mean.value();
        mean.add(delta / (i as f64 + 1.0));
        squares.add(delta * (v - mean.value()));
    }
    Some(squares.value() / window.values.len() as f64)
}

/// Median absolute deviation.
pub(super) fn mad(window: FloatWindow<'_>) -> Option<f64> {
    if window.values.iter().any(|v| v.is_nan()) {
        return Some(f64::NAN);
    }
    let median = quantile(0.5, window.values);
    let deviations: Vec<f64> = window.values.iter().map(|v| (v - median).abs()).collect();
    Some(quantile(0.5, &deviations))
}
