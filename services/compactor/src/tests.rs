//! A compactor between a store in memory and a controller with a real catalog.

mod support;

use std::time::Duration;

use object_store::ObjectStoreExt as _;
use pando_catalog::layout::block_path;
use pando_catalog::{Command, NewDelete, ReplaceBlocks, WorkEnd, WorkKind, WorkSpec};
use pando_model::{
    BlockId, BlockRecord, BlockSource, Cut, Epoch, ErrorKind, Matcher, ShardId, TimeRange,
};

use crate::CompactError;
use support::*;

fn spec(kind: WorkKind, inputs: &[&BlockRecord]) -> WorkSpec {
    let mut ids: Vec<BlockId> = inputs.iter().map(|record| record.id).collect();
    ids.sort_unstable();
    let window = TimeRange { min_ms: 0, max_ms: 7_200_000 };
    WorkSpec { kind, inputs: ids, window, level: 1 }
}

/// The commands that replace blocks, in the order of their arrival.
fn replacements(state: &State) -> Vec<&ReplaceBlocks> {
    state
        .proposed
        .iter()
        .filter_map(|command| match command {
            Command::ReplaceBlocks(replace) => Some(replace.as_ref()),
            _ => None,
        })
        .collect()
}

fn is_done(state: &State) -> bool {
    state.work.is_empty() && state.catalog.leases().is_empty()
}

/// The only block of the catalog.
fn only_block(controller: &Controller) -> BlockRecord {
    controller.read(|catalog| {
        assert_eq!(catalog.blocks().len(), 1);
        catalog.blocks().values().next().expect("one").record.clone()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_replaces_its_inputs_by_what_they_hold_together() {
    let bench = Bench::new().await;
    // Overlapping times, equal samples, and other values at equal times.
    let generations = [
        vec![series("a", "x", 0, 1.0), series("a", "y", 0, 1.0), series("b", "x", 0, 1.0)],
        vec![series("a", "x", 100, 11.0), series("a", "y", 0, 1.0)],
        vec![series("a", "x", 50, 500.0), series("b", "z", 0, 3.0)],
    ];
    let mut records = Vec::new();
    for (cut, generation) in (1..).zip(&generations) {
        records.push(bench.commit(cut, generation).await);
    }
    bench.order(spec(WorkKind::Merge, &records.iter().collect::<Vec<_>>()));
    let compactor = bench.start();
    bench.controller.until(is_done).await;

    let output = only_block(&bench.controller);
    let expected = Content::of(&[&generations[0], &generations[1], &generations[2]]);
    assert_eq!(bench.content(&output).await, expected);
    assert_eq!(output.digest, expected.digest());
    assert_eq!(output.level, 1);
    let sources: Vec<BlockId> = records.iter().map(|record| record.id).collect();
    assert_eq!(output.source, BlockSource::Compaction { work: 1, sources: sources.clone() });
    {
        let state = bench.controller.state.lock();
        let replaced = replacements(&state);
        assert_eq!(replaced.len(), 1);
        assert_eq!((replaced[0].work, replaced[0].holder), (1, OWN));
        assert_eq!((replaced[0].epoch, &replaced[0].removed), (Epoch(1), &sources));
        assert_eq!(replaced[0].kept, expected.digest());
        assert_eq!(replaced[0].added, std::slice::from_ref(&output));
    }
    // The controllers remove what was replaced, later.
    assert_eq!(bench.objects().await.len(), 4);
    while compactor.is_working() {
        tokio::task::yield_now().await;
    }
    assert!(bench.metric("pando_compactor_runs_total{end=\"done\"} 1"));
    let samples = expected.digest().samples;
    assert!(bench.metric(&format!("pando_compactor_output_samples_total {samples}")));
    assert!(bench.metric("pando_compactor_input_samples_total 140"));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletes_take_what_was_there_and_spare_what_came_later() {
    let bench = Bench::new().await;
    let before =
        vec![series("a", "gone", 0, 1.0), series("a", "kept", 0, 1.0), series("b", "gone", 0, 1.0)];
    let after = vec![series("a", "gone", 100, 7.0)];
    let first = bench.commit(1, &before).await;
    bench.controller.apply(Command::AddDelete(NewDelete {
        tenant: tenant("a"),
        matchers: vec![Matcher::equal("job", "gone")],
        time: TimeRange { min_ms: 50, max_ms: 150 },
        fences: vec![(ShardId(1), Cut(1))],
        now_ms: 0,
    }));
    let second = bench.commit(2, &after).await;
    bench.order(spec(WorkKind::Merge, &[&first, &second]));
    let _compactor = bench.start();
    bench.controller.until(is_done).await;
    let mut expected = Content::of(&[&before]);
    expected.retain(|tenant, labels, t| {
        tenant.as_str() != "a" || labels.value("job") != "gone" || !(50..150).contains(&t)
    });
    after.iter().for_each(|(tenant, series)| expected.add(tenant, series));
    let output = only_block(&bench.controller);
    assert_eq!(bench.content(&output).await, expected);
    assert_eq!(output.digest, expected.digest());
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewrite_of_what_has_all_expired_leaves_nothing() {
    let bench = Bench::new().await;
    let old = bench.commit(1, &[series("a", "x", 0, 1.0)]).await;
    let set = Command::SetRetention { tenant: Some(tenant("a")), retention_ms: Some(1_000) };
    bench.controller.apply(set);
    bench.clock.advance(Duration::from_secs(3_600));
    bench.order(spec(WorkKind::Rewrite, &[&old]));
    let _compactor = bench.start();
    bench.controller.until(is_done).await;
    assert!(bench.controller.read(|catalog| catalog.blocks().is_empty()));
    {
        let state = bench.controller.state.lock();
        let replaced = replacements(&state);
        assert!(replaced[0].added.is_empty());
        assert_eq!(replaced[0].kept.samples, 0);
    }
    assert_eq!(bench.objects().await.len(), 1, "nothing was written");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewrite_that_would_take_nothing_is_not_done() {
    let bench = Bench::new().await;
    let record = bench.commit(1, &[series("a", "x", 0, 1.0)]).await;
    bench.order(spec(WorkKind::Rewrite, &[&record]));
    let _compactor = bench.start();
    bench.controller.until(is_done).await;
    assert_eq!(only_block(&bench.controller), record);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lost_the_lease_changes_nothing_and_takes_its_object_back() {
    let bench = Bench::new().await;
    let records = [
        bench.commit(1, &[series("a", "x", 0, 1.0)]).await,
        bench.commit(2, &[series("a", "x", 500, 1.0)]).await,
    ];
    bench.order(spec(WorkKind::Merge, &[&records[0], &records[1]]));
    bench.controller.hook(|catalog, command| {
        if matches!(command, Command::ReplaceBlocks(_)) {
            steal_lease(catalog);
        }
        Fate::Arrives
    });
    let _compactor = bench.start();
    let refused = |state: &State| {
        let mut refused = state.proposed.iter().filter_map(|command| match command {
            Command::RefuseBlock { block, .. } => Some(*block),
            _ => None,
        });
        refused.next()
    };
    // The release of a lease that is not ours any more is the last that is heard of the work.
    let released =
        |state: &State| state.proposed.iter().any(|c| matches!(c, Command::ReleaseLease { .. }));
    bench.controller.until(released).await;
    let own = refused(&bench.controller.state.lock()).expect("its own block is refused");
    bench.controller.read(|catalog| {
        assert!(catalog.is_refused(own), "nobody can bring it in later");
        let named: Vec<BlockId> = catalog.blocks().keys().copied().collect();
        assert_eq!(named, [records[0].id, records[1].id]);
        let lease = catalog.leases().values().next().expect("the thief's");
        assert_eq!((lease.holder, lease.failures), (Some(OTHER), 0));
    });
    let objects = bench.objects().await;
    assert_eq!(objects.into_iter().collect::<Vec<_>>(), [records[0].id, records[1].id]);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_no_failure_and_deletes_nothing() {
    let bench = Bench::new().await;
    let generations = [vec![series("a", "x", 0, 1.0)], vec![series("a", "x", 500, 1.0)]];
    let records = [bench.commit(1, &generations[0]).await, bench.commit(2, &generations[1]).await];
    bench.order(spec(WorkKind::Merge, &[&records[0], &records[1]]));
    let mut lost = 0;
    bench.controller.hook(move |_, command| match command {
        Command::ReplaceBlocks(_) if lost == 0 => {
            lost += 1;
            Fate::AnswerLost
        }
        _ => Fate::Arrives,
    });
    let compactor = bench.start();
    let asked = |state: &State| {
        state.proposed.iter().any(|command| matches!(command, Command::RefuseBlock { .. }))
    };
    bench.controller.until(asked).await;
    let output = only_block(&bench.controller);
    let expected = Content::of(&[&generations[0], &generations[1]]);
    assert_eq!(bench.content(&output).await, expected, "what is named stays");
    while compactor.is_working() {
        tokio::task::yield_now().await;
    }
    assert!(bench.metric("pando_compactor_runs_total{end=\"done\"} 1"));
    assert!(bench.metric("pando_compactor_blocks_replaced_total 2"));
    let state = bench.controller.state.clone();
    bench.stop().await;
    assert!(!state.lock().proposed.iter().any(|c| matches!(c, Command::ReleaseLease { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_input_fails_the_work_until_it_is_quarantined() {
    let bench = Bench::new().await;
    let records = [
        bench.commit(1, &[series("a", "x", 0, 1.0)]).await,
        bench.commit(2, &[series("a", "x", 500, 1.0)]).await,
    ];
    let path = block_path(records[1].id);
    let mut bytes =
        bench.store.get(&path).await.expect("there").bytes().await.expect("memory").to_vec();
    bytes[40] ^= 1;
    bench.store.put(&path, bytes.into()).await.expect("memory");
    bench.order(spec(WorkKind::Merge, &[&records[0], &records[1]]));
    let compactor = bench.start();
    let quarantined =
        |state: &State| state.catalog.leases().values().any(|lease| lease.is_quarantined());
    bench.controller.until(quarantined).await;
    assert_eq!(bench.controller.read(|catalog| catalog.blocks().len()), 2);
    assert_eq!(bench.objects().await.len(), 2, "nothing half done is left");

    // Everything else goes on.
    let others = [
        bench.commit(3, &[series("b", "x", 0, 1.0)]).await,
        bench.commit(4, &[series("b", "x", 500, 1.0)]).await,
    ];
    bench.order(spec(WorkKind::Merge, &[&others[0], &others[1]]));
    bench.controller.until(|state| state.catalog.blocks().len() == 3).await;
    while compactor.is_working() {
        tokio::task::yield_now().await;
    }
    assert!(bench.metric("pando_compactor_runs_total{end=\"failed\"} 5"));
    assert!(bench.metric("prometheus_tsdb_compactions_failed_total 5"));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compactor_that_stops_gives_its_lease_back() {
    let bench = Bench::new().await;
    let records = [
        bench.commit(1, &[series("a", "x", 0, 1.0)]).await,
        bench.commit(2, &[series("a", "x", 500, 1.0)]).await,
    ];
    // Its view never gets as far as its lease, so that it waits.
    bench.controller.watched.send_replace(false);
    bench.order(spec(WorkKind::Merge, &[&records[0], &records[1]]));
    let _compactor = bench.start();
    let renewed = |state: &State| {
        state.proposed.iter().any(|command| matches!(command, Command::RenewLease { .. }))
    };
    bench.controller.until(renewed).await;
    let controller = bench.controller.clone();
    bench.stop().await;
    controller.read(|catalog| {
        let lease = catalog.leases().values().next().expect("the work remains");
        assert_eq!((lease.holder, lease.failures), (None, 0));
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lease_is_renewed_and_its_loss_ends_the_work() {
    let bench = Bench::with_lease(Duration::from_millis(60)).await;
    let records = [
        bench.commit(1, &[series("a", "x", 0, 1.0)]).await,
        bench.commit(2, &[series("a", "x", 500, 1.0)]).await,
    ];
    bench.controller.watched.send_replace(false);
    bench.order(spec(WorkKind::Merge, &[&records[0], &records[1]]));
    let compactor = bench.start();
    let renewals = |state: &State| {
        let renewals = state.proposed.iter();
        renewals.filter(|command| matches!(command, Command::RenewLease { .. })).count()
    };
    bench.controller.until(|state| renewals(state) >= 4).await;
    assert!(compactor.is_working());
    steal_lease(&mut bench.controller.state.lock().catalog);
    let released = |state: &State| {
        state.proposed.iter().any(|command| matches!(command, Command::ReleaseLease { .. }))
    };
    bench.controller.until(released).await;
    while compactor.is_working() {
        tokio::task::yield_now().await;
    }
    assert!(bench.metric("pando_compactor_runs_total{end=\"lost\"} 1"));
    assert_eq!(bench.objects().await.len(), 2);
    bench.stop().await;
}

#[test]
fn what_time_heals_does_not_count_towards_quarantine() {
    use pando_cluster::ProposeError;
    let status = pando_rpc::status(ErrorKind::Unavailable, "no leader");
    let source = ProposeError::Call(status);
    let heals = [
        CompactError::Stopping,
        CompactError::LeaseLost { work: 1 },
        CompactError::InputGone { block: BlockId(1) },
        CompactError::Propose { what: "blocks are not replaced", source },
    ];
    assert!(heals.iter().all(|error| error.work_end() == WorkEnd::GivenBack));
    let gone = pando_executor::ExecuteError::Stale("block is gone".to_string());
    let faults = [CompactError::Open(gone), CompactError::Task("panicked".to_string())];
    assert!(faults.iter().all(|error| error.work_end() == WorkEnd::Failed));
}
