//! What is merged with what, and when.

use pando_catalog::{CommandReply, NewDelete, ReplaceBlocks, WorkEnd};
use pando_model::{BlockRecord, Cut, Digest, Epoch, KeyRange};

use super::*;
use crate::testdata::{Cluster, record, tenant};

const HOUR: i64 = 3_600_000;

/// Two shards; tenant "big" on both halves, "small" on shard 1.
fn cluster() -> Cluster {
    let mut cluster = Cluster::with_ingesters(&["z"]);
    cluster.open(&[&[1], &[1]]);
    let (half, all) = (SeriesKey(u64::MAX / 2), SeriesKey(u64::MAX));
    let route = vec![(half, ShardId(1)), (all, ShardId(2))];
    cluster.ok(Command::AssignTenant { tenant: tenant("big"), route });
    let route = vec![(all, ShardId(1))];
    cluster.ok(Command::AssignTenant { tenant: tenant("small"), route });
    cluster
}

fn range(shard: u64) -> KeyRange {
    let half = u64::MAX / 2;
    match shard {
        1 => KeyRange { last: SeriesKey(half), ..KeyRange::ALL },
        _ => KeyRange { first: SeriesKey(half + 1), ..KeyRange::ALL },
    }
}

/// The block of a cut of an hour: cut 1 ends at hour 1.
fn hour(shard: u64, cut: u64) -> BlockRecord {
    let end = cut as i64 * HOUR;
    let id = u128::from(shard * 1_000 + cut);
    let mut made = record(id, (shard, cut), (end - HOUR, end), &["big"]);
    made.tenants[0].keys = range(shard);
    made
}

fn plan(cluster: &Cluster, now_ms: i64) -> Vec<(WorkKind, u32, Vec<u128>)> {
    let plan = compaction_plan(&cluster.catalog, now_ms, &CompactionSettings::default());
    plan.into_iter()
        .map(|work| (work.kind, work.level, work.inputs.iter().map(|id| id.0).collect()))
        .collect()
}

/// Does the first planned work item.
fn work(cluster: &mut Cluster, id: u128, now_ms: i64) {
    let node = NodeId(1);
    let settings = CompactionSettings::default();
    let grant = next_grant(&cluster.catalog, &settings, &BTreeSet::new(), node, now_ms);
    let reply = cluster.ok(grant.expect("something to do"));
    let CommandReply::Leased { item, epoch } = reply else { panic!("a lease") };
    let inputs = item.spec.inputs.iter().map(|id| &cluster.catalog.blocks()[id].record);
    let inputs: Vec<BlockRecord> = inputs.cloned().collect();
    let mut made = inputs[0].clone();
    made.id = BlockId(id);
    made.level = item.spec.level;
    made.source = BlockSource::Compaction { work: item.id, sources: item.spec.inputs.clone() };
    made.digest = Digest::default();
    for input in &inputs {
        made.digest.merge(input.digest);
        made.time = made.time.union(input.time);
    }
    made.tenants[0].time = made.time;
    let others: u64 = made.tenants[1..].iter().map(|span| span.samples).sum();
    made.tenants[0].samples = made.digest.samples - others;
    made.created_ms = now_ms;
    cluster.ok(Command::ReplaceBlocks(Box::new(ReplaceBlocks {
        work: item.id,
        holder: node,
        epoch,
        removed: item.spec.inputs,
        kept: made.digest,
        added: vec![made],
        now_ms,
    })));
}

#[test]
fn a_window_is_merged_shard_by_shard_once_it_is_over_and_quiet() {
    let mut cluster = cluster();
    for cut in 1..=3 {
        cluster.commit(hour(1, cut));
        cluster.commit(hour(2, cut));
    }
    assert_eq!(plan(&cluster, 5 * HOUR - 1), []);
    let merges =
        [(WorkKind::Merge, 1, vec![1_001, 1_002]), (WorkKind::Merge, 1, vec![2_001, 2_002])];
    assert_eq!(plan(&cluster, 5 * HOUR), merges);
    assert_eq!(plan(&cluster, 50 * HOUR)[..2], merges, "block 3 is alone in its window");
}

#[test]
fn longer_windows_merge_what_has_keys_in_common() {
    let mut cluster = cluster();
    for cut in 1..=4 {
        cluster.commit(hour(1, cut));
        cluster.commit(hour(2, cut));
    }
    for id in 1..=4 {
        work(&mut cluster, id, 8 * HOUR);
    }
    assert_eq!(plan(&cluster, 14 * HOUR), [], "the window is not quiet yet");
    let merges = plan(&cluster, 15 * HOUR);
    assert_eq!(merges, [(WorkKind::Merge, 2, vec![1, 3]), (WorkKind::Merge, 2, vec![2, 4])]);
    let spec = &compaction_plan(&cluster.catalog, 15 * HOUR, &CompactionSettings::default())[0];
    assert_eq!(spec.window, TimeRange { min_ms: 0, max_ms: 12 * HOUR });
}

#[test]
fn large_groups_become_several_work_items() {
    let mut cluster = cluster();
    for cut in 1..=8u64 {
        let minute = |n: u64| n as i64 * 60_000;
        let mut made = record(cut.into(), (1, cut), (minute(cut), minute(cut + 1)), &["big"]);
        made.tenants[0].keys = range(1);
        cluster.commit(made);
    }
    let by = |settings: CompactionSettings| -> Vec<usize> {
        let plan = compaction_plan(&cluster.catalog, 9 * HOUR, &settings);
        plan.iter().map(|work| work.inputs.len()).collect()
    };
    let default = CompactionSettings::default;
    assert_eq!(by(default()), [8]);
    assert_eq!(by(CompactionSettings { inputs_max: 3, ..default() })[..3], [3, 3, 2]);
    assert_eq!(by(CompactionSettings { input_bytes_max: 4_000, ..default() })[..2], [4, 4]);
    assert_eq!(by(CompactionSettings { inputs_max: 3, items_max: 1, ..default() }), [3]);
    let level_one = CompactionSettings { windows_ms: vec![2 * HOUR], ..default() };
    assert_eq!(by(CompactionSettings { input_bytes_max: 900, ..level_one }), [0; 0]);
}

#[test]
fn what_deletes_and_retention_hide_is_written_anew() {
    let mut cluster = cluster();
    cluster.commit(hour(2, 1));
    let mut both = record(7, (1, 1), (0, HOUR), &["big", "small"]);
    both.tenants[0].keys = range(1);
    cluster.commit(both);
    assert_eq!(plan(&cluster, 4 * HOUR), []);
    cluster.ok(Command::AddDelete(NewDelete {
        tenant: tenant("big"),
        matchers: vec![],
        time: TimeRange { min_ms: 0, max_ms: 5 },
        fences: vec![(ShardId(1), Cut(0)), (ShardId(2), Cut(1))],
        now_ms: 4 * HOUR,
    }));
    let anew = (WorkKind::Rewrite, 0);
    assert_eq!(plan(&cluster, 4 * HOUR - 1), []);
    let both = [(anew.0, anew.1, vec![7]), (anew.0, anew.1, vec![2_001])];
    assert_eq!(plan(&cluster, 4 * HOUR), both);
    work(&mut cluster, 50, 4 * HOUR);
    work(&mut cluster, 51, 4 * HOUR);
    assert_eq!(plan(&cluster, 9 * HOUR), [], "applied");
    let keep = Some(HOUR as u64);
    cluster.ok(Command::SetRetention { tenant: Some(tenant("small")), retention_ms: keep });
    assert_eq!(
        plan(&cluster, 9 * HOUR),
        [(anew.0, anew.1, vec![50])],
        "one of two tenants is done"
    );
}

#[test]
fn leases_that_ended_come_first_and_quarantined_work_never() {
    let mut cluster = cluster();
    for cut in 1..=2 {
        cluster.commit(hour(1, cut));
        cluster.commit(hour(2, cut));
    }
    let settings = CompactionSettings::default();
    let node = NodeId(1);
    let next = |cluster: &Cluster, run_out: &[u64]| {
        let run_out = run_out.iter().copied().collect();
        next_grant(&cluster.catalog, &settings, &run_out, node, 9 * HOUR)
    };
    let grant = |command: Option<Command>| match command {
        Some(Command::GrantLease { grant, .. }) => Some(grant),
        other => panic!("not expected: {other:?}"),
    };
    cluster.ok(next(&cluster, &[]).expect("work"));
    cluster.ok(next(&cluster, &[]).expect("work"));
    assert_eq!(next(&cluster, &[]), None, "all is leased");
    let again = |work, epoch| Some(Grant::Again { work, epoch: Epoch(epoch) });
    assert_eq!(grant(next(&cluster, &[2])), again(2, 1));
    for epoch in 1..=5 {
        let (end, epoch) = (WorkEnd::Failed, Epoch(epoch));
        cluster.ok(Command::ReleaseLease { work: 1, holder: node, epoch, end });
        if epoch < Epoch(5) {
            assert_eq!(grant(next(&cluster, &[])), again(1, epoch.0));
            cluster.ok(next(&cluster, &[]).expect("work"));
        }
    }
    assert_eq!(next(&cluster, &[]), None, "quarantined");
}
