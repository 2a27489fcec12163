//! Random sequences of commands keep the invariants, whatever replays, lags, restarts or rebuilds
//! in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use pando_model::{
    BlockId, BlockRecord, BlockSource, CatalogVersion, ClusterId, Cut, Digest, Epoch, GenerationId,
    KeyRange, NodeId, SeriesKey, ShardId, TimeRange,
};
use proptest::prelude::*;

use crate::testdata::{commit, node, output, record, tenant};
use crate::wire::{
    StreamedView as _, decode_block_delta, decode_command, decode_routing_delta,
    encode_block_delta, encode_command, encode_routing_delta,
};
use crate::{
    BlocksView, Catalog, CatalogView, Command, CommandReply, Grant, NewDelete, ReplaceBlocks,
    RoutingView, SealResult, Shard, ShardFate, ShardStage, Successor, WorkEnd, WorkKind, WorkSpec,
    rebuild_from_footers,
};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// One step: what to do, and two numbers that choose among what is there.
type Step = (u8, u64, u64);

/// What must be true, told by the replies alone.
#[derive(Default)]
struct Model {
    /// Every block that was ever visible: what the bucket holds.
    bucket: BTreeMap<BlockId, BlockRecord>,
    visible: BTreeSet<BlockId>,
    committed: BTreeSet<GenerationId>,
    expired: BTreeSet<GenerationId>,
    /// Work item -> the only epoch that may change anything.
    leases: BTreeMap<u64, Epoch>,
    last_shard: u64,
}

impl Model {
    /// The generations whose samples are in `block`.
    fn leaves(&self, block: BlockId) -> Vec<GenerationId> {
        match &self.bucket[&block].source {
            BlockSource::Generation(generation) => vec![*generation],
            BlockSource::Compaction { sources, .. } => {
                sources.iter().flat_map(|source| self.leaves(*source)).collect()
            }
        }
    }

    fn note(&mut self, command: &Command, reply: &CommandReply) {
        match (command, reply) {
            (Command::CommitGeneration(commit), CommandReply::Committed { won: true, .. }) => {
                let record = commit.record.clone().expect("only such are proposed");
                let generation = GenerationId { shard: commit.shard, cut: commit.cut };
                if self.committed.insert(generation) {
                    self.visible.insert(record.id);
                    self.bucket.insert(record.id, record);
                }
            }
            (Command::ReplaceBlocks(replace), _) => {
                assert_eq!(self.leases.remove(&replace.work), Some(replace.epoch), "INV-8");
                replace.removed.iter().for_each(|id| assert!(self.visible.remove(id)));
                for record in &replace.added {
                    self.visible.insert(record.id);
                    self.bucket.insert(record.id, record.clone());
                }
            }
            (Command::ExpireBlocks { blocks, .. }, _) => {
                for id in blocks {
                    let leaves = self.leaves(*id);
                    self.expired.extend(leaves);
                    assert!(self.visible.remove(id));
                }
            }
            (Command::GrantLease { .. }, CommandReply::Leased { item, epoch }) => {
                let old = self.leases.insert(item.id, *epoch);
                assert!(old.is_none_or(|old| old < *epoch), "a fence never falls");
            }
            (Command::RenewLease { work, epoch, .. }, _)
            | (Command::ReleaseLease { work, epoch, .. }, _) => {
                assert_eq!(self.leases.get(work), Some(epoch), "INV-8");
            }
            (_, CommandReply::Shards(opened)) => {
                for shard in opened {
                    assert!(shard.0 > self.last_shard, "an id was given twice");
                    self.last_shard = shard.0;
                }
            }
            _ => {}
        }
    }
}

fn pick<T: Clone>(items: impl IntoIterator<Item = T>, choice: u64) -> Option<T> {
    let items: Vec<T> = items.into_iter().collect();
    (!items.is_empty()).then(|| items[(choice % items.len() as u64) as usize].clone())
}

/// The command of a step, most often one that fits.
fn command(catalog: &Catalog, step: Step, next_block: u128) -> Option<Command> {
    let (kind, x, y) = step;
    let now_ms = 10_000;
    let name = tenant(NAMES[(x % 3) as usize]);
    let living = catalog.shards().values().filter(|s| s.info.stage != ShardStage::Closed);
    Some(match kind % 14 {
        0 => {
            let members = if x.is_multiple_of(2) { vec![1, 2, 3] } else { vec![1 + y % 4] };
            let members = vec![members.into_iter().map(NodeId).collect()];
            Command::OpenShards { members, now_ms }
        }
        1 => {
            let open: Vec<ShardId> = catalog.open_shards_iter().map(|s| s.info.id).collect();
            let (one, two) = (pick(open.clone(), x)?, pick(open, y)?);
            Command::AssignTenant {
                tenant: name,
                route: vec![(SeriesKey(y >> 1), one), (SeriesKey(u64::MAX), two)],
            }
        }
        2 => seal(catalog, x, y)?,
        3 => {
            let drained =
                catalog.shards().values().filter(|s| s.is_drained() || y.is_multiple_of(4));
            Command::CloseShard { shard: pick(drained, x)?.info.id, now_ms }
        }
        4 => {
            let closed = |s: &&Shard| s.info.stage == ShardStage::Closed || y.is_multiple_of(4);
            let shard = pick(catalog.shards().values().filter(closed), x)?;
            Command::ForgetShards { shards: vec![shard.info.id] }
        }
        5..=7 => {
            let urgent = |s: &&Shard| s.info.stage == ShardStage::Sealed && !s.is_drained();
            let sealed = pick(living.clone().filter(urgent), x).filter(|_| kind % 14 == 5);
            let shard = sealed.or_else(|| pick(living, x))?;
            let (tenant, ranges) = pick(catalog.shard_ranges(shard.info.id), y)?;
            let cut = shard.next_cut.0.saturating_sub(u64::from(y.is_multiple_of(5)));
            let mut made = record(next_block, shard.info.id.0, cut, tenant.as_str());
            made.tenants[0].keys = ranges[0];
            let mut command = commit(catalog, made);
            if let Command::CommitGeneration(c) = &mut command {
                c.term = y % 3 + shard.term;
            }
            command
        }
        8 => Command::GrantLease {
            grant: match pick(catalog.leases().values(), y).filter(|_| x.is_multiple_of(3)) {
                Some(lease) => Grant::Again { work: lease.item.id, epoch: Epoch(1 + y % 3) },
                None => Grant::New(merge_of(catalog, x, y)?),
            },
            holder: NodeId(1 + x % 4),
            now_ms,
        },
        9 | 10 => replace(catalog, x, y, next_block)?,
        11 => {
            let (work, lease) = pick(catalog.leases(), x)?;
            let honest = x.is_multiple_of(2);
            let holder = if honest { lease.holder? } else { NodeId(1 + x % 4) };
            let epoch = if honest { lease.epoch } else { Epoch(1 + y % 3) };
            let work = *work;
            match y % 4 {
                0 => Command::RenewLease { work, holder, epoch, now_ms },
                1 => Command::ReleaseLease { work, holder, epoch, end: WorkEnd::Failed },
                _ => Command::ReleaseLease { work, holder, epoch, end: WorkEnd::GivenBack },
            }
        }
        12 => match y % 3 {
            0 => {
                let block = pick(catalog.blocks().keys().copied(), x)?;
                Command::ExpireBlocks { blocks: vec![block], now_ms: (x % 9_000) as i64 }
            }
            1 => Command::SetRetention { tenant: Some(name), retention_ms: Some(x % 3_000) },
            _ => Command::ForgetObjects { blocks: catalog.pending().keys().copied().collect() },
        },
        _ => match y % 3 {
            0 => Command::AddDelete(NewDelete {
                tenant: name,
                matchers: vec![],
                time: TimeRange { min_ms: 0, max_ms: 500 },
                fences: pick(living, x).map(|s| (s.info.id, s.next_cut)).into_iter().collect(),
                now_ms,
            }),
            1 => {
                Command::ForgetDeletes { numbers: vec![pick(catalog.deletes(), x).map(|d| *d.0)?] }
            }
            _ => Command::RegisterNode { node: node(1 + x % 6), now_ms },
        },
    })
}

/// Seals one or two shards; successors split every range in halves, give or take one fault.
fn seal(catalog: &Catalog, x: u64, y: u64) -> Option<Command> {
    let open: Vec<ShardId> = catalog.open_shards_iter().map(|s| s.info.id).collect();
    let shards = BTreeSet::from([pick(open.clone(), x)?, pick(open, y)?]);
    let mut halves = [vec![], vec![]];
    for (tenant, range) in shards
        .iter()
        .flat_map(|id| catalog.shard_ranges(*id))
        .flat_map(|(tenant, ranges)| ranges.into_iter().map(move |range| (tenant.clone(), range)))
    {
        let middle = range.first.0 + (range.last.0 - range.first.0) / 2;
        let next = middle.wrapping_add(1 + u64::from(y.is_multiple_of(7)));
        halves[0].push((tenant.clone(), KeyRange { last: SeriesKey(middle), ..range }));
        if next > middle && next <= range.last.0 {
            halves[1].push((tenant, KeyRange { first: SeriesKey(next), ..range }));
        }
    }
    let seals = shards.iter().map(|id| SealResult {
        shard: *id,
        term: catalog.shards()[id].term + x % 2,
        last_cut: Cut(catalog.shards()[id].next_cut.0 + x % 2),
        answer: Bytes::from_static(b"answer"),
    });
    let successor = |ranges| Successor { members: vec![NodeId(1 + y % 4)], ranges };
    Some(Command::SealShards {
        seals: seals.collect(),
        successors: halves.into_iter().map(successor).collect(),
        now_ms: 20,
    })
}

/// A merge of some blocks of one tenant.
fn merge_of(catalog: &Catalog, x: u64, y: u64) -> Option<WorkSpec> {
    let first = pick(catalog.blocks().values(), x)?;
    let tenant = &first.record.tenants[0].tenant;
    let same = catalog.blocks().values().filter(|e| e.record.tenant(tenant).is_some());
    let inputs: Vec<BlockId> = same
        .map(|e| e.record.id)
        .filter(|id| *id == first.record.id || id.0 as u64 & 1 == y & 1)
        .collect();
    Some(WorkSpec { kind: WorkKind::Merge, inputs, window: first.record.time, level: 1 })
}

/// The end of a work item, often by one who does not hold it any more.
fn replace(catalog: &Catalog, x: u64, y: u64, next_block: u128) -> Option<Command> {
    let (work, lease) = pick(catalog.leases(), x)?;
    let inputs: Vec<&BlockRecord> =
        lease.item.spec.inputs.iter().map(|id| &catalog.blocks()[id].record).collect();
    let added = output(next_block, *work, &inputs);
    let honest = y.is_multiple_of(2);
    Some(Command::ReplaceBlocks(Box::new(ReplaceBlocks {
        work: *work,
        holder: if honest { lease.holder? } else { NodeId(1 + x % 4) },
        epoch: if honest { lease.epoch } else { Epoch(1 + y % 4) },
        removed: lease.item.spec.inputs.clone(),
        kept: if y.is_multiple_of(11) { Digest::default() } else { added.digest },
        added: vec![added],
        now_ms: 30,
    })))
}

fn check_routes(catalog: &Catalog, choices: (u64, u64)) {
    for tenant in catalog.tenants().values() {
        let Some(route) = &tenant.route else { continue };
        let mut next = Some(0);
        for (range, shard) in route.ranges() {
            assert_eq!(Some(range.first.0), next, "INV-3: a gap or an overlap");
            let stage = catalog.shards()[&shard].info.stage;
            assert_eq!(stage, ShardStage::Open, "INV-3: a route to a {stage:?} shard");
            next = range.last.0.checked_add(1);
        }
        assert_eq!(next, None, "INV-3: keys at the end go nowhere");
        for key in [choices.0, choices.1] {
            let holders = catalog.open_shards_iter().filter(|shard| {
                let ranges = catalog.shard_ranges(shard.info.id);
                let own = ranges.get(&tenant.id).into_iter().flatten();
                own.filter(|range| range.contains(SeriesKey(key))).count() > 0
            });
            assert_eq!(holders.count(), 1, "INV-3");
        }
    }
}

fn check_blocks(catalog: &Catalog, model: &Model) {
    let named: BTreeSet<BlockId> = catalog.blocks().keys().copied().collect();
    assert_eq!(named, model.visible, "INV-4");
    let mut covered = BTreeSet::new();
    for leaf in named.iter().flat_map(|id| model.leaves(*id)) {
        assert!(covered.insert(leaf), "INV-5: a generation is in two visible blocks: {leaf:?}");
    }
    covered.extend(&model.expired);
    assert_eq!(covered, model.committed, "INV-5: a generation is in no visible block");
    for (id, shard) in catalog.shards() {
        let last = model.committed.iter().filter(|g| g.shard == *id).map(|g| g.cut).max();
        assert_eq!(shard.next_cut, last.unwrap_or_default().next(), "live begins after committed");
    }
}

/// Follows through bytes, as a member does.
fn follow(catalog: &Catalog, routing: &mut RoutingView, blocks: &mut BlocksView) {
    if let Some(delta) = catalog.routing_since(routing.version()) {
        let delta = decode_routing_delta(&encode_routing_delta(&delta)).expect("decodes");
        routing.apply(&delta).expect("joins on");
    }
    if let Some(delta) = catalog.blocks_since(blocks.version()) {
        let delta = decode_block_delta(&encode_block_delta(&delta)).expect("decodes");
        blocks.apply(&delta).expect("joins on");
    }
}

fn full(catalog: &Catalog) -> (RoutingView, BlocksView) {
    let (mut routing, mut blocks) = (RoutingView::new(), BlocksView::new());
    follow(catalog, &mut routing, &mut blocks);
    (routing, blocks)
}

/// What a rebuild from a snapshot and the bucket shows covers every generation that is not expired.
fn check_rebuild(now: &Catalog, old: &Catalog, model: &Model) {
    let gone = |id: &BlockId| !now.blocks().contains_key(id) && !now.pending().contains_key(id);
    // Objects are deleted only when a snapshot that does not name them is in the bucket.
    let bucket = model.bucket.values().filter(|r| !gone(&r.id) || !old_forgot(old, r.id));
    let bucket: Vec<BlockRecord> = bucket.cloned().collect();
    let (rebuilt, report) =
        rebuild_from_footers(ClusterId(7), bucket, Some(old.clone()), ShardFate::Lost);
    assert!(report.missing.is_empty());
    let covered: BTreeSet<GenerationId> =
        rebuilt.blocks().keys().flat_map(|id| model.leaves(*id)).collect();
    let lost: Vec<_> = model
        .committed
        .iter()
        .filter(|generation| !covered.contains(generation) && !model.expired.contains(generation))
        .collect();
    assert!(lost.is_empty(), "INV-10: samples are lost: {lost:?}");
    Catalog::restore(&rebuilt.snapshot()).expect("a rebuilt catalog is whole");
}

fn old_forgot(old: &Catalog, id: BlockId) -> bool {
    !old.blocks().contains_key(&id)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_sequence_keeps_the_invariants(
        steps in proptest::collection::vec((any::<u8>(), any::<u64>(), any::<u64>()), 1..200),
        lag in 1usize..20,
    ) {
        let mut catalog = Catalog::new();
        let mut twin = Catalog::new();
        let mut model = Model::default();
        let (mut routing, mut blocks) = (RoutingView::new(), BlocksView::new());
        let mut snapshots = vec![];
        let found = Command::InitCluster { cluster: ClusterId(7), feature_level: 1 };
        let founding = std::iter::once(found)
            .chain((1..=4).map(|id| Command::RegisterNode { node: node(id), now_ms: 1 }));
        for (i, command) in founding.enumerate() {
            catalog.apply(i as u64 + 1, &command).expect("founds");
            twin.apply(i as u64 + 1, &command).expect("founds");
        }
        for (i, step) in steps.iter().enumerate() {
            let Some(command) = command(&catalog, *step, i as u128 + 1) else { continue };
            let index = catalog.applied() + 1 + step.2 % 2;
            let before = catalog.snapshot_without_version();
            match catalog.apply(index, &command) {
                Ok(reply) => model.note(&command, &reply),
                Err(_) => prop_assert_eq!(before, catalog.snapshot_without_version()),
            }
            check_routes(&catalog, (step.1, step.2));
            check_blocks(&catalog, &model);
            let command = decode_command(&encode_command(&command)).expect("decodes");
            let _ = twin.apply(index, &command);
            if i % lag == 0 {
                follow(&catalog, &mut routing, &mut blocks);
                let (whole_routing, whole_blocks) = full(&catalog);
                prop_assert_eq!(&routing, &whole_routing);
                prop_assert_eq!(&blocks, &whole_blocks);
                twin = Catalog::restore(&twin.snapshot()).expect("whole");
                snapshots.push(catalog.clone());
            }
        }
        prop_assert_eq!(catalog.snapshot(), twin.snapshot(), "a replica is another");
        prop_assert_eq!(&catalog.blocks, &twin.blocks, "sums follow from the blocks");
        prop_assert_eq!(RoutingView::from_bytes(&routing.to_bytes()).expect("whole"), routing);
        prop_assert_eq!(BlocksView::from_bytes(&blocks.to_bytes()).expect("whole"), blocks);
        for old in &snapshots {
            check_rebuild(&catalog, old, &model);
        }
    }
}

#[test]
fn a_pin_has_one_version_though_the_streams_arrive_apart() {
    let mut bench = crate::testdata::Bench::with_tenant();
    let (routing, old_blocks) = full(&bench.catalog);
    bench.commit(1, 1, 1, "a");
    let (_, blocks) = full(&bench.catalog);
    let pin = |r: &RoutingView, b: &BlocksView| {
        CatalogView::pin(&Arc::new(r.clone()), &Arc::new(b.clone())).map(|view| view.version)
    };
    assert_eq!(pin(&routing, &old_blocks), Some(routing.version()));
    assert_eq!(pin(&routing, &blocks), None, "routes of version n may not fit blocks of n + 1");
    let mut caught_up = routing.clone();
    caught_up.apply(&bench.catalog.routing_since(routing.version()).expect("newer")).expect("fits");
    assert_eq!(pin(&caught_up, &blocks), Some(bench.catalog.version()));
    assert_eq!(pin(&caught_up, &old_blocks), Some(old_blocks.version()), "nothing changed since");
    assert_eq!(CatalogView::pin(&Arc::default(), &Arc::default()).map(|v| v.version), None);
    assert_eq!(bench.catalog.routing_since(CatalogVersion(u64::MAX)), None);
}
