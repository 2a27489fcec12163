//! Who may commit what.

use bytes::Bytes;
use pando_model::{Cut, ShardId};

use super::*;
use crate::command::{Command, SealResult, Successor};
use crate::error::Reason;
use crate::limits::COMMITS_KEPT;
use crate::testdata::{Bench, commit, keys, record, tenant};

type Fault<'a> = &'a dyn Fn(&mut BlockRecord);

/// The commit of `record`, changed.
fn changed(
    bench: &Bench,
    record: BlockRecord,
    change: impl FnOnce(&mut CommitGeneration),
) -> Command {
    let Command::CommitGeneration(mut built) = commit(&bench.catalog, record) else {
        panic!("a commit")
    };
    change(&mut built);
    Command::CommitGeneration(built)
}

#[test]
fn the_first_one_wins_and_a_repeat_learns_the_winner() {
    let mut bench = Bench::with_tenant();
    let first = record(1, 1, 1, "a");
    let reply = bench.ok(commit(&bench.catalog, first.clone()));
    let (winner, digest) = (Some(first.id), first.digest);
    assert_eq!(reply, CommandReply::Committed { winner, digest, won: true });
    assert_eq!(bench.ok(commit(&bench.catalog, first.clone())), reply, "its own answer was lost");
    let second = record(2, 1, 1, "a");
    let reply = bench.ok(commit(&bench.catalog, second));
    assert_eq!(reply, CommandReply::Committed { winner, digest, won: false });
    assert_eq!(bench.catalog.blocks().keys().copied().collect::<Vec<_>>(), [first.id]);
}

#[test]
fn only_the_next_cut_is_taken() {
    let mut bench = Bench::with_tenant();
    assert_eq!(bench.refused(commit(&bench.catalog, record(2, 1, 2, "a"))), Reason::NotNextCut);
    bench.commit(1, 1, 1, "a");
    bench.commit(2, 1, 2, "a");
    assert_eq!(bench.catalog.shards()[&ShardId(1)].next_cut, Cut(3));
}

#[test]
fn a_majority_of_the_members_has_to_agree() {
    let mut bench = Bench::with_tenant();
    let record = record(1, 1, 1, "a");
    let (right, wrong) = (record.digest, Digest { samples: 10, sum: 0 });
    for (reports, taken) in [
        (vec![(1, right)], false),
        (vec![(1, right), (1, right)], false),
        (vec![(1, right), (9, right)], false),
        (vec![(1, right), (2, wrong), (3, wrong)], false),
        (vec![(1, right), (2, right), (2, wrong)], false),
        (vec![(1, right), (2, wrong), (3, right)], true),
    ] {
        let mut copy = bench.clone();
        let built = changed(&bench, record.clone(), |c| {
            c.reports = reports.iter().map(|(node, digest)| (NodeId(*node), *digest)).collect();
        });
        match taken {
            true => drop(copy.ok(built)),
            false => assert_eq!(copy.refused(built), Reason::NoMajority, "{reports:?}"),
        }
    }
    let mut empty = changed(&bench, record, |c| c.record = None);
    assert_eq!(bench.refused(empty.clone()), Reason::NoMajority, "the members have samples");
    if let Command::CommitGeneration(c) = &mut empty {
        c.reports.iter_mut().for_each(|(_, digest)| *digest = Digest::default());
    }
    let digest = Digest::default();
    let reply = bench.ok(empty);
    assert_eq!(reply, CommandReply::Committed { winner: None, digest, won: true });
    assert_eq!(bench.catalog.shards()[&ShardId(1)].next_cut, Cut(2));
}

#[test]
fn an_old_leader_comes_too_late() {
    let mut bench = Bench::with_tenant();
    let late = changed(&bench, record(2, 1, 2, "a"), |c| c.term = 3);
    let command = changed(&bench, record(1, 1, 1, "a"), |c| c.term = 4);
    bench.ok(command);
    assert_eq!(bench.refused(late), Reason::OldTerm);
}

#[test]
fn records_that_cannot_be_right_are_refused() {
    let mut bench = Bench::with_tenant();
    bench.ok(Command::RefuseBlock { block: BlockId(66), now_ms: 1 });
    let refused = commit(&bench.catalog, record(66, 1, 1, "a"));
    assert_eq!(bench.refused(refused), Reason::BlockRefused);
    let faults: [(&str, Fault<'_>); 8] = [
        ("another cut", &|r| {
            r.source = BlockSource::Generation(GenerationId { shard: ShardId(1), cut: Cut(2) });
        }),
        ("another shard", &|r| {
            r.source = BlockSource::Generation(GenerationId { shard: ShardId(2), cut: Cut(1) });
        }),
        ("a rollup", &|r| r.resolution_ms = 300_000),
        ("a tenant without a route", &|r| r.tenants[0].tenant = tenant("b")),
        ("samples that do not add up", &|r| r.tenants[0].samples = 9),
        ("no tenant", &|r| r.tenants.clear()),
        ("times outside", &|r| r.tenants[0].time.max_ms += 1),
        ("a footer outside", &|r| r.footer_offset = r.object_bytes),
    ];
    for (what, fault) in faults {
        let command = changed(&bench, record(1, 1, 1, "a"), |c| {
            fault(c.record.as_mut().expect("a record"));
        });
        assert_eq!(bench.refused(command), Reason::BadRecord, "{what}");
    }
    bench.commit(1, 1, 1, "a");
    let again = commit(&bench.catalog, record(1, 1, 2, "a"));
    assert_eq!(bench.refused(again), Reason::BlockNamed);
    let refuse = Command::RefuseBlock { block: BlockId(1), now_ms: 1 };
    assert_eq!(bench.refused(refuse), Reason::BlockNamed);
}

#[test]
fn a_sealed_shard_commits_its_own_ranges_up_to_its_last_cut() {
    let mut bench = Bench::with_tenant();
    bench.ok(Command::SealShards {
        seals: vec![SealResult {
            shard: ShardId(1),
            term: 1,
            last_cut: Cut(1),
            answer: Bytes::new(),
        }],
        successors: vec![Successor {
            members: vec![NodeId(1)],
            ranges: vec![(tenant("a"), keys(0, u64::MAX))],
        }],
        now_ms: 1,
    });
    bench.commit(1, 1, 1, "a");
    let more = commit(&bench.catalog, record(2, 1, 2, "a"));
    assert_eq!(bench.refused(more), Reason::NotNextCut);
    let strange = commit(&bench.catalog, record(3, 2, 1, "b"));
    assert_eq!(bench.refused(strange), Reason::BadRecord);
    bench.commit(4, 2, 1, "a");
}

#[test]
fn very_old_winners_are_forgotten() {
    let mut bench = Bench::with_tenant();
    for cut in 1..=COMMITS_KEPT as u64 + 1 {
        bench.commit(cut.into(), 1, cut, "a");
    }
    let first = commit(&bench.catalog, record(1, 1, 1, "a"));
    assert_eq!(bench.refused(first), Reason::CutForgotten);
    bench.ok(commit(&bench.catalog, record(2, 1, 2, "a")));
}
