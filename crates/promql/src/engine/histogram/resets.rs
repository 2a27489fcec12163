//! Counter resets: whether a histogram counts less than the one before it.

use pando_model::{Histogram, ResetHint, Span};

use super::reconcile::{common_bounds, rebound_index};
use super::{HistogramSum, bounds, cells};

/// Whether there was a reset between `previous` and `current`: any count, but not the sum, fell. A finer schema or
/// a narrower zero bucket comes with a restart only, as does a zero bucket whose new edge lies within a populated
/// bucket. Hints are believed; a gauge is looked at as if it were a counter.
pub(crate) fn is_reset(current: &Histogram, previous: &Histogram) -> bool {
    match current.reset_hint {
        ResetHint::Reset => return true,
        ResetHint::NotReset => return false,
        ResetHint::Unknown | ResetHint::Gauge => {}
    }
    let custom = current.uses_custom_buckets();
    if current.count < previous.count || custom != previous.uses_custom_buckets() {
        return true;
    }
    if custom {
        return match current.custom_values == previous.custom_values {
            true => side_falls(current, previous, true),
            false => falls_within_common_bounds(current, previous),
        };
    }
    if current.schema > previous.schema || current.zero_threshold < previous.zero_threshold {
        return true;
    }
    let zero_count = if current.zero_threshold == previous.zero_threshold {
        previous.zero_count
    } else {
        let mut widened = HistogramSum::of(previous);
        widened.widen_zero_bucket(current.zero_threshold);
        if widened.zero_threshold != current.zero_threshold {
            return true;
        }
        widened.zero_count.value()
    };
    current.zero_count < zero_count
        || side_falls(current, previous, true)
        || side_falls(current, previous, false)
}

/// Whether any bucket of one side holds less, in the schema of `current`. What lies within its zero bucket is not
/// looked at.
fn side_falls(current: &Histogram, previous: &Histogram, positive: bool) -> bool {
    let inside = |index: i32| {
        !current.uses_custom_buckets()
            && current.zero_threshold > 0.0
            && bounds::exponential(index, current.schema) <= current.zero_threshold
    };
    let (now, then) = (layout(current, positive), layout(previous, positive));
    if current.schema == previous.schema && now == then {
        // The ordinary case of a scraped series: nothing to unroll.
        let pairs = cells::side(current, positive).zip(cells::side(previous, positive));
        return pairs.into_iter().any(|((index, now), (_, then))| now < then && !inside(index));
    }
    let halvings = cells::halvings(previous.schema, current.schema);
    let now = cells::collect(cells::side(current, positive), 0);
    let then = cells::collect(cells::side(previous, positive), halvings);
    let mut rest = now.iter().peekable();
    then.into_iter().filter(|(index, _)| !inside(*index)).any(|(index, count)| {
        while rest.next_if(|(other, _)| *other < index).is_some() {}
        match rest.peek() {
            Some((other, now)) if *other == index => *now < count,
            _ => count != 0.0,
        }
    })
}

/// Which buckets one side has, as long as spans and counts agree.
fn layout(h: &Histogram, positive: bool) -> (&[Span], usize) {
    match positive {
        true => (&h.positive_spans, h.positive_buckets.len()),
        false => (&h.negative_spans, h.negative_buckets.len()),
    }
}

/// Custom bounds differ: what lies between the bounds that both have is compared.
fn falls_within_common_bounds(current: &Histogram, previous: &Histogram) -> bool {
    let common = common_bounds(&current.custom_values, &previous.custom_values);
    let counts = |h: &Histogram| {
        let mut out = vec![0.0; common.len() + 1];
        for (index, count) in cells::side(h, true) {
            let at = rebound_index(index, &h.custom_values, &common);
            if let Some(slot) = usize::try_from(at).ok().and_then(|at| out.get_mut(at)) {
                *slot += count;
            }
        }
        out
    };
    counts(current).iter().zip(counts(previous)).any(|(now, then)| *now < then)
}
