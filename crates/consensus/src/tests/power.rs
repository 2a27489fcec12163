//! The power goes, on one member or on all at once.

use std::time::Duration;

use pando_runtime::disk::{DiskFault, DiskOp, Tear};

use super::cluster::{Cluster, PATIENCE, verify};

async fn power_cut_of_all(cluster: &mut Cluster) {
    // All disks first: no member may profit from another's dying breath.
    for node in &mut cluster.nodes {
        node.disk = node.disk.crash(&cluster.rng, Tear::Part);
    }
    for i in 0..cluster.nodes.len() {
        cluster.kill(i, false).await;
    }
    for i in 0..cluster.nodes.len() {
        cluster.start(i).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_of_all_members_loses_nothing_acknowledged() {
    let mut cluster = Cluster::new(3, 11).await;
    for round in 0..8 {
        cluster.propose_many(5).await;
        if round % 3 == 1 {
            let some = cluster.rng.range(0, 3) as usize;
            cluster.group(some).checkpoint().await.expect("written");
        }
        power_cut_of_all(&mut cluster).await;
    }
    cluster.check().await;
}

/// The same without the fsync: the test above would notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_fsync_the_same_cut_loses_acknowledged_entries() {
    let mut cluster = Cluster::new(3, 12).await;
    cluster.propose_many(3).await;
    cluster.check().await;
    for node in &cluster.nodes {
        node.disk.ignore_sync(true);
    }
    cluster.propose_many(20).await;
    for node in &mut cluster.nodes {
        node.disk = node.disk.crash(&cluster.rng, Tear::Nothing);
    }
    for i in 0..3 {
        cluster.kill(i, false).await;
    }
    for node in &cluster.nodes {
        node.disk.ignore_sync(false);
    }
    for i in 0..3 {
        cluster.start(i).await;
    }
    for lines in cluster.journals().await {
        assert!(verify(&lines, &cluster.acknowledged).is_err(), "a disk that lies lost nothing");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_disk_fails_stops_and_the_others_go_on() {
    let mut cluster = Cluster::new(3, 13).await;
    cluster.propose().await;
    let leader = cluster.leader().await;
    let host = cluster.running(leader).host.clone();
    cluster.nodes[leader].disk.fail(DiskOp::Sync, DiskFault::Io, 0);
    cluster.propose_many(3).await;
    let tasks = cluster.running(leader).tasks.clone();
    let reason = tokio::time::timeout(PATIENCE, tasks.failed()).await.expect("in time");
    assert!(reason.contains("os error 5"), "{reason}");
    assert!(host.failure().is_some_and(|reason| reason.contains("os error 5")));
    let group = cluster.group(leader).clone();
    while group.failure().is_none() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // As the process would: it ends, and comes back with what is really on its disk.
    cluster.kill(leader, true).await;
    cluster.start(leader).await;
    cluster.propose().await;
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_while_checkpoints_are_written_leaves_old_or_new() {
    let mut cluster = Cluster::new(1, 14).await;
    for round in 0..12 {
        cluster.propose_many(4).await;
        let (disk, rng) = (cluster.nodes[0].disk.clone(), cluster.rng.clone());
        // Somewhere within: at the append, the sync, the rename or after.
        let ops = [DiskOp::Append, DiskOp::Sync, DiskOp::Rename, DiskOp::SyncDir, DiskOp::Create];
        disk.fail(ops[round % ops.len()], DiskFault::Io, rng.range(0, 2));
        let _ = tokio::time::timeout(PATIENCE, cluster.group(0).checkpoint()).await;
        cluster.kill(0, true).await;
        cluster.start(0).await;
        cluster.check().await;
    }
}
