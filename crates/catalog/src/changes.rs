//! `Changes`: which ids the last versions touched, so that a reader who is a little behind gets a
//! small delta.
//!
//! Only ids are kept: a delta carries the present state of what was touched, and names what is
//! gone. So any run of versions folds into one delta, and applying one twice changes nothing.

use std::collections::{BTreeSet, VecDeque};

use pando_model::{BlockId, CatalogVersion, NodeId, ShardId, TenantId};

/// What one version touched.
pub(crate) trait Touched: Default {
    fn len(&self) -> usize;
    fn merge(&mut self, other: &Self);
}

/// Of the routing stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoutingTouched {
    /// Cluster id, feature level, defaults.
    pub(crate) header: bool,
    pub(crate) nodes: BTreeSet<NodeId>,
    pub(crate) shards: BTreeSet<ShardId>,
    pub(crate) tenants: BTreeSet<TenantId>,
}

impl Touched for RoutingTouched {
    fn len(&self) -> usize {
        usize::from(self.header) + self.nodes.len() + self.shards.len() + self.tenants.len()
    }

    fn merge(&mut self, other: &Self) {
        self.header |= other.header;
        self.nodes.extend(&other.nodes);
        self.shards.extend(&other.shards);
        self.tenants.extend(other.tenants.iter().cloned());
    }
}

/// Of the stream of blocks.
#[derive(Clone, Debug, Default)]
pub(crate) struct BlocksTouched {
    pub(crate) blocks: BTreeSet<BlockId>,
    /// Shards whose next cut is another, or that are new or gone.
    pub(crate) cuts: BTreeSet<ShardId>,
    pub(crate) deletes: BTreeSet<u64>,
}

impl Touched for BlocksTouched {
    fn len(&self) -> usize {
        self.blocks.len() + self.cuts.len() + self.deletes.len()
    }

    fn merge(&mut self, other: &Self) {
        self.blocks.extend(&other.blocks);
        self.cuts.extend(&other.cuts);
        self.deletes.extend(&other.deletes);
    }
}

/// The memory of one stream.
#[derive(Clone, Debug)]
pub(crate) struct Changes<T> {
    /// What came after this version is remembered.
    floor: CatalogVersion,
    kept: VecDeque<(CatalogVersion, T)>,
    ids: usize,
    ids_max: usize,
    /// What the command at work has touched.
    pub(crate) open: T,
}

impl<T: Touched> Changes<T> {
    /// A memory of at most `ids_max` ids that begins after `floor`.
    pub(crate) fn new(floor: CatalogVersion, ids_max: usize) -> Self {
        Changes { floor, kept: VecDeque::new(), ids: 0, ids_max, open: T::default() }
    }

    /// Ends a command; says whether it touched anything.
    pub(crate) fn close(&mut self, version: CatalogVersion) -> bool {
        let touched = std::mem::take(&mut self.open);
        if touched.len() == 0 {
            return false;
        }
        self.ids += touched.len();
        self.kept.push_back((version, touched));
        while self.ids > self.ids_max {
            let Some((version, touched)) = self.kept.pop_front() else { break };
            self.ids -= touched.len();
            self.floor = version;
        }
        true
    }

    /// Everything touched after `since`; `None` where that is forgotten.
    pub(crate) fn since(&self, since: CatalogVersion) -> Option<T> {
        if since < self.floor {
            return None;
        }
        let mut all = T::default();
        let first = self.kept.partition_point(|(version, _)| *version <= since);
        self.kept.range(first..).for_each(|(_, touched)| all.merge(touched));
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_is_said_to_be() {
        let mut changes = Changes::<BlocksTouched>::new(CatalogVersion(10), 3);
        for version in 11..=15 {
            changes.open.blocks.insert(BlockId(version));
            assert!(changes.close(CatalogVersion(version as u64)));
        }
        assert!(!changes.close(CatalogVersion(16)));
        assert!(changes.since(CatalogVersion(11)).is_none());
        let since = changes.since(CatalogVersion(12)).expect("still known");
        assert_eq!(since.blocks.into_iter().collect::<Vec<_>>(), [13, 14, 15].map(BlockId));
        assert_eq!(changes.since(CatalogVersion(16)).map(|t| t.len()), Some(0));
    }
}
