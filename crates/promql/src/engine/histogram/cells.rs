//! Cells: the buckets of one side of a histogram as (index, count), and back to spans.
//!
//! A sorted list in which each index stands once is what all arithmetic works on: addition is a walk along two
//! of them, a coarser schema or fewer bounds a renumbering that keeps the order.

use pando_model::{Histogram, Span};

use super::bounds::coarser;

/// Indexes beyond this are taken as this: far outside of what any number needs at the finest schema, and the gap
/// of any two still fits into a span's offset.
const INDEX_MAX: i64 = 1 << 30;

/// Whether a cell may have this index.
pub(super) fn is_within(index: i32) -> bool {
    i64::from(index).abs() <= INDEX_MAX
}

/// The buckets that `spans` name, in their order.
pub(crate) fn cells<'a>(
    spans: &'a [Span],
    counts: &'a [f64],
) -> impl Iterator<Item = (i32, f64)> + 'a {
    let mut next = 0i64;
    let indexes = spans.iter().flat_map(move |span| {
        let first = next.saturating_add(i64::from(span.offset));
        next = first.saturating_add(i64::from(span.length));
        (0..i64::from(span.length)).map(move |i| first.saturating_add(i))
    });
    let within = |index: i64| index.clamp(-INDEX_MAX, INDEX_MAX) as i32;
    indexes.map(within).zip(counts.iter().copied())
}

/// The positive or negative buckets of `h`. Indexes of custom buckets are those of its bounds or the one for
/// infinity, and there are no negative ones.
pub(super) fn side(h: &Histogram, positive: bool) -> impl Iterator<Item = (i32, f64)> + '_ {
    let custom = h.uses_custom_buckets();
    let (lowest, highest) = match custom {
        true => (0, i32::try_from(h.custom_values.len()).unwrap_or(i32::MAX)),
        false => (i32::MIN, i32::MAX),
    };
    let (spans, counts) = match positive {
        true => (&h.positive_spans[..], &h.positive_buckets[..]),
        false if custom => (&[][..], &[][..]),
        false => (&h.negative_spans[..], &h.negative_buckets[..]),
    };
    cells(spans, counts).map(move |(index, count)| (index.clamp(lowest, highest), count))
}

/// Puts cells in the order of their indexes, each index once. Costs one pass where they are so already.
pub(super) fn tidy<T>(cells: &mut Vec<(i32, T)>, mut join: impl FnMut(&mut T, &T)) {
    if !cells.is_sorted_by_key(|(index, _)| *index) {
        cells.sort_by_key(|(index, _)| *index);
    }
    cells.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            join(&mut kept.1, &next.1);
        }
        same
    });
}

/// The cells of `side` in a schema that is coarser by `halvings`, tidy.
pub(super) fn collect(side: impl Iterator<Item = (i32, f64)>, halvings: u32) -> Vec<(i32, f64)> {
    let renumber =
        |(index, count)| (if halvings > 0 { coarser(index, halvings) } else { index }, count);
    let mut out: Vec<(i32, f64)> = side.map(renumber).collect();
    tidy(&mut out, |kept, next| *kept += next);
    out
}

/// How many times the resolution halves from schema `from` to the coarser one `to`.
pub(super) fn halvings(from: i32, to: i32) -> u32 {
    from.saturating_sub(to).clamp(0, 31).unsigned_abs()
}

/// Cells as spans and counts, the empty ones left out. `cells` are tidy.
pub(super) fn spans(cells: impl Iterator<Item = (i32, f64)>) -> (Vec<Span>, Vec<f64>) {
    let (mut spans, mut counts): (Vec<Span>, Vec<f64>) = (Vec::new(), Vec::new());
    let mut end = 0i32;
    for (index, count) in cells.filter(|(_, count)| *count != 0.0) {
        match spans.last_mut() {
            Some(span) if index == end => span.length += 1,
            _ => spans.push(Span { offset: index.saturating_sub(end), length: 1 }),
        }
        end = index.saturating_add(1);
        counts.push(count);
    }
    (spans, counts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spans_are_gaps_and_lengths() {
        let layout = [
            Span { offset: -2, length: 2 },
            Span { offset: 0, length: 0 },
            Span { offset: 3, length: 1 },
        ];
        let got: Vec<_> = cells(&layout, &[1.0, 2.0, 3.0, 4.0]).collect();
        assert_eq!(got, [(-2, 1.0), (-1, 2.0), (3, 3.0)]);
        let (layout, counts) = spans(got.into_iter());
        assert_eq!(layout, [Span { offset: -2, length: 2 }, Span { offset: 3, length: 1 }]);
        assert_eq!(counts, [1.0, 2.0, 3.0]);
        let empty = [(0, 0.0), (1, 1.0), (2, 0.0)];
        assert_eq!(spans(empty.into_iter()), (vec![Span { offset: 1, length: 1 }], vec![1.0]));
    }

    proptest! {
        #[test]
        fn whatever_spans_say_cells_are_bounded_and_spans_again(
            layout in proptest::collection::vec((any::<i32>(), any::<u32>()), 0..6),
            counts in proptest::collection::vec(1.0..9.0f64, 0..20),
        ) {
            let layout: Vec<Span> =
                layout.iter().map(|(offset, length)| Span { offset: *offset, length: *length }).collect();
            let tidy = collect(cells(&layout, &counts), 0);
            prop_assert!(tidy.len() <= counts.len());
            let (again, values) = spans(tidy.iter().copied());
            prop_assert_eq!(cells(&again, &values).collect::<Vec<_>>(), tidy);
        }
    }
}
