//! `BlocksView`: the blocks, deletes and live cuts as a reader knows them, at one version.
//!
//! A view is replaced by a changed clone while queries hold the old one, so its maps are split into
//! parts that clones share: blocks by the last bits of their id, and for each tenant by the day of
//! their first sample. A delta copies the parts that it touches.

use std::collections::BTreeMap;
use std::sync::Arc;

use pando_model::{
    BlockId, CatalogVersion, Cut, KeyRange, ShardId, TenantId, TenantSpan, TimeRange,
};

use crate::block_entry::BlockEntry;
use crate::delete::DeleteRecord;
use crate::delta::BlockDelta;
use crate::error::CatalogError;

/// Parts of the map of all blocks.
const PARTS: usize = 64;

/// Length of the periods by which a tenant's blocks are kept, ms.
const DAY_MS: i64 = 86_400_000;

type Entries = BTreeMap<BlockId, Arc<BlockEntry>>;

/// A reader's copy of one stream of the catalog. A clone is cheap: make one, apply to it, swap it
/// in.
#[derive(Clone, Debug)]
pub struct BlocksView {
    version: CatalogVersion,
    changed: CatalogVersion,
    parts: Vec<Arc<Entries>>,
    tenants: BTreeMap<TenantId, Arc<TenantBlocks>>,
    next_cuts: Arc<BTreeMap<ShardId, Cut>>,
    deletes: Arc<BTreeMap<u64, Arc<DeleteRecord>>>,
}

/// A tenant's blocks by the day of their first sample of the tenant.
#[derive(Clone, Debug, Default)]
struct TenantBlocks {
    days: BTreeMap<i64, Arc<Day>>,
}

#[derive(Clone, Debug, Default)]
struct Day {
    /// One past the last sample of its blocks: blocks may reach far beyond their first day.
    max_ms: i64,
    blocks: Entries,
}

impl Default for BlocksView {
    fn default() -> Self {
        BlocksView {
            version: CatalogVersion(0),
            changed: CatalogVersion(0),
            parts: vec![Arc::default(); PARTS],
            tenants: BTreeMap::new(),
            next_cuts: Arc::default(),
            deletes: Arc::default(),
        }
    }
}

/// Views are equal where they show the same.
impl PartialEq for BlocksView {
    fn eq(&self, other: &Self) -> bool {
        self.to_delta() == other.to_delta()
    }
}

impl BlocksView {
    /// The view before its first delta.
    pub fn new() -> Self {
        Self::default()
    }

    /// Follows the catalog. A delta that the view has passed already changes nothing; one that
    /// begins after the view's version is an error of kind `Stale`: ask for one from
    /// [`BlocksView::version`].
    pub fn apply(&mut self, delta: &BlockDelta) -> Result<(), CatalogError> {
        if delta.to <= self.version && self.version != CatalogVersion(0) {
            return Ok(());
        }
        match delta.from {
            None => *self = BlocksView::default(),
            Some(from) if from > self.version => {
                let (have, to) = (self.version, delta.to);
                return Err(CatalogError::Gap { what: "blocks", have, from, to });
            }
            Some(_) => {}
        }
        (self.version, self.changed) = (delta.to, delta.changed);
        delta.removed_blocks.iter().for_each(|id| self.remove(*id));
        for entry in &delta.blocks {
            self.remove(entry.record.id);
            self.insert(entry);
        }
        if !delta.next_cuts.is_empty() || !delta.removed_shards.is_empty() {
            let cuts = Arc::make_mut(&mut self.next_cuts);
            cuts.extend(delta.next_cuts.iter().copied());
            cuts.retain(|id, _| !delta.removed_shards.contains(id));
        }
        if !delta.deletes.is_empty() || !delta.removed_deletes.is_empty() {
            let deletes = Arc::make_mut(&mut self.deletes);
            deletes.extend(delta.deletes.iter().map(|d| (d.number, d.clone())));
            deletes.retain(|number, _| !delta.removed_deletes.contains(number));
        }
        Ok(())
    }

    /// Everything that the view knows, as one delta.
    pub fn to_delta(&self) -> BlockDelta {
        let mut blocks: Vec<Arc<BlockEntry>> = self.iter().cloned().collect();
        blocks.sort_unstable_by_key(|entry| entry.record.id);
        BlockDelta {
            from: None,
            to: self.version,
            changed: self.changed,
            blocks,
            removed_blocks: vec![],
            next_cuts: self.next_cuts.iter().map(|(id, cut)| (*id, *cut)).collect(),
            removed_shards: vec![],
            deletes: self.deletes.values().cloned().collect(),
            removed_deletes: vec![],
        }
    }

    /// The version of the catalog that the view shows.
    pub fn version(&self) -> CatalogVersion {
        self.version
    }

    /// The first version that looked like this.
    pub fn changed(&self) -> CatalogVersion {
        self.changed
    }

    /// The block `id`, if it is visible (INV-4).
    pub fn block(&self, id: BlockId) -> Option<&Arc<BlockEntry>> {
        self.parts[part_of(id)].get(&id)
    }

    /// The number of visible blocks.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }

    /// Whether no block is visible.
    pub fn is_empty(&self) -> bool {
        self.parts.iter().all(|part| part.is_empty())
    }

    /// All visible blocks, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<BlockEntry>> {
        self.parts.iter().flat_map(|part| part.values())
    }

    /// The blocks, of every resolution, that may hold samples of `tenant` with keys in `keys` and
    /// times in `time`; by id.
    pub fn select(
        &self,
        tenant: &TenantId,
        keys: KeyRange,
        time: TimeRange,
    ) -> Vec<Arc<BlockEntry>> {
        let Some(blocks) = self.tenants.get(tenant) else { return vec![] };
        let last_day = time.max_ms.saturating_sub(1).div_euclid(DAY_MS);
        let days = blocks.days.range(..=last_day).map(|(_, day)| day);
        let entries = days.filter(|day| day.max_ms > time.min_ms).flat_map(|d| d.blocks.values());
        let hit =
            |span: &TenantSpan| span.keys.intersect(keys).is_some() && span.time.overlaps(time);
        let mut found: Vec<Arc<BlockEntry>> =
            entries.filter(|e| e.record.tenant(tenant).is_some_and(hit)).cloned().collect();
        found.sort_unstable_by_key(|entry| entry.record.id);
        found
    }

    /// The span of time of `tenant`'s blocks.
    pub fn time_of(&self, tenant: &TenantId) -> Option<TimeRange> {
        let days = self.tenants.get(tenant)?.days.values();
        let spans =
            days.flat_map(|day| day.blocks.values()).filter_map(|e| e.record.tenant(tenant));
        spans.map(|span| span.time).reduce(TimeRange::union)
    }

    /// The first live generation of `shard`: all from it on are in no block at this version.
    pub fn next_cut(&self, shard: ShardId) -> Option<Cut> {
        self.next_cuts.get(&shard).copied()
    }

    /// The deletes that are not forgotten, by number.
    pub fn deletes(&self) -> &BTreeMap<u64, Arc<DeleteRecord>> {
        &self.deletes
    }

    /// The deletes that a read of `tenant`'s rows in `entry` has to apply.
    pub fn deletes_of_block(
        &self,
        entry: &BlockEntry,
        tenant: &TenantId,
    ) -> Vec<Arc<DeleteRecord>> {
        let newer = self.deletes.range(entry.deletes_upto.saturating_add(1)..).map(|(_, d)| d);
        newer.filter(|d| d.tenant == *tenant && entry.concerned_by(d)).cloned().collect()
    }

    fn insert(&mut self, entry: &Arc<BlockEntry>) {
        let id = entry.record.id;
        Arc::make_mut(&mut self.parts[part_of(id)]).insert(id, entry.clone());
        for span in &entry.record.tenants {
            let tenant = Arc::make_mut(self.tenants.entry(span.tenant.clone()).or_default());
            let day = Arc::make_mut(tenant.days.entry(day_of(span)).or_default());
            day.max_ms = match day.blocks.is_empty() {
                true => span.time.max_ms,
                false => day.max_ms.max(span.time.max_ms),
            };
            day.blocks.insert(id, entry.clone());
        }
    }

    fn remove(&mut self, id: BlockId) {
        if !self.parts[part_of(id)].contains_key(&id) {
            return;
        }
        let Some(entry) = Arc::make_mut(&mut self.parts[part_of(id)]).remove(&id) else { return };
        for span in &entry.record.tenants {
            let Some(tenant) = self.tenants.get_mut(&span.tenant) else { continue };
            let tenant = Arc::make_mut(tenant);
            if let Some(day) = tenant.days.get_mut(&day_of(span)) {
                let day = Arc::make_mut(day);
                day.blocks.remove(&id);
                let spans = day.blocks.values().filter_map(|e| e.record.tenant(&span.tenant));
                day.max_ms = spans.map(|s| s.time.max_ms).max().unwrap_or(i64::MIN);
                if day.blocks.is_empty() {
                    tenant.days.remove(&day_of(span));
                }
            }
            if tenant.days.is_empty() {
                self.tenants.remove(&span.tenant);
            }
        }
    }
}

fn part_of(id: BlockId) -> usize {
    (id.0 % PARTS as u128) as usize
}

fn day_of(span: &TenantSpan) -> i64 {
    span.time.min_ms.div_euclid(DAY_MS)
}

#[cfg(test)]
mod tests {
    use pando_model::SeriesKey;

    use super::*;
    use crate::testdata::{record, tenant};

    fn entry(id: u128, time: (i64, i64), keys: (u64, u64)) -> Arc<BlockEntry> {
        let mut record = record(id, 1, 1, "a");
        record.time = TimeRange { min_ms: time.0, max_ms: time.1 };
        record.tenants[0].time = record.time;
        record.tenants[0].keys = KeyRange { first: SeriesKey(keys.0), last: SeriesKey(keys.1) };
        Arc::new(BlockEntry { record, added: CatalogVersion(1), deletes_upto: 0, stored_ms: 0 })
    }

    fn delta(to: u64, blocks: Vec<Arc<BlockEntry>>, removed: Vec<BlockId>) -> BlockDelta {
        BlockDelta {
            from: (to > 1).then_some(CatalogVersion(to - 1)),
            to: CatalogVersion(to),
            changed: CatalogVersion(to),
            blocks,
            removed_blocks: removed,
            ..BlocksView::new().to_delta()
        }
    }

    #[test]
    fn select_is_by_tenant_key_and_time() {
        const DAY: i64 = DAY_MS;
        let blocks = vec![
            entry(1, (0, 10), (0, 99)),
            entry(2, (5, 3 * DAY), (0, 99)),
            entry(3, (2 * DAY, 2 * DAY + 5), (100, 199)),
            entry(4, (-5, 1), (0, 99)),
        ];
        let mut view = BlocksView::new();
        view.apply(&delta(1, blocks, vec![])).expect("a full state");
        let ids = |view: &BlocksView, keys: (u64, u64), time: (i64, i64)| -> Vec<u128> {
            let keys = KeyRange { first: SeriesKey(keys.0), last: SeriesKey(keys.1) };
            let time = TimeRange { min_ms: time.0, max_ms: time.1 };
            view.select(&tenant("a"), keys, time).iter().map(|e| e.record.id.0).collect()
        };
        assert_eq!(ids(&view, (0, u64::MAX), (0, 1)), [1, 4]);
        assert_eq!(ids(&view, (0, u64::MAX), (1, 10)), [1, 2]);
        assert_eq!(
            ids(&view, (0, 50), (2 * DAY, 2 * DAY + 1)),
            [2],
            "a long block of an earlier day"
        );
        assert_eq!(ids(&view, (99, 100), (2 * DAY, 2 * DAY + 1)), [2, 3]);
        assert_eq!(ids(&view, (0, u64::MAX), (3 * DAY, 9 * DAY)), [] as [u128; 0]);
        assert!(view.select(&tenant("b"), KeyRange::ALL, TimeRange::ALL).is_empty());

        let old = view.clone();
        view.apply(&delta(2, vec![], vec![BlockId(2), BlockId(4)])).expect("fits");
        assert_eq!(ids(&view, (0, u64::MAX), (i64::MIN, i64::MAX)), [1, 3]);
        assert_eq!(ids(&old, (0, u64::MAX), (i64::MIN, i64::MAX)), [1, 2, 3, 4], "a pin stays");
        assert!(view.apply(&delta(4, vec![], vec![])).is_err(), "a gap is seen");
    }
}
