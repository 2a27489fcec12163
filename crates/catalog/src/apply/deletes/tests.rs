//! Which samples a delete reaches, and when it may be forgotten.

use bytes::Bytes;
use pando_model::{BlockId, Epoch, Matcher, NodeId, SeriesKey, TimeRange};

use super::*;
use crate::blocks_view::BlocksView;
use crate::command::{Command, Grant, ReplaceBlocks, SealResult, Successor};
use crate::error::Reason;
use crate::testdata::{Bench, keys, output, tenant};
use crate::work::{WorkKind, WorkSpec};

fn delete(fences: &[(u64, u64)]) -> NewDelete {
    NewDelete {
        tenant: tenant("a"),
        matchers: vec![Matcher::equal("job", "x")],
        time: TimeRange { min_ms: 0, max_ms: 500 },
        fences: fences.iter().map(|(shard, cut)| (ShardId(*shard), Cut(*cut))).collect(),
        now_ms: 3,
    }
}

fn forget(number: u64) -> Command {
    Command::ForgetDeletes { numbers: vec![number] }
}

fn concerned(bench: &Bench, block: u128) -> bool {
    let entry = &bench.catalog.blocks()[&BlockId(block)];
    bench.catalog.deletes().values().any(|delete| entry.concerned_by(delete))
}

#[test]
fn a_delete_reaches_what_was_there_when_it_was_ordered() {
    let mut bench = Bench::with_tenant();
    bench.commit(1, 1, 1, "a");
    let reply = bench.ok(Command::AddDelete(delete(&[(1, 2)])));
    assert_eq!(reply, CommandReply::DeleteAdded(1));
    bench.commit(2, 1, 2, "a");
    bench.commit(3, 1, 3, "a");
    assert!(concerned(&bench, 1) && concerned(&bench, 2) && !concerned(&bench, 3));
    let mut view = BlocksView::new();
    view.apply(&bench.catalog.blocks_since(pando_model::CatalogVersion(0)).expect("all"))
        .expect("fits");
    let reached = |cut| view.deletes()[&1].covers_generation(ShardId(1), Cut(cut));
    assert_eq!((reached(2), reached(3)), (true, false));
    let of_block =
        |id| view.deletes_of_block(view.block(BlockId(id)).expect("there"), &tenant("a"));
    assert_eq!((of_block(2).len(), of_block(3).len()), (1, 0));
}

#[test]
fn a_fence_never_lies_before_what_is_committed() {
    let mut bench = Bench::with_tenant();
    bench.commit(1, 1, 1, "a");
    bench.commit(2, 1, 2, "a");
    bench.ok(Command::AddDelete(delete(&[(1, 1)])));
    assert!(concerned(&bench, 2));
}

#[test]
fn a_delete_is_forgotten_when_nothing_from_before_it_is_left() {
    let mut bench = Bench::with_tenant();
    let one = bench.commit(1, 1, 1, "a");
    bench.ok(Command::AddDelete(delete(&[(1, 2)])));
    assert_eq!(bench.refused(forget(1)), Reason::DeleteNeeded);
    let two = bench.commit(2, 1, 2, "a");
    assert_eq!(bench.refused(forget(1)), Reason::DeleteNeeded);
    let spec = WorkSpec {
        kind: WorkKind::Merge,
        inputs: vec![BlockId(1), BlockId(2)],
        window: one.time,
        level: 1,
    };
    let grant = Command::GrantLease { grant: Grant::New(spec), holder: NodeId(1), now_ms: 1 };
    let CommandReply::Leased { item, epoch } = bench.ok(grant) else { panic!("a lease") };
    assert_eq!((item.deletes_upto, epoch), (1, Epoch(1)));
    // A second delete comes while the work is going on: its output has to be written anew.
    bench.ok(Command::AddDelete(delete(&[(1, 2)])));
    let made = output(3, item.id, &[&one, &two]);
    bench.ok(Command::ReplaceBlocks(Box::new(ReplaceBlocks {
        work: item.id,
        holder: NodeId(1),
        epoch,
        removed: item.spec.inputs,
        kept: made.digest,
        added: vec![made],
        now_ms: 5,
    })));
    bench.ok(forget(1));
    assert_eq!(bench.refused(forget(2)), Reason::DeleteNeeded);
    assert_eq!(bench.refused(forget(1)), Reason::UnknownDelete);
}

#[test]
fn without_a_fence_the_whole_shard_is_reached_until_it_closes() {
    let mut bench = Bench::with_tenant();
    bench.ok(Command::AddDelete(delete(&[])));
    bench.commit(1, 1, 1, "a");
    assert!(concerned(&bench, 1));
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
    bench.commit(2, 2, 1, "a");
    assert!(!concerned(&bench, 2), "the successor is younger than the delete");
    bench.ok(Command::CloseShard { shard: ShardId(1), now_ms: 1 });
    assert_eq!(bench.refused(forget(1)), Reason::DeleteNeeded, "block 1 is still there");
    bench.ok(Command::SetRetention { tenant: None, retention_ms: Some(1) });
    bench.ok(Command::ExpireBlocks { blocks: vec![BlockId(1)], now_ms: 9_999 });
    bench.ok(forget(1));
}

#[test]
fn deletes_of_nothing_are_refused() {
    let mut bench = Bench::with_tenant();
    let stranger = NewDelete { tenant: tenant("b"), ..delete(&[]) };
    assert_eq!(bench.refused(Command::AddDelete(stranger)), Reason::UnknownTenant);
    let empty = NewDelete { time: TimeRange { min_ms: 5, max_ms: 5 }, ..delete(&[]) };
    assert_eq!(bench.refused(Command::AddDelete(empty)), Reason::BadCommand);
    let many = NewDelete { matchers: vec![Matcher::equal("a", "b"); 65], ..delete(&[]) };
    assert_eq!(bench.refused(Command::AddDelete(many)), Reason::Limit);
    bench.ok(Command::AssignTenant {
        tenant: tenant("b"),
        route: vec![(SeriesKey(u64::MAX), ShardId(1))],
    });
}
