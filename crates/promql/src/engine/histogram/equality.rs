//! Whether two histograms are the same: `==`, `!=`, and what `changes` counts.

use pando_model::Histogram;

use super::cells;

/// Whether all that can be observed is equal, bit by bit, empty buckets included; the reset hint is not. Spans may
/// be cut differently.
pub(crate) fn same(a: &Histogram, b: &Histogram) -> bool {
    let bits = |h: &Histogram| [h.count, h.sum, h.zero_count].map(f64::to_bits);
    let side = |h: &Histogram, positive: bool| match positive {
        true => h.positive_buckets.len(),
        false => h.negative_buckets.len(),
    };
    let same_side = |positive| {
        let cells = cells::side(a, positive).zip(cells::side(b, positive));
        side(a, positive) == side(b, positive)
            && cells.into_iter().all(|((i, v), (j, w))| i == j && v.to_bits() == w.to_bits())
    };
    a.schema == b.schema
        && bits(a) == bits(b)
        && a.zero_threshold == b.zero_threshold
        && (!a.uses_custom_buckets() || a.custom_values == b.custom_values)
        && same_side(false)
        && same_side(true)
}
