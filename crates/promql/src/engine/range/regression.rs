//! Trends: `deriv`, `predict_linear`, `double_exponential_smoothing`.

use super::FloatWindow;
use crate::engine::kahan::Kahan;

/// Slope and intercept (at `at_ms`) of the least-squares line.
fn linear_regression(window: FloatWindow<'_>, at_ms: i64) -> (f64, f64) {
    let (mut sum_x, mut sum_y) = (Kahan::default(), Kahan::default());
    let (mut sum_xy, mut sum_x2) = (Kahan::default(), Kahan::default());
    let first = window.values[0];
    let mut constant = true;
    for (t, v) in window.times.iter().zip(window.values) {
        constant &= *v == first;
        let x = t.saturating_sub(at_ms) as f64 / 1000.0;
        sum_x.add(x);
        sum_y.add(*v);
        sum_xy.add(x * v);
        sum_x2.add(x * x);
    }
    if constant {
        // Also keeps infinite values from becoming NaN by subtraction, unless they are all there is.
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let n = window.values.len() as f64;
    let (sum_x, sum_y) = (sum_x.value(), sum_y.value());
    let covariance = sum_xy.value() - sum_x * sum_y / n;
    let variance = sum_x2.value() - sum_x * sum_x / n;
    let slope = covariance / variance;
    (slope, sum_y / n - slope * sum_x / n)
}

/// The slope per second.
pub(super) fn deriv(window: FloatWindow<'_>) -> Option<f64> {
    (window.values.len() >= 2).then(|| linear_regression(window, window.times[0]).0)
}

/// The line's value `ahead` seconds after the window's end.
pub(super) fn predict_linear(window: FloatWindow<'_>, ahead: f64) -> Option<f64> {
    if window.values.len() < 2 {
        return None;
    }
    let (slope, intercept) = linear_regression(window, window.end_ms);
    Some(slope * ahead + intercept)
}

/// Holt's linear smoothing: the last smoothed value, `None` for fewer than two samples.
pub(super) fn smoothing(window: FloatWindow<'_>, factor: f64, trend_factor: f64) -> Option<f64> {
    let values = window.values;
    if values.len() < 2 {
        return None;
    }
    let (mut before, mut smoothed) = (0.0, values[0]);
    let mut trend = values[1] - values[0];
    for (i, v) in values.iter().enumerate().skip(1) {
        if i > 1 {
            trend = trend_factor * (smoothed - before) + (1.0 - trend_factor) * trend;
        }
        let scaled = factor * v;
        before = smoothed;
        smoothed = scaled + (1.0 - factor) * (smoothed + trend);
    }
    Some(smoothed)
}
