//! Plans, and that the catalog takes their commands.

use bytes::Bytes;
use pando_model::Cut;
use proptest::prelude::*;

use super::*;
use crate::testdata::{Cluster, tenant};

const THREE: &[&str] = &["a", "b", "c"];

fn settings(replicas: usize) -> PlacementSettings {
    PlacementSettings { replicas, silent_ms_max: 60_000, ..PlacementSettings::default() }
}

fn assign(cluster: &mut Cluster, name: &str, route: &[(u64, u64)]) {
    let route = route.iter().map(|(upper, shard)| (SeriesKey(*upper), ShardId(*shard))).collect();
    cluster.ok(Command::AssignTenant { tenant: tenant(name), route });
}

fn seals(plan: &SealPlan) -> Vec<SealResult> {
    let seal = |shard: &ShardId| SealResult {
        shard: *shard,
        term: 1,
        last_cut: Cut(1),
        answer: Bytes::new(),
    };
    plan.shards.iter().map(seal).collect()
}

fn members(plan: &SealPlan) -> Vec<Vec<u64>> {
    plan.members.iter().map(|m| m.iter().map(|id| id.0).collect()).collect()
}

#[test]
fn a_shard_whose_member_is_away_gets_a_successor_elsewhere() {
    let mut cluster = Cluster::with_ingesters(&["a", "b", "c", "c"]);
    cluster.open(&[&[1, 2, 3], &[1, 2, 4]]);
    assign(&mut cluster, "a", &[(9, 1), (u64::MAX, 2)]);
    cluster.silence(3, 59_000);
    assert_eq!(heal(&cluster.catalog, &cluster.presence, &settings(3)), HealPlan::default());
    cluster.silence(3, 61_000);
    let plan = heal(&cluster.catalog, &cluster.presence, &settings(3));
    assert!(plan.stuck.is_empty());
    assert_eq!(plan.seals.len(), 1);
    assert_eq!(plan.seals[0].shards, [ShardId(1)]);
    assert_eq!(members(&plan.seals[0]), [[1, 2, 4]]);
    // A tenant that comes between plan and command is taken along.
    assign(&mut cluster, "late", &[(u64::MAX, 1)]);
    let command = plan.seals[0].command(&cluster.catalog, seals(&plan.seals[0]), 5);
    cluster.ok(command);
    let shards = |name: &str| {
        let route = cluster.catalog.tenants()[&tenant(name)].route.clone().expect("a route");
        route.entries().iter().map(|(_, shard)| shard.0).collect::<Vec<_>>()
    };
    assert_eq!((shards("a"), shards("late")), (vec![3, 2], vec![3]));
    assert_eq!(heal(&cluster.catalog, &cluster.presence, &settings(3)), HealPlan::default());
}

#[test]
fn nothing_is_sealed_that_nobody_can_seal_or_succeed() {
    let mut cluster = Cluster::with_ingesters(THREE);
    cluster.open(&[&[1, 2, 3]]);
    cluster.silence(3, 100_000);
    let two_left = heal(&cluster.catalog, &cluster.presence, &settings(3));
    assert_eq!(two_left, HealPlan::default(), "two of three go on");
    cluster.silence(2, 100_000);
    let one_left = heal(&cluster.catalog, &cluster.presence, &settings(3));
    assert_eq!(one_left, HealPlan { seals: vec![], stuck: vec![ShardId(1)] });
}

#[test]
fn one_pass_seals_a_few_shards_at_most() {
    let mut cluster = Cluster::with_ingesters(&["a", "b", "c", "c"]);
    cluster.open(&[&[1, 2, 3][..]; 9]);
    cluster.silence(3, 100_000);
    let plan = heal(&cluster.catalog, &cluster.presence, &settings(3));
    assert_eq!(plan.seals.len(), PlacementSettings::default().seals_per_pass_max);
}

#[test]
fn a_leaving_node_is_drained() {
    let mut cluster = Cluster::with_ingesters(&["z", "z"]);
    cluster.open(&[&[1], &[2], &[1]]);
    assign(&mut cluster, "a", &[(9, 1), (99, 2), (u64::MAX, 3)]);
    loop {
        let plans = drain(&cluster.catalog, &cluster.presence, &settings(1), NodeId(1));
        let Some(plan) = plans.first() else { break };
        assert_eq!(members(plan), [[2]]);
        let command = plan.command(&cluster.catalog, seals(plan), 5);
        cluster.ok(command);
    }
    assert!(cluster.catalog.open_shards_iter().all(|shard| shard.info.members == [NodeId(2)]));
}

#[test]
fn load_becomes_even_one_succession_at_a_time() {
    let mut cluster = Cluster::with_ingesters(&["z"]);
    cluster.open(&[&[1][..]; 6]);
    cluster.join(2, "z");
    cluster.join(3, "z");
    let mut moves = 0;
    while let Some(plan) = rebalance(&cluster.catalog, &cluster.presence, &settings(1)) {
        let mut seals = seals(&plan);
        seals[0].last_cut = Cut(0);
        let command = plan.command(&cluster.catalog, seals, 5);
        cluster.ok(command);
        let calm = rebalance(&cluster.catalog, &cluster.presence, &settings(1));
        assert_eq!(calm, None, "the last one is not closed yet");
        cluster.ok(Command::CloseShard { shard: plan.shards[0], now_ms: 6 });
        moves += 1;
    }
    assert_eq!(moves, 4);
    assert!(loads(&cluster.catalog).values().all(|load| *load == 2));
}

#[test]
fn a_split_halves_each_tenant_at_its_median() {
    let mut cluster = Cluster::with_ingesters(THREE);
    cluster.open(&[&[1, 2, 3], &[1, 2, 3]]);
    assign(&mut cluster, "a", &[(99, 1), (199, 2), (u64::MAX, 1)]);
    assign(&mut cluster, "b", &[(u64::MAX, 1)]);
    assign(&mut cluster, "c", &[(u64::MAX, 1)]);
    let medians = BTreeMap::from([(tenant("a"), SeriesKey(50)), (tenant("b"), SeriesKey(500))]);
    let catalog = &cluster.catalog;
    let plan = plan_seal(catalog, &cluster.presence, &settings(3), ShardId(1), true);
    let plan = plan.expect("fits").at_medians(catalog, medians);
    cluster.ok(plan.command(&cluster.catalog, seals(&plan), 5));
    let route = |name: &str| {
        let route = cluster.catalog.tenants()[&tenant(name)].route.clone().expect("a route");
        route.entries().iter().map(|(upper, shard)| (upper.0, shard.0)).collect::<Vec<_>>()
    };
    assert_eq!(route("a"), [(49, 3), (99, 4), (199, 2), (u64::MAX, 4)]);
    assert_eq!(route("b"), [(499, 3), (u64::MAX, 4)]);
    assert_eq!(route("c").len(), 1, "a tenant without a median stays whole");
}

#[test]
fn what_cannot_be_split_is_succeeded_as_it_is() {
    let mut cluster = Cluster::with_ingesters(&["z"]);
    cluster.open(&[&[1]]);
    assign(&mut cluster, "a", &[(u64::MAX, 1)]);
    let split = |shard, median| {
        let medians = BTreeMap::from([(tenant("a"), SeriesKey(median))]);
        let (catalog, presence) = (&cluster.catalog, &cluster.presence);
        let plan = plan_seal(catalog, presence, &settings(1), ShardId(shard), true);
        plan.map(|plan| plan.at_medians(catalog, medians).members.len())
    };
    assert_eq!(split(1, 0), Ok(1));
    assert_eq!(split(9, 5), Err(PlacementError::NotOpen { shard: ShardId(9) }));
    assert_eq!(split(1, u64::MAX), Ok(2));
}

#[test]
fn what_has_no_members_must_not_be_sealed() {
    let mut cluster = Cluster::with_ingesters(THREE);
    cluster.open(&[&[1, 2, 3]]);
    let plan = |cluster: &Cluster, split| {
        let (catalog, presence) = (&cluster.catalog, &cluster.presence);
        plan_seal(catalog, presence, &settings(3), ShardId(1), split)
    };
    assert_eq!(members(&plan(&cluster, false).expect("fits")).len(), 1);
    assert_eq!(members(&plan(&cluster, true).expect("fits")).len(), 2);
    cluster.silence(3, 1_000_000);
    let few = PlacementError::TooFewNodes { replicas: 3, live: 2 };
    assert_eq!(plan(&cluster, false), Err(few.clone()));
    assert_eq!(plan(&cluster, true), Err(few));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_medians_the_catalog_takes_the_split(
        uppers in proptest::collection::btree_set(any::<u64>(), 0..6),
        medians in (any::<u64>(), any::<u64>()),
    ) {
        let mut cluster = Cluster::with_ingesters(&["z"]);
        cluster.open(&[&[1], &[1]]);
        let inner = uppers.into_iter().filter(|upper| *upper < u64::MAX);
        let uppers: Vec<u64> = inner.chain([u64::MAX]).collect();
        let route: Vec<(u64, u64)> =
            uppers.iter().enumerate().map(|(i, upper)| (*upper, 1 + i as u64 % 2)).collect();
        assign(&mut cluster, "a", &route);
        assign(&mut cluster, "b", &[(u64::MAX, 1)]);
        let medians = BTreeMap::from([
            (tenant("a"), SeriesKey(medians.0)),
            (tenant("b"), SeriesKey(medians.1)),
        ]);
        let (catalog, presence) = (&cluster.catalog, &cluster.presence);
        let plan = plan_seal(catalog, presence, &settings(1), ShardId(1), true).expect("fits");
        let plan = plan.at_medians(catalog, medians);
        let command = plan.command(&cluster.catalog, seals(&plan), 5);
        cluster.ok(command);
    }
}
