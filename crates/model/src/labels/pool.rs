//! `LabelsPool`: label sets that come again and again share their storage.
//!
//! The same series stand in many blocks, and a query reads them side by side.

use std::collections::HashSet;
use std::sync::Arc;

use rapidhash::fast::RandomState;

use super::{Labels, push_sorted};

/// What is remembered, in bytes of packed sets. Then everything is forgotten; sets in use live on.
const BYTES_MAX: usize = 16 << 20;

/// Label sets that were made lately; at most some MiB of them.
#[derive(Default)]
pub struct LabelsPool {
    known: HashSet<Arc<str>, RandomState>,
    bytes: usize,
    packed: String,
}

impl LabelsPool {
    /// [`Labels::from_sorted`], with the storage of an equal set where one is known.
    pub fn from_sorted<'a>(
        &mut self,
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Option<Labels> {
        self.packed.clear();
        push_sorted(&mut self.packed, pairs)?;
        if let Some(known) = self.known.get(self.packed.as_str()) {
            return Some(Labels(known.clone()));
        }
        if self.bytes > BYTES_MAX {
            self.known.clear();
            self.bytes = 0;
        }
        let made: Arc<str> = Arc::from(self.packed.as_str());
        self.bytes += made.len() + size_of::<Arc<str>>() * 3;
        self.known.insert(made.clone());
        Some(Labels(made))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_share_their_storage() {
        let mut pool = LabelsPool::default();
        let first = pool.from_sorted([("a", "1"), ("b", "2")]).expect("sorted");
        let other = pool.from_sorted([("a", "1"), ("b", "3")]).expect("sorted");
        let again = pool.from_sorted([("a", "1"), ("b", "2")]).expect("sorted");
        assert_eq!(first, Labels::from_pairs([("a", "1"), ("b", "2")]));
        assert_ne!(first, other);
        assert!(Arc::ptr_eq(&first.0, &again.0));
        assert!(pool.from_sorted([("b", "2"), ("a", "1")]).is_none());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut pool = LabelsPool::default();
        let value = "x".repeat(1 << 20);
        for n in 0..40 {
            pool.from_sorted([("a", &*value), ("b", &*n.to_string())]).expect("sorted");
        }
        assert!(pool.known.len() < 20, "{}", pool.known.len());
    }
}
