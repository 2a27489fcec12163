//! A catalog from the bucket alone (INV-10): the newest snapshot, and the record in every block's
//! footer.
//!
//! The snapshot says what was visible at its version. What is newer has to be judged by its footer:
//! - a generation's block whose cut was still to come is taken: it holds acknowledged samples, and
//!   its shard's disks may be gone. Of several candidates for one generation the lowest id is
//!   taken: equal generations are equal.
//! - a compaction's outputs replace its inputs where its commit is certain: an output was itself
//!   compacted (only visible blocks are leased), or the snapshot shows it. They stand beside the
//!   inputs that are left where an input is gone. Else the inputs stay visible, and the outputs are
//!   orphans.
//!
//! Where a judgement errs, a sample is in two visible blocks: readers merge equal (series, time),
//! so that no answer changes. No sample is ever left out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pando_model::{
    BlockId, BlockRecord, BlockSource, CatalogVersion, ClusterId, Cut, GenerationId,
};

use crate::block_entry::BlockEntry;
use crate::catalog::Catalog;
use crate::changes::Changes;
use crate::limits::CHANGES_KEPT;
use crate::named_blocks::NamedBlocks;
use crate::shard::{Commit, Shard, ShardStage};
use crate::tenant::Tenant;

/// Versions, shards, work and deletes of the new catalog begin this far above everything that was
/// seen: members may remember more than the bucket does.
const LEAP: u64 = 1_000_000;

/// What has become of the shards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShardFate {
    /// Their members are gone: all shards are closed, and tenants get new routes at their first
    /// sight.
    Lost,
    /// Their members still serve them: the snapshot's shards and routes stay, and the generations
    /// that are in no block are still live.
    Kept,
}

/// What a rebuild found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RebuildReport {
    /// Blocks that are visible now.
    pub visible: usize,
    /// Of these, blocks that the snapshot did not know.
    pub recovered: usize,
    /// Blocks that the snapshot names and the bucket lacks: lost data, worth an alarm.
    pub missing: Vec<BlockId>,
    /// Blocks in the bucket that are not visible: replaced ones and orphans.
    pub hidden: Vec<BlockId>,
}

/// The catalog of `cluster` from the records in the bucket (with the size and the footer's offset
/// of their objects) and the newest snapshot. Pure: the caller lists and reads the footers, and
/// refuses a bucket of another cluster.
pub fn rebuild_from_footers(
    cluster: ClusterId,
    records: Vec<BlockRecord>,
    snapshot: Option<Catalog>,
    fate: ShardFate,
) -> (Catalog, RebuildReport) {
    let known = snapshot.unwrap_or_default();
    let records: BTreeMap<BlockId, BlockRecord> = records.into_iter().map(|r| (r.id, r)).collect();
    let visible = visible_blocks(&known, &records, fate);
    let mut report = RebuildReport {
        visible: visible.len(),
        recovered: visible.iter().filter(|id| !known.blocks.contains_key(id)).count(),
        missing: known.blocks.keys().filter(|id| !records.contains_key(id)).copied().collect(),
        hidden: vec![],
    };
    report.hidden = records.keys().filter(|id| !visible.contains(id)).copied().collect();

    let mut catalog = succeed(cluster, &known, &records, fate);
    let version = catalog.version();
    for id in &visible {
        let entry = match known.blocks.get(id) {
            Some(entry) => entry.clone(),
            None => Arc::new(recovered_entry(&known, &records, *id, version)),
        };
        for span in &entry.record.tenants {
            let tenant = catalog.tenants.entry(span.tenant.clone());
            tenant.or_insert_with(|| Arc::new(Tenant::new(span.tenant.clone())));
        }
        catalog.blocks.insert(entry);
    }
    (catalog, report)
}

/// Deletes that a compaction applied are not in its output's footer: a recovered block has them all
/// applied anew, which hides nothing more.
fn recovered_entry(
    known: &Catalog,
    records: &BTreeMap<BlockId, BlockRecord>,
    id: BlockId,
    version: CatalogVersion,
) -> BlockEntry {
    let record = records[&id].clone();
    let stored_ms = record.created_ms;
    let entry = BlockEntry { record, added: version, deletes_upto: 0, stored_ms };
    let first = known.deletes.values().find(|delete| entry.concerned_by(delete));
    let deletes_upto = first.map_or(known.next_delete, |delete| delete.number) - 1;
    BlockEntry { deletes_upto, ..entry }
}

fn visible_blocks(
    known: &Catalog,
    records: &BTreeMap<BlockId, BlockRecord>,
    fate: ShardFate,
) -> BTreeSet<BlockId> {
    let mut visible: BTreeSet<BlockId> =
        known.blocks.keys().filter(|id| records.contains_key(id)).copied().collect();
    let work = WorkEvidence::of(known, records);
    let mut taken: BTreeSet<GenerationId> = BTreeSet::new();
    for (id, record) in records {
        if known.blocks.contains_key(id) || known.pending.contains_key(id) || known.is_refused(*id)
        {
            continue;
        }
        let take = match &record.source {
            BlockSource::Generation(generation) => {
                is_to_come(known, records, *generation, fate) && taken.insert(*generation)
            }
            BlockSource::Compaction { work: id, .. } => {
                // What the snapshot saw end is in the snapshot: an unknown output of it was
                // replaced, or given up.
                !is_over(known, *id) && (work.certain.contains(id) || work.likely.contains(id))
            }
        };
        if take {
            visible.insert(*id);
        }
    }
    for record in records.values() {
        if let BlockSource::Compaction { work: id, sources } = &record.source
            && work.certain.contains(id)
        {
            visible.retain(|id| !sources.contains(id));
        }
    }
    visible
}

/// Whether the generation's commit is not in the snapshot. While shards still serve what is in no
/// block, only cuts without a gap before them count, as only a shard's next cut is ever committed.
fn is_to_come(
    known: &Catalog,
    records: &BTreeMap<BlockId, BlockRecord>,
    generation: GenerationId,
    fate: ShardFate,
) -> bool {
    match known.shards.get(&generation.shard) {
        Some(shard) if generation.cut < shard.next_cut => false,
        Some(shard) => {
            fate == ShardFate::Lost || generation.cut < next_cut_without_gap(shard, records)
        }
        // A shard that the snapshot has forgotten is over; one above its counter was opened later.
        None => generation.shard.0 >= known.next_shard,
    }
}

fn next_cut_without_gap(shard: &Shard, records: &BTreeMap<BlockId, BlockRecord>) -> Cut {
    let of_shard = |record: &BlockRecord| match record.source {
        BlockSource::Generation(g) if g.shard == shard.info.id => Some(g.cut),
        _ => None,
    };
    let cuts: BTreeSet<Cut> = records.values().filter_map(of_shard).collect();
    let mut next = shard.next_cut;
    while cuts.contains(&next) {
        next = next.next();
    }
    next
}

/// Whether the snapshot saw the work item end.
fn is_over(known: &Catalog, work: u64) -> bool {
    work < known.next_work && !known.leases.contains_key(&work)
}

/// Work items whose outputs are taken.
struct WorkEvidence {
    /// The commit has happened: the inputs are replaced.
    certain: BTreeSet<u64>,
    /// An input is gone, by a commit or by accident: both sides stay, merged by readers.
    likely: BTreeSet<u64>,
}

impl WorkEvidence {
    fn of(known: &Catalog, records: &BTreeMap<BlockId, BlockRecord>) -> Self {
        let mut evidence = WorkEvidence { certain: BTreeSet::new(), likely: BTreeSet::new() };
        let sources_of = |record: &BlockRecord| match &record.source {
            BlockSource::Compaction { work, sources } => Some((*work, sources.clone())),
            BlockSource::Generation(_) => None,
        };
        let used: BTreeSet<BlockId> =
            records.values().filter_map(sources_of).flat_map(|(_, sources)| sources).collect();
        for (id, record) in records {
            let Some((work, sources)) = sources_of(record) else { continue };
            if known.is_refused(*id) {
                continue;
            }
            let seen = known.blocks.contains_key(id) || known.pending.contains_key(id);
            // Only visible blocks are leased as inputs.
            if seen || (used.contains(id) && !is_over(known, work)) {
                evidence.certain.insert(work);
            }
            if sources.iter().any(|source| !records.contains_key(source)) {
                evidence.likely.insert(work);
            }
        }
        evidence
    }
}

/// The catalog that follows `known`, without blocks.
fn succeed(
    cluster: ClusterId,
    known: &Catalog,
    records: &BTreeMap<BlockId, BlockRecord>,
    fate: ShardFate,
) -> Catalog {
    let (mut shard, mut work) = (known.next_shard, known.next_work);
    for record in records.values() {
        match &record.source {
            BlockSource::Generation(generation) => shard = shard.max(generation.shard.0),
            BlockSource::Compaction { work: id, .. } => work = work.max(*id),
        }
    }
    let mut catalog = known.clone();
    catalog.base = known.version().0.saturating_add(LEAP);
    catalog.applied = 0;
    catalog.cluster = Some(cluster);
    catalog.next_shard = shard.saturating_add(LEAP);
    catalog.next_work = work.saturating_add(LEAP);
    catalog.next_delete = known.next_delete.saturating_add(LEAP);
    catalog.blocks = NamedBlocks::default();
    catalog.leases.clear();
    match fate {
        ShardFate::Lost => {
            catalog.nodes.clear();
            catalog.shards.retain(|_, shard| shard.info.stage == ShardStage::Closed);
            for tenant in catalog.tenants.values_mut() {
                Arc::make_mut(tenant).route = None;
            }
        }
        ShardFate::Kept => {
            for shard in catalog.shards.values_mut() {
                remember_commits(shard, records);
            }
        }
    }
    let version = catalog.version();
    (catalog.routing_changed, catalog.blocks_changed) = (version, version);
    catalog.routing_changes = Changes::new(version, CHANGES_KEPT);
    catalog.block_changes = Changes::new(version, CHANGES_KEPT);
    catalog
}

/// Lets a shard's leader learn that what it uploaded is committed.
fn remember_commits(shard: &mut Shard, records: &BTreeMap<BlockId, BlockRecord>) {
    let end = next_cut_without_gap(shard, records);
    while shard.next_cut < end {
        let generation = GenerationId { shard: shard.info.id, cut: shard.next_cut };
        let source = BlockSource::Generation(generation);
        let Some(record) = records.values().find(|r| r.source == source) else { return };
        shard.remember(Commit {
            cut: generation.cut,
            block: Some(record.id),
            digest: record.digest,
        });
    }
}

#[cfg(test)]
mod tests;
