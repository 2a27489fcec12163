//! Histograms without buckets, for who asks for counts and sums only.

use std::sync::Arc;

use pando_model::{Histogram, ResetHint};

use super::is_reset;

/// Drops the buckets of a series' histograms. Resets, which show in the buckets too, are found out before and noted
/// as hints, where none is given.
pub(crate) fn drop_buckets(histograms: &mut [(u32, Arc<Histogram>)]) {
    let mut before: Option<Arc<Histogram>> = None;
    for (_, h) in histograms {
        let hint = match (h.reset_hint, &before) {
            (ResetHint::Unknown, Some(before)) if is_reset(h, before) => ResetHint::Reset,
            (ResetHint::Unknown, Some(_)) => ResetHint::NotReset,
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
            before = Some(whole);
        }
    }
}
