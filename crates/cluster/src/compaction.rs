//! Which blocks are merged into longer ones, and which are written anew.
//!
//! Windows are aligned in time: 2 h, then longer. A block belongs to the window of its newest
//! sample: late samples reach back, but a block is about the time in which it was cut. In the
//! shortest window the blocks of one shard are merged; in longer ones, blocks whose tenants' key
//! ranges meet. A window is merged once it is over and quiet. Blocks with samples that deletes or a
//! tenant's retention hide are written anew.

use std::collections::{BTreeMap, BTreeSet};

use pando_catalog::{BlockEntry, Catalog, Command, Expiry, Grant, WorkKind, WorkSpec};
use pando_model::{BlockId, BlockSource, NodeId, SeriesKey, ShardId, TenantId, TimeRange};

/// How blocks are merged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CompactionSettings {
    /// Younger blocks are left alone, ms: their shard's members serve them from their own caches.
    pub quiet_ms: i64,
    /// Lengths of the windows, ms, growing; each a multiple of the one before. Merging in window n
    /// makes level n + 1.
    pub windows_ms: Vec<i64>,
    /// Inputs of one work item.
    pub inputs_max: usize,
    /// Bytes of the inputs of one work item: a compactor builds its output in memory and uploads it
    /// by one request.
    pub input_bytes_max: u64,
    /// Work items of one plan.
    pub items_max: usize,
}

impl Default for CompactionSettings {
    /// 3 h of quiet; windows of 2 h, 12 h and 2 days; 64 inputs and 512 MiB for a work item.
    fn default() -> Self {
        const HOUR_MS: i64 = 3_600_000;
        CompactionSettings {
            quiet_ms: 3 * HOUR_MS,
            windows_ms: vec![2 * HOUR_MS, 12 * HOUR_MS, 48 * HOUR_MS],
            inputs_max: 64,
            input_bytes_max: 512 << 20,
            items_max: 256,
        }
    }
}

/// The lease that a compactor gets next: first what others gave back or let run out (`run_out`:
/// work items whose lease has ended by the leader's monotonic clock), then new work. `None` where
/// there is nothing to do.
pub fn next_grant(
    catalog: &Catalog,
    settings: &CompactionSettings,
    run_out: &BTreeSet<u64>,
    holder: NodeId,
    now_ms: i64,
) -> Option<Command> {
    let waits = catalog.leases().values().find(|lease| {
        let free = lease.holder.is_none() || run_out.contains(&lease.item.id);
        free && !lease.is_quarantined()
    });
    let grant = match waits {
        Some(lease) => Grant::Again { work: lease.item.id, epoch: lease.epoch },
        None => Grant::New(compaction_plan(catalog, now_ms, settings).into_iter().next()?),
    };
    Some(Command::GrantLease { grant, holder, now_ms })
}

/// Work that nobody has: merges of the shortest windows first, oldest first, then what is to be
/// written anew.
pub fn compaction_plan(
    catalog: &Catalog,
    now_ms: i64,
    settings: &CompactionSettings,
) -> Vec<WorkSpec> {
    let mut planner = Planner::new(catalog, now_ms, settings);
    for level in 0..settings.windows_ms.len() {
        planner.plan_level(level);
    }
    planner.plan_rewrites();
    planner.plan
}

type Blocks<'a> = Vec<&'a BlockEntry>;

struct Planner<'a> {
    catalog: &'a Catalog,
    expiry: Expiry<'a>,
    now_ms: i64,
    settings: &'a CompactionSettings,
    /// Inputs of work that is planned or leased.
    taken: BTreeSet<BlockId>,
    plan: Vec<WorkSpec>,
}

impl<'a> Planner<'a> {
    fn new(catalog: &'a Catalog, now_ms: i64, settings: &'a CompactionSettings) -> Self {
        let leased = catalog.leases().values().flat_map(|lease| &lease.item.spec.inputs);
        let taken = leased.copied().collect();
        let expiry = catalog.expiry(now_ms);
        Planner { catalog, expiry, now_ms, settings, taken, plan: vec![] }
    }

    fn is_quiet(&self, entry: &BlockEntry) -> bool {
        entry.stored_ms.saturating_add(self.settings.quiet_ms) <= self.now_ms
    }

    fn plan_level(&mut self, level: usize) {
        let window_ms = self.settings.windows_ms[level].max(1);
        let mut windows: BTreeMap<(i64, i64), Blocks<'a>> = BTreeMap::new();
        for entry in self.catalog.blocks().values() {
            if entry.record.level as usize <= level {
                let record = &entry.record;
                let window = record.time.max_ms.saturating_sub(1).div_euclid(window_ms);
                windows.entry((window, record.resolution_ms)).or_default().push(entry);
            }
        }
        for ((window, _), blocks) in windows {
            let min_ms = window.saturating_mul(window_ms);
            let window = TimeRange { min_ms, max_ms: min_ms.saturating_add(window_ms) };
            if window.max_ms.saturating_add(self.settings.quiet_ms) > self.now_ms {
                continue;
            }
            let groups = if level == 0 { by_shard(blocks) } else { by_keys(blocks) };
            for group in groups {
                self.plan_group(group, window, level);
            }
        }
    }

    /// One work item for a group, or several where it is too large for one. A group with a young
    /// block waits for it: merged now, the young one would have to be merged again.
    fn plan_group(&mut self, mut group: Blocks<'a>, window: TimeRange, level: usize) {
        if !group.iter().all(|entry| self.is_quiet(entry)) {
            return;
        }
        group.retain(|entry| !self.taken.contains(&entry.record.id));
        group.sort_unstable_by_key(|e| (e.record.time.min_ms, e.record.time.max_ms, e.record.id));
        let mut inputs: Blocks<'a> = vec![];
        let mut bytes = 0u64;
        for entry in group {
            let more = entry.record.object_bytes;
            let full = bytes.saturating_add(more) > self.settings.input_bytes_max;
            if full || inputs.len() == self.settings.inputs_max {
                self.push_merge(&inputs, window, level);
                (inputs, bytes) = (vec![], 0);
            }
            bytes = bytes.saturating_add(more);
            inputs.push(entry);
        }
        self.push_merge(&inputs, window, level);
    }

    fn push_merge(&mut self, inputs: &Blocks<'a>, window: TimeRange, level: usize) {
        if inputs.len() >= 2 {
            let ids = inputs.iter().map(|entry| entry.record.id).collect();
            self.push(WorkKind::Merge, ids, window, level as u32 + 1);
        }
    }

    fn push(&mut self, kind: WorkKind, mut inputs: Vec<BlockId>, window: TimeRange, level: u32) {
        if self.plan.len() < self.settings.items_max {
            inputs.sort_unstable();
            self.taken.extend(&inputs);
            self.plan.push(WorkSpec { kind, inputs, window, level });
        }
    }

    fn plan_rewrites(&mut self) {
        let deletes: Vec<_> = self.catalog.deletes().values().collect();
        for entry in self.catalog.blocks().values() {
            let record = &entry.record;
            let hidden = || deletes.iter().any(|delete| entry.concerned_by(delete));
            if self.is_quiet(entry)
                && !self.taken.contains(&record.id)
                && (hidden() || self.has_expired_tenant(entry))
            {
                self.push(WorkKind::Rewrite, vec![record.id], record.time, record.level);
            }
        }
    }

    /// Whether some tenants, but not all, are done with the block.
    fn has_expired_tenant(&self, entry: &BlockEntry) -> bool {
        let spans = entry.record.tenants.iter();
        let done = spans.filter(|span| self.expiry.is_done_with(entry, span));
        let count = done.count();
        count > 0 && count < entry.record.tenants.len()
    }
}

/// Blocks of generations by their shard; what was compacted before is no business of the shortest
/// window.
fn by_shard(blocks: Blocks<'_>) -> Vec<Blocks<'_>> {
    let mut groups: BTreeMap<ShardId, Blocks<'_>> = BTreeMap::new();
    for entry in blocks {
        if let BlockSource::Generation(generation) = entry.record.source {
            groups.entry(generation.shard).or_default().push(entry);
        }
    }
    groups.into_values().collect()
}

/// Groups of blocks that hang together by tenants whose key ranges meet.
fn by_keys(blocks: Blocks<'_>) -> Vec<Blocks<'_>> {
    let mut spans: Vec<(&TenantId, SeriesKey, SeriesKey, usize)> = vec![];
    for (at, entry) in blocks.iter().enumerate() {
        let own = entry.record.tenants.iter();
        spans.extend(own.map(|span| (&span.tenant, span.keys.first, span.keys.last, at)));
    }
    spans.sort_unstable();
    let mut sets = Sets::new(blocks.len());
    let mut open: Option<(&TenantId, SeriesKey, usize)> = None;
    for (tenant, first, last, at) in spans {
        open = match open {
            Some((same, end, other)) if same == tenant && first <= end => {
                sets.join(at, other);
                Some((tenant, end.max(last), at))
            }
            _ => Some((tenant, last, at)),
        };
    }
    let mut groups: BTreeMap<usize, Blocks<'_>> = BTreeMap::new();
    for (at, entry) in blocks.into_iter().enumerate() {
        groups.entry(sets.find(at)).or_default().push(entry);
    }
    groups.into_values().collect()
}

/// Disjoint sets of numbers; a set is named by its smallest.
struct Sets {
    parents: Vec<usize>,
}

impl Sets {
    fn new(count: usize) -> Self {
        Sets { parents: (0..count).collect() }
    }

    fn find(&mut self, mut at: usize) -> usize {
        while self.parents[at] != at {
            self.parents[at] = self.parents[self.parents[at]];
            at = self.parents[at];
        }
        at
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.find(one), self.find(other));
        self.parents[one.max(other)] = one.min(other);
    }
}

#[cfg(test)]
mod tests;
