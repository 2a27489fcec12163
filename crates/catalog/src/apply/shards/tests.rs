//! Shards, seals and routes.

use bytes::Bytes;
use pando_model::Cut;

use super::*;
use crate::command::Command;
use crate::testdata::{Bench, keys, tenant};

const MAX: u64 = u64::MAX;

fn members() -> Vec<NodeId> {
    vec![NodeId(1), NodeId(2), NodeId(3)]
}

fn sealed(shard: u64, last_cut: u64) -> SealResult {
    let answer = Bytes::from_static(b"answer");
    SealResult { shard: ShardId(shard), term: 1, last_cut: Cut(last_cut), answer }
}

fn successor(ranges: &[(&str, u64, u64)]) -> Successor {
    let ranges = ranges.iter().map(|(name, first, last)| (tenant(name), keys(*first, *last)));
    Successor { members: members(), ranges: ranges.collect() }
}

fn seal(seals: Vec<SealResult>, successors: Vec<Successor>) -> Command {
    Command::SealShards { seals, successors, now_ms: 20 }
}

fn assign(name: &str, route: &[(u64, u64)]) -> Command {
    let route = route.iter().map(|(upper, shard)| (SeriesKey(*upper), ShardId(*shard))).collect();
    Command::AssignTenant { tenant: tenant(name), route }
}

fn route(bench: &Bench, name: &str) -> Vec<(u64, u64)> {
    let tenant = &bench.catalog.tenants()[&tenant(name)];
    let route = tenant.route.as_ref().expect("a route");
    route.entries().iter().map(|(upper, shard)| (upper.0, shard.0)).collect()
}

#[test]
fn members_are_one_or_three_distinct_ingesters() {
    let mut bench = Bench::with_nodes(4);
    let open = |members: &[u64]| Command::OpenShards {
        members: vec![members.iter().map(|id| NodeId(*id)).collect()],
        now_ms: 1,
    };
    for bad in [&[][..], &[1, 2], &[1, 1, 2], &[1, 2, 3, 4]] {
        assert_eq!(bench.refused(open(bad)), Reason::BadMembers, "{bad:?}");
    }
    assert_eq!(bench.refused(open(&[1, 2, 9])), Reason::UnknownNode);
    let mut agent = crate::testdata::node(4);
    agent.roles = BTreeSet::from([Role::Agent]);
    bench.ok(Command::RegisterNode { node: agent, now_ms: 1 });
    assert_eq!(bench.refused(open(&[4])), Reason::WrongRole);
    let reply = bench.ok(open(&[1, 2, 3]));
    assert_eq!(reply, CommandReply::Shards(vec![ShardId(1)]));
}

#[test]
fn the_first_assignment_stays() {
    let mut bench = Bench::with_nodes(3);
    bench.open(2);
    assert_eq!(bench.refused(assign("a", &[(5, 1)])), Reason::BadRanges);
    assert_eq!(bench.refused(assign("a", &[(MAX, 3)])), Reason::UnknownShard);
    bench.ok(assign("a", &[(5, 1), (MAX, 2)]));
    bench.ok(assign("a", &[(MAX, 1)]));
    assert_eq!(route(&bench, "a"), [(5, 1), (MAX, 2)]);
}

#[test]
fn a_split_replaces_the_ranges_of_all_tenants_at_once() {
    let mut bench = Bench::with_nodes(3);
    bench.open(2);
    bench.ok(assign("a", &[(9, 1), (99, 2), (MAX, 1)]));
    bench.ok(assign("b", &[(MAX, 1)]));
    bench.ok(assign("c", &[(MAX, 2)]));
    let split = seal(
        vec![sealed(1, 4)],
        vec![
            successor(&[("a", 0, 9), ("b", 0, 499)]),
            successor(&[("a", 100, MAX), ("b", 500, MAX)]),
        ],
    );
    assert_eq!(bench.ok(split), CommandReply::Shards(vec![ShardId(3), ShardId(4)]));
    assert_eq!(route(&bench, "a"), [(9, 3), (99, 2), (MAX, 4)]);
    assert_eq!(route(&bench, "b"), [(499, 3), (MAX, 4)]);
    assert_eq!(route(&bench, "c"), [(MAX, 2)]);
    let epoch = |name| bench.catalog.tenants()[&tenant(name)].route.as_ref().map(|r| r.epoch());
    assert_eq!((epoch("a"), epoch("c")), (Some(Epoch(2)), Some(Epoch(1))));
    let old = &bench.catalog.shards()[&ShardId(1)].info;
    assert_eq!(
        (old.stage, &old.successors[..]),
        (ShardStage::Sealed, &[ShardId(3), ShardId(4)][..])
    );
    assert_eq!(old.sealed_ranges(&tenant("a")), [keys(0, 9), keys(100, MAX)]);
    let new = &bench.catalog.shards()[&ShardId(4)].info;
    assert_eq!(new.predecessors, [ShardId(1)]);
}

#[test]
fn shards_merge() {
    let mut bench = Bench::with_nodes(3);
    bench.open(2);
    bench.ok(assign("a", &[(9, 1), (MAX, 2)]));
    let merge = seal(vec![sealed(1, 1), sealed(2, 1)], vec![successor(&[("a", 0, MAX)])]);
    bench.ok(merge);
    assert_eq!(route(&bench, "a"), [(MAX, 3)]);
    let new = &bench.catalog.shards()[&ShardId(3)].info;
    assert_eq!(new.predecessors, [ShardId(1), ShardId(2)]);
}

#[test]
fn successors_that_lose_or_invent_keys_are_refused() {
    let mut bench = Bench::with_nodes(3);
    bench.open(2);
    bench.ok(assign("a", &[(99, 1), (MAX, 2)]));
    bench.ok(assign("b", &[(MAX, 2)]));
    for (what, successors) in [
        ("nobody takes over", vec![]),
        ("a gap", vec![successor(&[("a", 0, 50)]), successor(&[("a", 52, 99)])]),
        ("an overlap", vec![successor(&[("a", 0, 50)]), successor(&[("a", 50, 99)])]),
        ("too much", vec![successor(&[("a", 0, 100)])]),
        ("another's tenant", vec![successor(&[("a", 0, 99), ("b", 0, 5)])]),
    ] {
        let command = seal(vec![sealed(1, 1)], successors);
        assert_eq!(bench.refused(command), Reason::BadRanges, "{what}");
    }
    let right = || vec![successor(&[("a", 0, 99)])];
    let twice = seal(vec![sealed(1, 1), sealed(1, 1)], right());
    assert_eq!(bench.refused(twice), Reason::BadCommand);
    bench.ok(seal(vec![sealed(1, 1)], right()));
    assert_eq!(bench.refused(seal(vec![sealed(1, 1)], right())), Reason::ShardStage);
}

#[test]
fn a_seal_never_forgets_a_commit() {
    let mut bench = Bench::with_tenant();
    bench.commit(1, 1, 1, "a");
    bench.commit(2, 1, 2, "a");
    let whole = || vec![successor(&[("a", 0, MAX)])];
    assert_eq!(bench.refused(seal(vec![sealed(1, 1)], whole())), Reason::BadCommand);
    let old = SealResult { term: 0, ..sealed(1, 2) };
    assert_eq!(bench.refused(seal(vec![old], whole())), Reason::OldTerm);
    let large = SealResult { answer: vec![0; SEAL_ANSWER_BYTES_MAX + 1].into(), ..sealed(1, 2) };
    assert_eq!(bench.refused(seal(vec![large], whole())), Reason::Limit);
    bench.ok(seal(vec![sealed(1, 2)], whole()));
    bench.ok(Command::CloseShard { shard: ShardId(1), now_ms: 30 });
}

#[test]
fn a_shard_closes_when_its_last_cut_is_committed_and_is_forgotten_when_closed() {
    let mut bench = Bench::with_tenant();
    let close = || Command::CloseShard { shard: ShardId(1), now_ms: 30 };
    let forget = || Command::ForgetShards { shards: vec![ShardId(1)] };
    assert_eq!(bench.refused(close()), Reason::ShardStage);
    bench.ok(seal(vec![sealed(1, 1)], vec![successor(&[("a", 0, MAX)])]));
    assert_eq!(bench.refused(close()), Reason::ShardStage);
    assert_eq!(bench.refused(forget()), Reason::ShardStage);
    bench.commit(1, 1, 1, "a");
    bench.ok(close());
    bench.ok(close());
    let shard = &bench.catalog.shards()[&ShardId(1)].info;
    assert_eq!((shard.stage, shard.closed_ms), (ShardStage::Closed, 30));
    bench.ok(forget());
    assert_eq!(bench.refused(close()), Reason::UnknownShard);
    let reply = bench.ok(Command::OpenShards { members: vec![members()], now_ms: 1 });
    assert_eq!(reply, CommandReply::Shards(vec![ShardId(3)]), "ids are never given twice");
}
