//! Leases, replacement, expiry and what follows a block's end.

use pando_model::{Epoch, NodeId};

use super::*;
use crate::command::{Command, Grant, WorkEnd};
use crate::error::Reason;
use crate::limits::WORK_FAILURES_MAX;
use crate::testdata::{Bench, commit, output, record, tenant};
use crate::work::{WorkKind, WorkSpec};

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);

fn spec(inputs: &[&BlockRecord]) -> WorkSpec {
    WorkSpec {
        kind: WorkKind::Merge,
        inputs: inputs.iter().map(|record| record.id).collect(),
        window: inputs[0].time,
        level: 1,
    }
}

fn grant(grant: Grant, holder: NodeId) -> Command {
    Command::GrantLease { grant, holder, now_ms: 1 }
}

/// Leases a merge of `inputs` to node 1.
fn lease(bench: &mut Bench, inputs: &[&BlockRecord]) -> (u64, Epoch) {
    match bench.ok(grant(Grant::New(spec(inputs)), ONE)) {
        CommandReply::Leased { item, epoch } => (item.id, epoch),
        other => panic!("no lease: {other:?}"),
    }
}

fn replace(
    work: u64,
    epoch: Epoch,
    inputs: &[&BlockRecord],
    added: Vec<BlockRecord>,
) -> ReplaceBlocks {
    let mut kept = Digest::default();
    added.iter().filter(|r| r.resolution_ms == 0).for_each(|r| kept.merge(r.digest));
    let removed = inputs.iter().map(|record| record.id).collect();
    ReplaceBlocks { work, holder: ONE, epoch, removed, added, kept, now_ms: 77 }
}

fn command(replace: ReplaceBlocks) -> Command {
    Command::ReplaceBlocks(Box::new(replace))
}

fn visible(bench: &Bench) -> Vec<u128> {
    bench.catalog.blocks().keys().map(|id| id.0).collect()
}

#[test]
fn a_replacement_is_atomic_and_ends_the_work() {
    let mut bench = Bench::with_tenant();
    let (a, b) = (bench.commit(1, 1, 1, "a"), bench.commit(2, 1, 2, "a"));
    let (work, epoch) = lease(&mut bench, &[&a, &b]);
    let mut rollup = output(4, work, &[&a, &b]);
    rollup.resolution_ms = 300_000;
    let done = replace(work, epoch, &[&a, &b], vec![output(3, work, &[&a, &b]), rollup]);
    bench.ok(command(done.clone()));
    assert_eq!(visible(&bench), [3, 4]);
    let pending = bench.catalog.pending()[&a.id];
    assert_eq!((pending.replaced_ms, pending.replaced), (77, bench.catalog.version()));
    assert_eq!(bench.refused(command(done)), Reason::UnknownWork, "a repeat finds it ended");
    bench.ok(Command::ForgetObjects { blocks: vec![a.id] });
    assert_eq!(bench.catalog.pending().keys().copied().collect::<Vec<_>>(), [b.id]);
    let wrong = Command::ForgetObjects { blocks: vec![BlockId(3)] };
    assert_eq!(bench.refused(wrong), Reason::BlockNamed);
}

#[test]
fn who_lost_the_lease_changes_nothing() {
    let mut bench = Bench::with_tenant();
    let (a, b) = (bench.commit(1, 1, 1, "a"), bench.commit(2, 1, 2, "a"));
    let (work, epoch) = lease(&mut bench, &[&a, &b]);
    bench.ok(grant(Grant::Again { work, epoch }, TWO));
    let late = replace(work, epoch, &[&a, &b], vec![output(3, work, &[&a, &b])]);
    let with_epoch = ReplaceBlocks { epoch: epoch.next(), ..late.clone() };
    assert_eq!(bench.refused(command(late.clone())), Reason::LeaseLost);
    assert_eq!(bench.refused(command(with_epoch)), Reason::LeaseLost, "it is node 2's");
    let renew = Command::RenewLease { work, holder: ONE, epoch, now_ms: 9 };
    assert_eq!(bench.refused(renew), Reason::LeaseLost);
    let release = Command::ReleaseLease { work, holder: ONE, epoch, end: WorkEnd::NothingToDo };
    assert_eq!(bench.refused(release), Reason::LeaseLost);
    let steal = grant(Grant::Again { work, epoch }, ONE);
    assert_eq!(bench.refused(steal), Reason::LeaseLost, "granted by who knew the old epoch");
    let epoch = epoch.next();
    bench.ok(Command::RenewLease { work, holder: TWO, epoch, now_ms: 9 });
    bench.ok(command(ReplaceBlocks { holder: TWO, epoch, ..late }));
    assert_eq!(visible(&bench), [3]);
}

#[test]
fn work_items_never_share_an_input() {
    let mut bench = Bench::with_tenant();
    let (a, b) = (bench.commit(1, 1, 1, "a"), bench.commit(2, 1, 2, "a"));
    let c = bench.commit(3, 1, 3, "a");
    let (work, epoch) = lease(&mut bench, &[&a, &b]);
    let other = grant(Grant::New(spec(&[&b, &c])), TWO);
    assert_eq!(bench.refused(other.clone()), Reason::WorkOverlaps);
    let backwards = WorkSpec { inputs: vec![b.id, a.id], ..spec(&[&a]) };
    assert_eq!(bench.refused(grant(Grant::New(backwards), TWO)), Reason::BadCommand);
    let unknown = WorkSpec { inputs: vec![BlockId(99)], ..spec(&[&a]) };
    assert_eq!(bench.refused(grant(Grant::New(unknown), TWO)), Reason::UnknownBlock);
    assert_eq!(bench.refused(grant(Grant::New(spec(&[&c])), NodeId(9))), Reason::UnknownNode);
    bench.ok(Command::ReleaseLease { work, holder: ONE, epoch, end: WorkEnd::NothingToDo });
    bench.ok(other);
}

#[test]
fn work_that_fails_too_often_is_quarantined_until_it_is_dropped() {
    let mut bench = Bench::with_tenant();
    let a = bench.commit(1, 1, 1, "a");
    let (work, mut epoch) = lease(&mut bench, &[&a]);
    assert_eq!(bench.refused(Command::DropWork { work }), Reason::BadCommand);
    for round in 1..=WORK_FAILURES_MAX {
        bench.ok(Command::ReleaseLease { work, holder: ONE, epoch, end: WorkEnd::Failed });
        if round < WORK_FAILURES_MAX {
            bench.ok(grant(Grant::Again { work, epoch }, ONE));
            epoch = epoch.next();
        }
    }
    assert_eq!(bench.refused(grant(Grant::Again { work, epoch }, ONE)), Reason::Quarantined);
    let anew = grant(Grant::New(spec(&[&a])), ONE);
    assert_eq!(bench.refused(anew.clone()), Reason::WorkOverlaps, "quarantine holds the inputs");
    bench.ok(Command::DropWork { work });
    bench.ok(anew);
}

#[test]
fn what_is_not_conserved_is_refused() {
    let mut bench = Bench::with_tenant();
    let (a, b) = (bench.commit(1, 1, 1, "a"), bench.commit(2, 1, 2, "a"));
    let inputs = [&a, &b];
    let (work, epoch) = lease(&mut bench, &inputs);
    let made = || output(3, work, &inputs);
    let whole = || replace(work, epoch, &inputs, vec![made()]);
    let mut changed = whole();
    changed.kept.sum ^= 1;
    assert_eq!(bench.refused(command(changed)), Reason::NotConserved, "another hash");
    let mut more = made();
    (more.digest.samples, more.tenants[0].samples) = (21, 21);
    let more = replace(work, epoch, &inputs, vec![more]);
    assert_eq!(bench.refused(command(more)), Reason::NotConserved, "more out than in");
    let mut some = whole();
    some.removed.pop();
    assert_eq!(bench.refused(command(some)), Reason::BadCommand, "not all inputs");
    for (what, fault) in [
        (
            "another work item",
            (|r: &mut BlockRecord| {
                r.source =
                    BlockSource::Compaction { work: 9, sources: vec![BlockId(1), BlockId(2)] };
            }) as fn(&mut BlockRecord),
        ),
        ("fewer sources", |r| {
            r.source = BlockSource::Compaction { work: 1, sources: vec![BlockId(1)] };
        }),
        ("a tenant of nobody", |r| r.tenants[0].tenant = tenant("b")),
        ("finer than its input", |r| r.resolution_ms = -1),
    ] {
        let mut wrong = whole();
        fault(&mut wrong.added[0]);
        assert_eq!(bench.refused(command(wrong)), Reason::BadRecord, "{what}");
    }
    let twice = replace(work, epoch, &inputs, vec![made(), made()]);
    assert_eq!(bench.refused(command(twice)), Reason::BadRecord);
    // Duplicates and deletes make samples fewer, down to none at all.
    bench.ok(command(replace(work, epoch, &inputs, vec![])));
    assert_eq!(visible(&bench), [] as [u128; 0]);
}

#[test]
fn blocks_expire_when_every_tenant_is_done_with_them() {
    let mut bench = Bench::with_tenant();
    let a = bench.commit(1, 1, 1, "a");
    let expire = |now_ms| Command::ExpireBlocks { blocks: vec![BlockId(1)], now_ms };
    assert_eq!(bench.refused(expire(i64::MAX)), Reason::NotExpired, "kept for ever");
    bench.ok(Command::SetRetention { tenant: None, retention_ms: Some(500) });
    bench.ok(Command::SetRetention { tenant: Some(tenant("a")), retention_ms: Some(1_000) });
    assert_eq!(bench.refused(expire(1_999)), Reason::NotExpired);
    let (work, epoch) = lease(&mut bench, &[&a]);
    bench.ok(expire(2_000));
    assert!(bench.catalog.pending().contains_key(&a.id));
    let late = replace(work, epoch, &[&a], vec![output(3, work, &[&a])]);
    assert_eq!(bench.refused(command(late)), Reason::UnknownWork, "it would bring samples back");
    assert_eq!(bench.refused(expire(2_000)), Reason::UnknownBlock);
}

#[test]
fn refusals_are_forgotten_when_there_are_too_many_and_they_are_old() {
    const DAY_MS: i64 = 86_400_000;
    let mut bench = Bench::with_tenant();
    let made = BlockRecord { created_ms: 30 * DAY_MS, ..record(1, 1, 1, "a") };
    bench.ok(commit(&bench.catalog, made));
    let id = |day: i64, n: usize| BlockId::new(day * DAY_MS, n as u128);
    let refuse =
        |n, now_day: i64| Command::RefuseBlock { block: id(30, n), now_ms: now_day * DAY_MS };
    bench.ok(Command::RefuseBlock { block: id(22, 1), now_ms: i64::MAX });
    bench.catalog.refused.extend((0..REFUSED_MAX - 1).map(|n| id(24, n)));
    assert!(bench.catalog.is_refused(id(22, 1)), "while there is room");
    let full = bench.apply(refuse(1, 28)).expect_err("none is old enough");
    assert_eq!(full.reason, Reason::Limit);
    bench.ok(refuse(1, 30));
    assert!(!bench.catalog.is_refused(id(22, 1)), "it is older than a week");
    assert!(bench.catalog.is_refused(id(24, 1)) && bench.catalog.is_refused(id(30, 1)));
    let full = bench.apply(refuse(2, 99_999)).expect_err("the clock is not believed");
    assert_eq!(full.reason, Reason::Limit);
}

#[test]
fn a_node_that_leaves_holds_nothing() {
    let mut bench = Bench::with_tenant();
    bench.ok(Command::RegisterNode { node: crate::testdata::node(4), now_ms: 1 });
    let a = bench.commit(1, 1, 1, "a");
    let four = NodeId(4);
    let reply = bench.ok(grant(Grant::New(spec(&[&a])), four));
    let CommandReply::Leased { item, epoch } = reply else { panic!("a lease") };
    bench.ok(Command::RemoveNode { node: four });
    let renew = Command::RenewLease { work: item.id, holder: four, epoch, now_ms: 1 };
    assert_eq!(bench.refused(renew), Reason::LeaseLost);
    bench.ok(grant(Grant::Again { work: item.id, epoch }, ONE));
}
