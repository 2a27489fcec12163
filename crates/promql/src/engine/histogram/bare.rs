//! Histograms without buckets, for who asks for counts and sums only.

use std::sync::Arc;

use pando_model::{Histogram, ResetHint, SeriesSamples};

use super::is_reset;

/// Drops the buckets of a series' histograms. Resets, which show in the buckets too, are found out before and noted
/// as hints, where none is given: by the histogram before, of `within_ms` at most where there is such a bound.
pub(crate) fn drop_buckets(series: &mut SeriesSamples, within_ms: Option<i64>) {
    let mut before: Option<(i64, Arc<Histogram>)> = None;
    for (at, h) in &mut series.histograms {
        let t = series.axis[*at as usize];
        let near = |then: i64| within_ms.is_none_or(|most| t.saturating_sub(then) <= most);
        let hint =
            match (h.reset_hint, &before) {
                (ResetHint::Unknown, Some((then, before))) if near(*then) => {
                    if is_reset(h, before) { ResetHint::Reset } else { ResetHint::NotReset }
                }
                (hint, _) => hint,
            };
        let bare = Histogram {
            integer: h.integer,
            // Exponential and custom buckets are still not to be mixed.
            schema: h.schema,
            reset_hint: if h.is_stale() { h.reset_hint } else { hint },
            count: h.count,
            sum: h.sum,
            ..Histogram::default()
        };
        let whole = std::mem::replace(h, Arc::new(bare));
        if !whole.is_stale() {
            before = Some((t, whole));
        }
    }
}
