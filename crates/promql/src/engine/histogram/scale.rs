//! Multiplication and division by a number.

use pando_model::{Histogram, ResetHint};

use super::cells;

/// `h * factor`; a negative factor makes it a gauge.
pub(crate) fn multiplied(h: &Histogram, factor: f64) -> Histogram {
    scaled(h, factor < 0.0, |v| v * factor)
}

/// `h / divisor`; a negative divisor makes it a gauge, and with zero no bucket means anything any more.
pub(crate) fn divided(h: &Histogram, divisor: f64) -> Histogram {
    let mut out = scaled(h, divisor < 0.0, |v| v / divisor);
    if divisor == 0.0 {
        (out.positive_spans, out.positive_buckets) = Default::default();
        (out.negative_spans, out.negative_buckets) = Default::default();
    }
    out
}

fn scaled(h: &Histogram, gauge: bool, f: impl Fn(f64) -> f64) -> Histogram {
    let side = |positive| {
        let cells = cells::collect(cells::side(h, positive), 0);
        cells::spans(cells.into_iter().map(|(index, count)| (index, f(count))))
    };
    let (positive_spans, positive_buckets) = side(true);
    let (negative_spans, negative_buckets) = side(false);
    Histogram {
        integer: false,
        reset_hint: if gauge { ResetHint::Gauge } else { h.reset_hint },
        schema: h.schema,
        zero_threshold: h.zero_threshold,
        zero_count: f(h.zero_count),
        count: f(h.count),
        sum: f(h.sum),
        positive_spans,
        negative_spans,
        positive_buckets,
        negative_buckets,
        custom_values: h.custom_values.clone(),
    }
}
