//! The planner on catalogs that commands have made.

use std::collections::{BTreeMap, BTreeSet};

use pando_catalog::{Command, CommandReply, Grant, ReplaceBlocks, Role, WorkKind, WorkSpec};
use pando_model::{BlockId, BlockSource, Cut, Digest, GenerationId, SeriesKey, ShardId, TenantId};
use proptest::prelude::*;

use super::*;
use crate::testdata::{Cluster, keys, record, tenant};

fn planned(cluster: &Cluster, wanted: Wanted<'_>) -> Vec<PlacedFragment> {
    let view = cluster.view();
    let gateways = GatewayRing::new(view.routing.nodes().values().map(|node| &**node));
    plan(&view, &gateways, wanted).expect("a plan")
}

fn all(tenant: &TenantId) -> Wanted<'_> {
    Wanted {
        tenant,
        keys: KeyRange::ALL,
        time: TimeRange::ALL,
        now_ms: 2_000,
        turn: 0,
        interval_ms: 0,
    }
}

fn nodes(fragment: &PlacedFragment) -> Vec<u64> {
    fragment.members.iter().map(|member| member.node.0).collect()
}

#[test]
fn a_range_is_a_fragment_on_a_member_of_its_shard_in_turns() {
    let mut cluster = Cluster::with_ingesters(4);
    cluster.open(&[&[1, 2, 3], &[4]]);
    cluster.assign("a", &[(99, 1), (u64::MAX, 2)]);
    let a = tenant("a");
    let fragments = planned(&cluster, all(&a));
    assert_eq!(fragments.len(), 2);
    assert_eq!(fragments[0].sources.keys, keys(0, 99));
    let live = &fragments[0].sources.live;
    assert_eq!(live.len(), 1);
    assert_eq!((live[0].shard, live[0].first_cut, live[0].sealed), (ShardId(1), Cut(1), false));
    assert_eq!(live[0].members.len(), 3);
    assert_eq!(nodes(&fragments[0]), [1, 2, 3]);
    assert_eq!(nodes(&planned(&cluster, Wanted { turn: 1, ..all(&a) })[0]), [2, 3, 1]);
    assert_eq!(nodes(&fragments[1]), [4]);
    let part = planned(&cluster, Wanted { keys: keys(50, 60), ..all(&a) });
    assert_eq!(part.len(), 1);
    assert_eq!(part[0].sources.keys, keys(50, 60));
    assert!(planned(&cluster, all(&tenant("b"))).is_empty());
}

#[test]
fn old_blocks_are_read_by_gateways_and_young_ones_by_the_members_that_have_them() {
    let mut cluster = Cluster::with_ingesters(1);
    cluster.join_node(8, "g8:1", &[Role::StoreGateway]);
    cluster.join_node(9, "g9:1", &[Role::StoreGateway]);
    cluster.open(&[&[1]]);
    cluster.assign("a", &[(u64::MAX, 1)]);
    cluster.commit(70, 1, "a", keys(0, 5));
    let a = tenant("a");
    let young = planned(&cluster, all(&a)).remove(0);
    assert_eq!(young.members.len(), 3, "all can, whoever is first");
    assert_eq!(nodes(&young)[0], 1);
    let later = Wanted { now_ms: 1_000 + MEMBER_CACHE_MS + 1, ..all(&a) };
    let old = planned(&cluster, later).remove(0);
    assert!(nodes(&old)[0] >= 8);
    assert_eq!(nodes(&old)[2], 1);
    assert_eq!(old.sources, young.sources, "sources are the same wherever they are read");
    let before = TimeRange { min_ms: -5, max_ms: 0 };
    let none = planned(&cluster, Wanted { time: before, ..later }).remove(0);
    assert!(none.sources.blocks.is_empty());
    assert_eq!(none.sources.live.len(), 1, "late samples may be of any time");
}

#[test]
fn a_shard_of_vanished_nodes_is_read_by_whoever_is_there() {
    let mut cluster = Cluster::with_ingesters(2);
    cluster.open(&[&[1]]);
    cluster.assign("a", &[(u64::MAX, 1)]);
    let mut view = cluster.view();
    let mut delta = view.routing.to_delta();
    delta.nodes.retain(|node| node.id.0 != 1);
    let mut routing = pando_catalog::RoutingView::new();
    routing.apply(&delta).expect("a full state");
    view.routing = std::sync::Arc::new(routing);
    let a = tenant("a");
    let fragments = plan(&view, &GatewayRing::new([]), all(&a)).expect("a plan");
    assert_eq!(nodes(&fragments[0]), [2]);
}

#[test]
fn a_drained_shard_and_a_rollup_are_no_sources() {
    let mut cluster = Cluster::with_ingesters(1);
    cluster.open(&[&[1]]);
    cluster.assign("a", &[(u64::MAX, 1)]);
    cluster.seal(ShardId(1), Cut(1));
    let a = tenant("a");
    let sealed = planned(&cluster, all(&a));
    assert_eq!(sealed.len(), 2);
    let live = |fragment: &PlacedFragment| -> Vec<(u64, bool)> {
        fragment.sources.live.iter().map(|s| (s.shard.0, s.sealed)).collect()
    };
    assert_eq!(live(&sealed[0]), [(1, true), (2, false)]);
    assert_eq!(live(&sealed[1]), [(1, true), (3, false)]);
    cluster.commit(1, 1, "a", keys(0, 5));
    let drained = planned(&cluster, all(&a));
    assert_eq!(live(&drained[0]), [(2, false)]);
    assert_eq!(drained[0].sources.blocks.len(), 1);
    assert!(drained[1].sources.blocks.is_empty(), "no key of the block is here");

    let mut view = cluster.view();
    let mut delta = view.blocks.to_delta();
    let mut rollup = BlockEntry::clone(&delta.blocks[0]);
    (rollup.record.id, rollup.record.resolution_ms) = (BlockId(2), 300_000);
    delta.blocks.push(std::sync::Arc::new(rollup));
    let mut blocks = pando_catalog::BlocksView::new();
    blocks.apply(&delta).expect("a full state");
    view.blocks = std::sync::Arc::new(blocks);
    let fragments = plan(&view, &GatewayRing::new([]), all(&a)).expect("a plan");
    let ids: Vec<u128> = fragments[0].sources.blocks.iter().map(|b| b.id.0).collect();
    assert_eq!(ids, [1]);
}

/// Samples as they were written: (key, the generation that took it).
#[derive(Default)]
struct Written {
    samples: Vec<(u64, GenerationId)>,
    /// The open cut of each shard.
    cuts: BTreeMap<ShardId, Cut>,
    /// What blocks were made of.
    made_of: BTreeMap<BlockId, BTreeSet<GenerationId>>,
    next_block: u128,
}

impl Written {
    fn step(&mut self, cluster: &mut Cluster, kind: u8, x: u64, y: u64) {
        let pick = |shards: Vec<ShardId>| {
            (!shards.is_empty()).then(|| shards[(x % shards.len() as u64) as usize])
        };
        let shards = || cluster.catalog.shards().values();
        let open = || shards().filter(|s| s.info.stage == ShardStage::Open).map(|s| s.info.id);
        match kind % 8 {
            0..=2 => {
                let tenants = cluster.catalog.tenants();
                let route = tenants[&tenant("a")].route.clone().expect("assigned");
                let shard = route.shard_of(SeriesKey(y));
                let cut = *self.cuts.entry(shard).or_insert(Cut(1));
                self.samples.push((y, GenerationId { shard, cut }));
            }
            3 => {
                if let Some(shard) = pick(open().collect()) {
                    let cut = self.cuts.entry(shard).or_insert(Cut(1));
                    *cut = cut.next();
                }
            }
            4 | 5 => {
                let committable = shards().filter(|s| {
                    let ended = *self.cuts.get(&s.info.id).unwrap_or(&Cut(1));
                    let last = s.info.seal.as_ref().map_or(Cut(ended.0 - 1), |seal| seal.last_cut);
                    s.next_cut <= last
                });
                let Some(shard) = pick(committable.map(|s| s.info.id).collect()) else { return };
                self.commit(cluster, shard);
            }
            6 => {
                if let Some(shard) = pick(open().collect()).filter(|_| shards().count() < 12) {
                    let last = *self.cuts.get(&shard).unwrap_or(&Cut(1));
                    cluster.seal(shard, last);
                }
            }
            _ => match y % 2 {
                0 => {
                    let drained =
                        shards().filter(|s| s.info.stage == ShardStage::Sealed && s.is_drained());
                    if let Some(shard) = pick(drained.map(|s| s.info.id).collect()) {
                        cluster.ok(Command::CloseShard { shard, now_ms: 9 });
                    }
                }
                _ => self.compact(cluster, x),
            },
        }
    }

    fn commit(&mut self, cluster: &mut Cluster, shard: ShardId) {
        let generation = GenerationId { shard, cut: cluster.catalog.shards()[&shard].next_cut };
        let own = self.samples.iter().filter(|(_, g)| *g == generation).map(|(key, _)| *key);
        let (first, last) = (own.clone().min(), own.max());
        self.next_block += 1;
        let made = first.zip(last).map(|(first, last)| {
            self.made_of.insert(BlockId(self.next_block), BTreeSet::from([generation]));
            record(self.next_block, generation, "a", keys(first, last))
        });
        cluster.commit_record(shard, generation.cut, made);
    }

    fn compact(&mut self, cluster: &mut Cluster, x: u64) {
        let blocks: Vec<_> = cluster.catalog.blocks().values().cloned().collect();
        let inputs: Vec<_> =
            blocks.iter().enumerate().filter(|(at, _)| x >> (at % 64) & 1 == 1).collect();
        if inputs.len() < 2 {
            return;
        }
        let inputs: Vec<_> = inputs.into_iter().map(|(_, entry)| entry).collect();
        let ids: Vec<BlockId> = inputs.iter().map(|entry| entry.record.id).collect();
        let spec = WorkSpec {
            kind: WorkKind::Merge,
            inputs: ids.clone(),
            window: TimeRange { min_ms: 0, max_ms: 1_000 },
            level: 1,
        };
        let holder = NodeId(1);
        let grant = Command::GrantLease { grant: Grant::New(spec), holder, now_ms: 3 };
        let CommandReply::Leased { item, epoch } = cluster.ok(grant) else { panic!("a lease") };
        self.next_block += 1;
        let mut output = inputs[0].record.clone();
        output.id = BlockId(self.next_block);
        output.level = inputs.iter().map(|e| e.record.level).max().unwrap_or(0) + 1;
        output.source = BlockSource::Compaction { work: item.id, sources: ids.clone() };
        output.digest = Digest::default();
        let mut span = output.tenants[0].keys;
        let mut generations = BTreeSet::new();
        for entry in &inputs {
            output.digest.merge(entry.record.digest);
            let own = entry.record.tenants[0].keys;
            (span.first, span.last) = (span.first.min(own.first), span.last.max(own.last));
            generations.extend(self.made_of.remove(&entry.record.id).unwrap_or_default());
        }
        output.tenants[0].keys = span;
        output.tenants[0].samples = output.digest.samples;
        self.made_of.insert(output.id, generations);
        let kept = output.digest;
        cluster.ok(Command::ReplaceBlocks(Box::new(ReplaceBlocks {
            work: item.id,
            holder,
            epoch,
            removed: ids,
            added: vec![output],
            kept,
            now_ms: 4,
        })));
    }

    /// How many sources of the plan hold the sample.
    fn places(&self, fragments: &[PlacedFragment], key: u64, generation: GenerationId) -> usize {
        let of_key = fragments.iter().filter(|f| f.sources.keys.contains(SeriesKey(key)));
        of_key
            .map(|fragment| {
                let sources = &fragment.sources;
                let in_blocks = sources.blocks.iter();
                let live = sources.live.iter();
                in_blocks.filter(|b| self.made_of[&b.id].contains(&generation)).count()
                    + live
                        .filter(|s| s.shard == generation.shard && s.first_cut <= generation.cut)
                        .count()
            })
            .sum()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// INV-5: whatever was written, cut, committed, sealed, closed and compacted, each sample is in
    /// one place.
    #[test]
    fn each_sample_has_exactly_one_place(
        route in proptest::collection::btree_map(any::<u64>(), 1u64..4, 0..4),
        steps in proptest::collection::vec((any::<u8>(), any::<u64>(), any::<u64>()), 1..80),
    ) {
        let mut cluster = Cluster::with_ingesters(3);
        cluster.open(&[&[1, 2, 3], &[2], &[3]]);
        let mut entries: Vec<(u64, u64)> = route.into_iter().filter(|(k, _)| *k != u64::MAX).collect();
        entries.push((u64::MAX, 1));
        cluster.assign("a", &entries);
        let mut written = Written::default();
        let a = tenant("a");
        for (kind, x, y) in steps {
            written.step(&mut cluster, kind, x, y);
        }
        let fragments = planned(&cluster, all(&a));
        for (key, generation) in &written.samples {
            prop_assert_eq!(written.places(&fragments, *key, *generation), 1);
        }
        // The fragments cover the key space once, and each has somebody to run it.
        let mut next = Some(0);
        for fragment in &fragments {
            prop_assert_eq!(Some(fragment.sources.keys.first.0), next);
            prop_assert!(!fragment.members.is_empty());
            next = fragment.sources.keys.last.0.checked_add(1);
        }
        prop_assert_eq!(next, None);
    }
}

/// Of many intervals each has a gateway of its own, and the same one each time.
#[test]
fn intervals_are_spread_over_gateways() {
    const DAY_MS: i64 = 24 * 3_600_000;
    let mut cluster = Cluster::with_ingesters(0);
    for id in 1..=4 {
        cluster.join_node(id, &format!("g{id}:1"), &[Role::Ingester, Role::StoreGateway]);
    }
    cluster.open(&[&[1]]);
    cluster.assign("a", &[(u64::MAX, 1)]);
    let a = tenant("a");
    let first = |day: i64, interval_ms: i64| {
        let view = cluster.view();
        let gateways = GatewayRing::new(view.routing.nodes().values().map(|node| &**node));
        let time = TimeRange { min_ms: day * DAY_MS - 300_000, max_ms: (day + 1) * DAY_MS };
        let interval = Wanted { time, interval_ms, ..all(&a) }.interval();
        gateways.for_fragment(&a, SeriesKey(0), interval)[0]
    };
    let days = |interval_ms| (0..30).map(|day| first(day, interval_ms)).collect::<BTreeSet<_>>();
    assert_eq!(days(DAY_MS).len(), 4);
    assert_eq!(days(0).len(), 1);
    assert!((0..30).all(|day| first(day, DAY_MS) == first(day, DAY_MS)));
}
