//! Sets of keys as sorted lists of ranges.

use pando_model::KeyRange;

/// The sorted, disjoint ranges, neighbours made one, with the same keys as `ranges`; `None` where
/// two of them overlap.
pub(crate) fn joined(ranges: impl IntoIterator<Item = KeyRange>) -> Option<Vec<KeyRange>> {
    let mut sorted: Vec<KeyRange> = ranges.into_iter().collect();
    sorted.sort_unstable_by_key(|r| r.first);
    let mut result: Vec<KeyRange> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match result.last_mut() {
            Some(last) if range.first <= last.last => return None,
            Some(last) if last.last.0.checked_add(1) == Some(range.first.0) => {
                last.last = range.last
            }
            _ => result.push(range),
        }
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use pando_model::SeriesKey;

    use super::*;

    #[test]
    fn neighbours_join_and_overlaps_are_seen() {
        let range = |first, last| KeyRange { first: SeriesKey(first), last: SeriesKey(last) };
        assert_eq!(
            joined([range(5, 9), range(0, 4), range(11, 12)]),
            Some(vec![range(0, 9), range(11, 12)])
        );
        assert_eq!(joined([range(0, 5), range(5, 9)]), None);
        assert_eq!(joined([KeyRange::ALL]), Some(vec![KeyRange::ALL]));
    }
}
