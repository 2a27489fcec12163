//! `LabelsPool`: label sets that come again and again share their storage.
//!
//! The same series stand in many blocks, and a query reads them side by side. A text that was met has a number, so
//! that a reader which knows the numbers of a row's texts finds its set without a look at them.

use std::collections::HashMap;

use rapidhash::fast::RandomState;

use super::Labels;
use crate::SeriesKey;

/// What is remembered, bytes. Then everything is forgotten; sets in use live on.
const BYTES_MAX: usize = 16 << 20;

/// Label sets that were made lately, by their series' keys; at most some MiB of them.
#[derive(Default)]
pub struct LabelsPool {
    known: HashMap<SeriesKey, Known, RandomState>,
    numbers: HashMap<Box<str>, u64, RandomState>,
    /// The last number that was given. None is given twice, also when all are forgotten.
    last: u64,
    bytes: usize,
}

struct Known {
    labels: Labels,
    /// The numbers of its names and values, as they come in the set.
    numbers: Box<[u64]>,
}

impl LabelsPool {
    /// The number of `text`: never that of another text.
    pub fn number(&mut self, text: &str) -> u64 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        self.count(text.len() + size_of::<(Box<str>, u64)>() * 2);
        self.last += 1;
        self.numbers.insert(text.into(), self.last);
        self.last
    }

    /// The set of `key` whose names and values have these numbers, where it is known.
    pub fn numbered(&self, key: SeriesKey, numbers: &[u64]) -> Option<Labels> {
        let known = self.known.get(&key).filter(|known| *known.numbers == *numbers)?;
        Some(known.labels.clone())
    }

    /// [`Labels::from_sorted`], with the storage of an equal set where one is known by this key. Of several sets with
    /// one key the last one is. `numbers` are those of its names and values; none where the caller does not know them.
    pub fn from_sorted(
        &mut self,
        key: SeriesKey,
        pairs: &[(&str, &str)],
        numbers: &[u64],
    ) -> Option<Labels> {
        if let Some(known) = self.known.get_mut(&key)
            && known.labels.iter().eq(pairs.iter().copied())
        {
            if !numbers.is_empty() {
                known.numbers = numbers.into();
            }
            return Some(known.labels.clone());
        }
        let labels = Labels::from_sorted(pairs.iter().copied())?;
        // With room for its numbers, which may come later.
        let numbers_bytes = pairs.len() * 2 * size_of::<u64>();
        self.count(labels.heap_bytes() + numbers_bytes + size_of::<(SeriesKey, Known)>() * 2);
        self.known.insert(key, Known { labels: labels.clone(), numbers: numbers.into() });
        Some(labels)
    }

    fn count(&mut self, bytes: usize) {
        if self.bytes > BYTES_MAX {
            self.known.clear();
            self.numbers.clear();
            self.bytes = 0;
        }
        self.bytes += bytes;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn equal_sets_share_their_storage() {
        let mut pool = LabelsPool::default();
        let [ab, ac] = [[("a", "1"), ("b", "2")], [("a", "1"), ("b", "3")]];
        let numbers = ["a", "1", "b", "2"].map(|text| pool.number(text));
        assert_eq!(pool.numbered(SeriesKey(1), &numbers), None);
        let first = pool.from_sorted(SeriesKey(1), &ab, &numbers).expect("sorted");
        let again = pool.from_sorted(SeriesKey(1), &ab, &[]).expect("sorted");
        assert_eq!(first, Labels::from_pairs(ab));
        assert!(Arc::ptr_eq(&first.0, &again.0));
        let numbered = pool.numbered(SeriesKey(1), &numbers).expect("known");
        assert!(Arc::ptr_eq(&first.0, &numbered.0));
        // One that only has the same key.
        let other = ["a", "1", "b", "3"].map(|text| pool.number(text));
        assert_eq!((other[0], other[3] == numbers[3]), (numbers[0], false));
        assert_eq!(pool.numbered(SeriesKey(1), &other), None);
        assert_eq!(pool.numbered(SeriesKey(2), &numbers), None);
        for pairs in [&ac[..], &[("a", "1")], &[]] {
            let other = pool.from_sorted(SeriesKey(1), pairs, &[]).expect("sorted");
            assert_eq!(other, Labels::from_pairs(pairs.iter().copied()));
        }
        assert!(pool.from_sorted(SeriesKey(2), &[("b", "2"), ("a", "1")], &[]).is_none());
    }

    #[test]
    fn what_is_remembered_is_bounded_and_no_number_is_given_twice() {
        let mut pool = LabelsPool::default();
        let value = "x".repeat(1 << 20);
        let mut numbers = std::collections::BTreeSet::new();
        for n in 0..40 {
            let text = format!("{n}{value}");
            assert!(numbers.insert(pool.number(&text)));
            let pairs = [("a", &*text)];
            pool.from_sorted(SeriesKey(n), &pairs, &[]).expect("sorted");
        }
        assert!(pool.known.len() < 20 && pool.numbers.len() < 20, "{}", pool.known.len());
        assert!(numbers.insert(pool.number(&format!("0{value}"))), "it was forgotten");
    }
}
