//! `LabelsPool`: label sets that come again and again share their storage.
//!
//! The same series stand in many blocks, and a query reads them side by side.

use std::collections::HashMap;

use rapidhash::fast::RandomState;

use super::Labels;
use crate::SeriesKey;

/// What is remembered, in bytes of packed sets. Then everything is forgotten; sets in use live on.
const BYTES_MAX: usize = 16 << 20;

/// Label sets that were made lately, by their series' keys; at most some MiB of them.
#[derive(Default)]
pub struct LabelsPool {
    known: HashMap<SeriesKey, Labels, RandomState>,
    bytes: usize,
}

impl LabelsPool {
    /// [`Labels::from_sorted`], with the storage of an equal set where one is known by this key. Of several sets with
    /// one key the last one is.
    pub fn from_sorted(&mut self, key: SeriesKey, pairs: &[(&str, &str)]) -> Option<Labels> {
        if let Some(known) = self.known.get(&key)
            && known.iter().eq(pairs.iter().copied())
        {
            return Some(known.clone());
        }
        let made = Labels::from_sorted(pairs.iter().copied())?;
        if self.bytes > BYTES_MAX {
            self.known.clear();
            self.bytes = 0;
        }
        self.bytes += made.heap_bytes() + size_of::<(SeriesKey, Labels)>() * 2;
        self.known.insert(key, made.clone());
        Some(made)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn equal_sets_share_their_storage() {
        let mut pool = LabelsPool::default();
        let first = pool.from_sorted(SeriesKey(1), &[("a", "1"), ("b", "2")]).expect("sorted");
        let again = pool.from_sorted(SeriesKey(1), &[("a", "1"), ("b", "2")]).expect("sorted");
        assert_eq!(first, Labels::from_pairs([("a", "1"), ("b", "2")]));
        assert!(Arc::ptr_eq(&first.0, &again.0));
        // One that only has the same key.
        for pairs in [&[("a", "1"), ("b", "3")][..], &[("a", "1")], &[]] {
            let other = pool.from_sorted(SeriesKey(1), pairs).expect("sorted");
            assert_eq!(other, Labels::from_pairs(pairs.iter().copied()));
        }
        assert!(pool.from_sorted(SeriesKey(2), &[("b", "2"), ("a", "1")]).is_none());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut pool = LabelsPool::default();
        let value = "x".repeat(1 << 20);
        for n in 0..40 {
            let pairs = [("a", &*value), ("b", &*n.to_string())];
            pool.from_sorted(SeriesKey(n), &pairs).expect("sorted");
        }
        assert!(pool.known.len() < 20, "{}", pool.known.len());
    }
}
