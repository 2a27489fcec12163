//! What may be closed, forgotten and deleted. Everything here errs to the side of keeping.

use std::collections::{BTreeMap, BTreeSet};

use pando_catalog::limits::{BLOCKS_PER_COMMAND_MAX, SHARDS_PER_COMMAND_MAX};
use pando_catalog::{Catalog, Command, ShardStage};
use pando_model::{BlockId, CatalogVersion, ShardId};

/// Orphans that one pass believes in without a person's word.
const ORPHANS_MAX: usize = 100;

/// A block's object as the bucket lists it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoredObject {
    /// The block in its name.
    pub block: BlockId,
    /// When the store says that it was written, ms.
    pub modified_ms: i64,
}

/// What is to be done about objects that no catalog names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Orphans {
    /// Refuses their ULIDs: comes first.
    pub refuse: Vec<Command>,
    /// Objects whose ULIDs are refused already: delete them.
    pub delete: Vec<BlockId>,
    /// Orphans that were left alone because there are suspiciously many: more likely the catalog
    /// has lost blocks. A person has to look.
    pub suspicious: usize,
}

/// Closes sealed shards whose last generation is in a block.
pub fn closable_shards(catalog: &Catalog, now_ms: i64) -> Vec<Command> {
    let sealed = catalog.shards().values().filter(|s| s.info.stage == ShardStage::Sealed);
    let drained = sealed.filter(|shard| shard.is_drained());
    drained.map(|shard| Command::CloseShard { shard: shard.info.id, now_ms }).collect()
}

/// Forgets shards that have been closed for `keep_ms`: until then producers and successors may want
/// to know how they ended.
pub fn forgettable_shards(catalog: &Catalog, now_ms: i64, keep_ms: i64) -> Vec<Command> {
    let closed = catalog.shards().values().map(|shard| &shard.info).filter(|info| {
        info.stage == ShardStage::Closed && info.closed_ms.saturating_add(keep_ms) <= now_ms
    });
    let ids: Vec<ShardId> = closed.map(|info| info.id).collect();
    let chunks = ids.chunks(SHARDS_PER_COMMAND_MAX);
    chunks.map(|shards| Command::ForgetShards { shards: shards.to_vec() }).collect()
}

/// Forgets deletes that neither a block nor a generation needs.
pub fn forgettable_deletes(catalog: &Catalog) -> Vec<Command> {
    let done = catalog.deletes().values().filter(|delete| !catalog.is_needed(delete));
    let numbers: Vec<u64> = done.map(|delete| delete.number).collect();
    if numbers.is_empty() { vec![] } else { vec![Command::ForgetDeletes { numbers }] }
}

/// Replaced blocks whose objects may be deleted: their grace (which outlasts the longest query) is
/// over, and a snapshot that does not name them is in the bucket. At most as many as one
/// `ForgetObjects` takes, oldest first.
pub fn expired_objects(
    catalog: &Catalog,
    now_ms: i64,
    grace_ms: i64,
    newest_snapshot: Option<CatalogVersion>,
) -> Vec<BlockId> {
    let Some(snapshot) = newest_snapshot else { return vec![] };
    let over = catalog.pending().values().filter(|object| {
        object.replaced <= snapshot && object.replaced_ms.saturating_add(grace_ms) <= now_ms
    });
    let mut over: Vec<(i64, BlockId)> = over.map(|o| (o.replaced_ms, o.block)).collect();
    over.sort_unstable();
    over.truncate(BLOCKS_PER_COMMAND_MAX);
    over.into_iter().map(|(_, block)| block).collect()
}

/// Objects that no catalog names, and that are old by their id's time and by the store's: what
/// uploads that died left behind. A clock far ahead of all blocks is not believed. More than 1 % of all
/// objects, or more than 100, are left alone.
pub fn orphans(
    catalog: &Catalog,
    listed: &[StoredObject],
    now_ms: i64,
    age_ms_min: i64,
) -> Orphans {
    let old = |time_ms: i64, now_ms: i64| time_ms.saturating_add(age_ms_min) <= now_ms;
    let unnamed = listed.iter().filter(|object| {
        let id = &object.block;
        !catalog.blocks().contains_key(id) && !catalog.pending().contains_key(id)
    });
    let (mut refused, mut fresh) = (BTreeSet::new(), BTreeMap::new());
    for object in unnamed {
        let made_ms = i64::try_from(object.block.0 >> 80).unwrap_or(i64::MAX);
        let newer_ms = made_ms.max(object.modified_ms);
        if catalog.is_refused(object.block) {
            refused.insert(object.block);
        } else if old(newer_ms, now_ms) {
            fresh.insert(object.block, newer_ms);
        }
    }
    let delete = refused.into_iter().collect();
    if fresh.len() > ORPHANS_MAX || fresh.len() > (listed.len() / 100).max(1) {
        return Orphans { refuse: vec![], delete, suspicious: fresh.len() };
    }
    let believable_ms = catalog.believable_ms(now_ms);
    let fresh = fresh.into_iter().filter(|(_, newer_ms)| old(*newer_ms, believable_ms));
    let refuse = fresh.map(|(block, _)| Command::RefuseBlock { block, now_ms }).collect();
    Orphans { refuse, delete, suspicious: 0 }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use pando_catalog::{NewDelete, SealResult, Successor};
    use pando_model::{Cut, KeyRange, NodeId, SeriesKey, TimeRange};

    use super::*;
    use crate::testdata::{Cluster, record, tenant};

    fn cluster() -> Cluster {
        let mut cluster = Cluster::with_ingesters(&["z"]);
        cluster.open(&[&[1]]);
        let route = vec![(SeriesKey(u64::MAX), ShardId(1))];
        cluster.ok(Command::AssignTenant { tenant: tenant("a"), route });
        cluster
    }

    #[test]
    fn a_shard_is_closed_when_drained_and_forgotten_later() {
        let mut cluster = cluster();
        cluster.ok(Command::SealShards {
            seals: vec![SealResult {
                shard: ShardId(1),
                term: 1,
                last_cut: Cut(1),
                answer: Bytes::new(),
            }],
            successors: vec![Successor {
                members: vec![NodeId(1)],
                ranges: vec![(tenant("a"), KeyRange::ALL)],
            }],
            now_ms: 1,
        });
        assert!(closable_shards(&cluster.catalog, 5).is_empty());
        cluster.commit(record(1, (1, 1), (0, 100), &["a"]));
        let close = closable_shards(&cluster.catalog, 5);
        assert_eq!(close, [Command::CloseShard { shard: ShardId(1), now_ms: 5 }]);
        cluster.ok(close[0].clone());
        assert!(closable_shards(&cluster.catalog, 5).is_empty());
        assert!(forgettable_shards(&cluster.catalog, 104, 100).is_empty());
        let forget = forgettable_shards(&cluster.catalog, 105, 100);
        assert_eq!(forget, [Command::ForgetShards { shards: vec![ShardId(1)] }]);
        cluster.ok(forget[0].clone());
    }

    #[test]
    fn deletes_are_forgotten_when_nothing_needs_them() {
        let mut cluster = cluster();
        let delete = |max_ms| {
            Command::AddDelete(NewDelete {
                tenant: tenant("a"),
                matchers: vec![],
                time: TimeRange { min_ms: 0, max_ms },
                fences: vec![(ShardId(1), Cut(1))],
                now_ms: 3,
            })
        };
        cluster.ok(delete(50));
        assert!(forgettable_deletes(&cluster.catalog).is_empty(), "generation 1 is live");
        cluster.commit(record(1, (1, 1), (60, 100), &["a"]));
        let forget = forgettable_deletes(&cluster.catalog);
        assert_eq!(forget, [Command::ForgetDeletes { numbers: vec![1] }], "the block is of later");
        cluster.ok(delete(70));
        assert_eq!(forgettable_deletes(&cluster.catalog), forget, "the block needs the second");
    }

    #[test]
    fn objects_outlive_their_grace_and_the_last_snapshot_that_names_them() {
        let mut cluster = cluster();
        cluster.commit(record(1, (1, 1), (0, 100), &["a"]));
        let before = cluster.catalog.version();
        cluster.ok(Command::SetRetention { tenant: None, retention_ms: Some(1) });
        cluster.ok(Command::ExpireBlocks { blocks: vec![BlockId(1)], now_ms: 1_000 });
        let after = cluster.catalog.version();
        let expired = |now_ms, snapshot| expired_objects(&cluster.catalog, now_ms, 500, snapshot);
        assert!(expired(9_999, None).is_empty());
        assert!(expired(9_999, Some(before)).is_empty());
        assert!(expired(1_499, Some(after)).is_empty());
        assert_eq!(expired(1_500, Some(after)), [BlockId(1)]);
    }

    #[test]
    fn orphans_are_refused_before_they_are_deleted_and_a_flood_is_left_alone() {
        let mut cluster = cluster();
        cluster.commit(record(1, (1, 1), (0, 100), &["a"]));
        let object = |made_ms: i64, modified_ms: i64| StoredObject {
            block: BlockId::new(made_ms, 5),
            modified_ms,
        };
        let named = StoredObject { block: BlockId(1), modified_ms: 0 };
        let listed = [named, object(10, 10), object(20, 999), object(999, 20)];
        let found = orphans(&cluster.catalog, &listed, 1_000, 500);
        let block = BlockId::new(10, 5);
        let refuse = Command::RefuseBlock { block, now_ms: 1_000 };
        assert_eq!(found.refuse, [refuse], "the others are too young");
        assert!(found.delete.is_empty());
        cluster.ok(found.refuse[0].clone());
        let found = orphans(&cluster.catalog, &listed, 1_000, 500);
        assert_eq!(found, Orphans { delete: vec![block], ..Orphans::default() });
        let flood: Vec<StoredObject> = (1..=50).map(|n| object(n, n)).collect();
        let found = orphans(&Catalog::new(), &flood, 1_000, 500);
        assert_eq!(found, Orphans { suspicious: 50, ..Orphans::default() });
    }
}
