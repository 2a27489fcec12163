//! `Route`: a tenant's ordered list of (upper key -> shard).
//!
//! The uppers grow and the last one is the last of all keys, so that a route covers the key space
//! exactly once by its form alone (INV-3); only the stage of its shards is left to check.

use pando_model::{Epoch, KeyRange, SeriesKey, ShardId};

/// Where the keys of a tenant go. Never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    epoch: Epoch,
    entries: Vec<(SeriesKey, ShardId)>,
}

impl Route {
    /// A route, or `None` where the uppers do not grow up to the last key. Neighbours of one shard
    /// become one.
    pub fn new(epoch: Epoch, entries: Vec<(SeriesKey, ShardId)>) -> Option<Self> {
        let grows = entries.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if !grows || entries.last()?.0 != SeriesKey(u64::MAX) {
            return None;
        }
        let mut merged: Vec<(SeriesKey, ShardId)> = Vec::with_capacity(entries.len());
        for (upper, shard) in entries {
            match merged.last_mut() {
                Some(last) if last.1 == shard => last.0 = upper,
                _ => merged.push((upper, shard)),
            }
        }
        Some(Route { epoch, entries: merged })
    }

    /// A route from ranges in order; `None` where they leave a gap, overlap or end early.
    pub fn from_ranges(epoch: Epoch, ranges: &[(KeyRange, ShardId)]) -> Option<Self> {
        let mut next = Some(0u64);
        for (range, _) in ranges {
            if next != Some(range.first.0) || range.last < range.first {
                return None;
            }
            next = range.last.0.checked_add(1);
        }
        Self::new(epoch, ranges.iter().map(|(range, shard)| (range.last, *shard)).collect())
    }

    /// Grows with every change of this route.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The entries: last key of the range, and its shard.
    pub fn entries(&self) -> &[(SeriesKey, ShardId)] {
        &self.entries
    }

    /// The shard of `key`.
    pub fn shard_of(&self, key: SeriesKey) -> ShardId {
        let at = self.entries.partition_point(|(upper, _)| *upper < key);
        self.entries[at.min(self.entries.len() - 1)].1
    }

    /// The ranges in order, with their shards.
    pub fn ranges(&self) -> impl Iterator<Item = (KeyRange, ShardId)> + '_ {
        let firsts =
            std::iter::once(0).chain(self.entries.iter().map(|(upper, _)| upper.0.wrapping_add(1)));
        firsts
            .zip(&self.entries)
            .map(|(first, &(last, shard))| (KeyRange { first: SeriesKey(first), last }, shard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(key: u64) -> SeriesKey {
        SeriesKey(key)
    }

    #[test]
    fn every_key_has_the_shard_of_its_range() {
        let entries =
            vec![(key(9), ShardId(1)), (key(10), ShardId(2)), (key(u64::MAX), ShardId(1))];
        let route = Route::new(Epoch(1), entries).expect("covers all");
        for (k, shard) in [(0, 1), (9, 1), (10, 2), (11, 1), (u64::MAX, 1)] {
            assert_eq!(route.shard_of(key(k)), ShardId(shard), "{k}");
            let range = route.ranges().find(|(r, _)| r.contains(key(k))).expect("a range");
            assert_eq!(range.1, ShardId(shard), "{k}");
        }
        let ranges: Vec<_> = route.ranges().collect();
        assert_eq!(Route::from_ranges(Epoch(1), &ranges), Some(route));
    }

    #[test]
    fn gaps_overlaps_and_early_ends_are_no_routes() {
        let range = |first, last| (KeyRange { first: key(first), last: key(last) }, ShardId(1));
        for bad in [
            vec![],
            vec![range(0, 5)],
            vec![range(1, u64::MAX)],
            vec![range(0, 5), range(7, u64::MAX)],
            vec![range(0, 5), range(5, u64::MAX)],
            vec![range(0, u64::MAX), range(0, u64::MAX)],
        ] {
            assert_eq!(Route::from_ranges(Epoch(1), &bad), None, "{bad:?}");
        }
    }

    #[test]
    fn neighbours_of_one_shard_become_one() {
        let route = Route::new(Epoch(1), vec![(key(5), ShardId(1)), (key(u64::MAX), ShardId(1))]);
        assert_eq!(route.expect("covers all").entries().len(), 1);
    }
}
