//! What the bucket says is what the catalog said.

use pando_model::{NodeId, ShardId};

use super::*;
use crate::command::{Command, Grant, ReplaceBlocks};
use crate::testdata::{Bench, keys, output, record, tenant};
use crate::work::{WorkKind, WorkSpec};
use crate::{CommandReply, NewDelete};

const CLUSTER: ClusterId = ClusterId(7);

fn lease(bench: &mut Bench, inputs: &[&BlockRecord]) -> (u64, pando_model::Epoch) {
    let spec = WorkSpec {
        kind: WorkKind::Merge,
        inputs: inputs.iter().map(|r| r.id).collect(),
        window: inputs[0].time,
        level: 1,
    };
    let grant = Command::GrantLease { grant: Grant::New(spec), holder: NodeId(1), now_ms: 1 };
    let CommandReply::Leased { item, epoch } = bench.ok(grant) else { panic!("a lease") };
    (item.id, epoch)
}

fn merge(bench: &mut Bench, id: u128, inputs: &[&BlockRecord]) -> BlockRecord {
    let (work, epoch) = lease(bench, inputs);
    let made = output(id, work, inputs);
    bench.ok(Command::ReplaceBlocks(Box::new(ReplaceBlocks {
        work,
        holder: NodeId(1),
        epoch,
        removed: inputs.iter().map(|r| r.id).collect(),
        kept: made.digest,
        added: vec![made.clone()],
        now_ms: 5,
    })));
    made
}

fn ids(catalog: &Catalog) -> Vec<u128> {
    catalog.blocks().keys().map(|id| id.0).collect()
}

#[test]
fn a_current_snapshot_gives_the_same_blocks() {
    let mut bench = Bench::with_tenant();
    let (a, b) = (bench.commit(1, 1, 1, "a"), bench.commit(2, 1, 2, "a"));
    let made = merge(&mut bench, 3, &[&a, &b]);
    let orphan = record(9, 1, 2, "a");
    let bucket = vec![a, b, made, orphan];
    let snapshot = Some(bench.catalog.clone());
    let (mut rebuilt, report) = rebuild_from_footers(CLUSTER, bucket, snapshot, ShardFate::Kept);
    assert_eq!(ids(&rebuilt), [3]);
    assert_eq!(report.hidden, [1, 2, 9].map(BlockId));
    assert!(rebuilt.version() > bench.catalog.version(), "pins of old members stay behind");
    assert_eq!(rebuilt.shards()[&ShardId(1)].next_cut, Cut(3));
    // It works on: the log begins with 1 again, and no id is given twice.
    let open = Command::OpenShards { members: vec![vec![NodeId(1)]], now_ms: 1 };
    let reply = rebuilt.apply(1, &open).expect("applies");
    assert!(matches!(reply, CommandReply::Shards(ids) if ids[0] > ShardId(LEAP)));
}

#[test]
fn commits_after_the_snapshot_are_found() {
    let mut bench = Bench::with_tenant();
    let a = bench.commit(1, 1, 1, "a");
    let snapshot = bench.catalog.clone();
    let (b, c) = (bench.commit(2, 1, 2, "a"), bench.commit(3, 1, 3, "a"));
    let loser = record(8, 1, 2, "a");
    let early = record(9, 1, 5, "a");
    let bucket = vec![a, b, c, loser, early];
    let rebuild = |fate| {
        let (catalog, report) =
            rebuild_from_footers(CLUSTER, bucket.clone(), Some(snapshot.clone()), fate);
        (ids(&catalog), catalog, report)
    };
    let (kept, catalog, _) = rebuild(ShardFate::Kept);
    assert_eq!(kept, [1, 2, 3], "what follows a gap is still live");
    assert_eq!(catalog.shards()[&ShardId(1)].next_cut, Cut(4));
    let (lost, catalog, report) = rebuild(ShardFate::Lost);
    assert_eq!(lost, [1, 2, 3, 9], "nobody else has these samples");
    assert!(catalog.shards().is_empty() && catalog.tenants()[&tenant("a")].route.is_none());
    assert_eq!((report.visible, report.recovered), (4, 3));
}

#[test]
fn a_merge_counts_only_where_its_commit_is_certain() {
    let mut bench = Bench::with_tenant();
    let (a, b) = (bench.commit(1, 1, 1, "a"), bench.commit(2, 1, 2, "a"));
    let snapshot = bench.catalog.clone();
    let made = merge(&mut bench, 3, &[&a, &b]);
    let rebuild = |bucket: Vec<&BlockRecord>, snapshot: Option<&Catalog>| {
        let bucket = bucket.into_iter().cloned().collect();
        let (catalog, _) =
            rebuild_from_footers(CLUSTER, bucket, snapshot.cloned(), ShardFate::Lost);
        ids(&catalog)
    };
    let old = Some(&snapshot);
    assert_eq!(
        rebuild(vec![&a, &b, &made], old),
        [1, 2],
        "the merge may never have been committed"
    );
    assert_eq!(rebuild(vec![&b, &made], old), [2, 3], "merged by readers");
    assert_eq!(rebuild(vec![&made], None), [3]);
    let c = bench.commit(4, 1, 3, "a");
    let upper = merge(&mut bench, 5, &[&made, &c]);
    assert_eq!(rebuild(vec![&a, &b, &made, &c, &upper], old), [3, 4], "an input was compacted on");
    assert_eq!(rebuild(vec![&a, &b, &made, &c], Some(&bench.catalog)), [] as [u128; 0]);
}

#[test]
fn lost_objects_are_named_and_deletes_stay() {
    let mut bench = Bench::with_tenant();
    let a = bench.commit(1, 1, 1, "a");
    bench.commit(2, 1, 2, "a");
    bench.ok(Command::AddDelete(NewDelete {
        tenant: tenant("a"),
        matchers: vec![],
        time: a.time,
        fences: vec![(ShardId(1), Cut(3))],
        now_ms: 1,
    }));
    let snapshot = bench.catalog.clone();
    let (c, d) = (bench.commit(3, 1, 3, "a"), bench.commit(4, 1, 4, "a"));
    let bucket = vec![a, c, d];
    let (rebuilt, report) = rebuild_from_footers(CLUSTER, bucket, Some(snapshot), ShardFate::Lost);
    assert_eq!(report.missing, [BlockId(2)]);
    assert_eq!(ids(&rebuilt), [1, 3, 4]);
    let delete = &rebuilt.deletes()[&1];
    let hidden = |id: u128| rebuilt.blocks()[&BlockId(id)].concerned_by(delete);
    assert!(hidden(1) && hidden(3) && !hidden(4));
    assert_eq!(rebuilt.blocks()[&BlockId(4)].record.tenants[0].keys, keys(0, u64::MAX));
}
