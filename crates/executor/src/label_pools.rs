//! `LabelPools`: label sets that one fragment has met are there for the next one.

use std::sync::Arc;

use pando_block::SharedLabels;
use parking_lot::Mutex;

/// Pools that are kept while nobody uses them: some 16 MiB each.
const KEPT_MAX: usize = 2;

/// Pools of label sets. A fragment that runs has one for itself, so that none waits for another; only what is left of
/// one that was canceled may still use it with the next one. Cloning shares them.
#[derive(Clone, Default)]
pub(crate) struct LabelPools(Arc<Mutex<Vec<SharedLabels>>>);

/// A pool in use. It is given back when it is dropped.
pub(crate) struct LabelPool {
    pub(crate) pool: SharedLabels,
    pools: LabelPools,
}

impl LabelPools {
    /// A pool that nobody uses, or a new one.
    pub(crate) fn take(&self) -> LabelPool {
        let pool = self.0.lock().pop().unwrap_or_default();
        LabelPool { pool, pools: self.clone() }
    }
}

impl Drop for LabelPool {
    fn drop(&mut self) {
        let mut kept = self.pools.0.lock();
        if kept.len() < KEPT_MAX {
            kept.push(self.pool.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_used_by_one_at_a_time_and_few_are_kept() {
        let pools = LabelPools::default();
        let number = |pool: &LabelPool, text: &str| pool.pool.lock().number(text);
        let (first, second, third) = (pools.take(), pools.take(), pools.take());
        assert_eq!([&first, &second, &third].map(|pool| number(pool, "a")), [1, 1, 1]);
        drop(first);
        let again = pools.take();
        assert_eq!(number(&again, "b"), 2, "it still knows a");
        drop((again, second, third));
        assert_eq!(pools.0.lock().len(), KEPT_MAX);
    }
}
