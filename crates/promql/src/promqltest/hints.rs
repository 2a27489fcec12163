//! What Prometheus' storage keeps of counter reset hints, which scripts expect in answers: gauges stay gauges, a
//! histogram that continues the chunk before it is known not to follow a reset, of all others nothing is known.

use std::sync::Arc;

use pando_model::{Histogram, ResetHint, SampleValue};

use crate::engine::histogram::is_reset;

/// Sets the hints of a series' histograms to what they would be read back as.
pub(super) fn as_stored<'a>(values: impl Iterator<Item = &'a mut SampleValue>) {
    let mut before: Option<Arc<Histogram>> = None;
    for value in values {
        match value {
            SampleValue::Float(_) => before = None,
            SampleValue::Histogram(h) => {
                let as_written = h.clone();
                if h.reset_hint != ResetHint::Gauge {
                    let continues = before.as_deref().is_some_and(|before| continues(h, before));
                    let hint = if continues { ResetHint::NotReset } else { ResetHint::Unknown };
                    *h = Arc::new(Histogram { reset_hint: hint, ..Histogram::clone(h) });
                }
                before = Some(as_written);
            }
        }
    }
}

/// Whether `h` goes into the chunk of `before`.
fn continues(h: &Histogram, before: &Histogram) -> bool {
    let unknown = Histogram { reset_hint: ResetHint::Unknown, ..h.clone() };
    before.reset_hint != ResetHint::Gauge
        && h.reset_hint != ResetHint::Reset
        && h.schema == before.schema
        && h.zero_threshold == before.zero_threshold
        && h.custom_values == before.custom_values
        && !is_reset(&unknown, before)
}
