//! Members that fell behind.

use std::time::Duration;

use super::cluster::{Cluster, GROUP, Journal, PATIENCE};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_fell_behind_the_log_gets_the_whole_state() {
    let mut cluster = Cluster::new(3, 31).await;
    cluster.propose_many(5).await;
    let lagging = (cluster.leader().await + 1) % 3;
    cluster.kill(lagging, false).await;
    cluster.propose_many(200).await;
    for i in (0..3).filter(|i| *i != lagging) {
        cluster.group(i).checkpoint().await.expect("written");
    }
    let leader = cluster.leader().await;
    let purged = async {
        // Twenty are kept, and what came after the checkpoint.
        while cluster.group(leader).log_entries() > 40 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, purged).await.expect("the log is let go");
    cluster.start(lagging).await;
    cluster.propose_many(3).await;
    cluster.check().await;
    let journal = cluster.running(lagging).journal.lines();
    assert!(journal.len() >= 208, "{}", journal.len());
    // What it was sent is on its disk: it comes back alone with it.
    cluster.kill(lagging, true).await;
    cluster.start(lagging).await;
    assert!(cluster.running(lagging).journal.lines().len() >= 200);
    cluster.check().await;
}

/// The process dies again and again while it is being sent the state.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_sent_state_does_no_harm() {
    let mut cluster = Cluster::new(3, 32).await;
    cluster.propose_many(5).await;
    let lagging = (cluster.leader().await + 1) % 3;
    cluster.kill(lagging, true).await;
    cluster.propose_many(300).await;
    for i in (0..3).filter(|i| *i != lagging) {
        cluster.group(i).checkpoint().await.expect("written");
    }
    for ms in [1, 3, 6, 10, 15, 22, 30, 45, 60] {
        cluster.start(lagging).await;
        tokio::time::sleep(Duration::from_millis(ms)).await;
        cluster.kill(lagging, true).await;
    }
    cluster.start(lagging).await;
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_slightly_behind_catches_up_from_the_log() {
    let mut cluster = Cluster::new(3, 33).await;
    cluster.propose_many(10).await;
    let lagging = (cluster.leader().await + 1) % 3;
    cluster.kill(lagging, false).await;
    cluster.propose_many(3).await;
    let leader = cluster.leader().await;
    cluster.group(leader).checkpoint().await.expect("written");
    cluster.start(lagging).await;
    cluster.check().await;
    assert!(
        cluster.nodes[lagging]
            .disk
            .shared()
            .list("/raft/checkpoints".as_ref())
            .expect("list")
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_or_damaged_checkpoint_is_refused_by_name() {
    let mut cluster = Cluster::new(1, 34).await;
    cluster.propose_many(60).await;
    cluster.group(0).checkpoint().await.expect("written");
    while cluster.group(0).log_entries() > 30 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let path = format!("/raft/checkpoints/{GROUP:016x}.checkpoint");
    let path = std::path::Path::new(&path);
    let disk = cluster.nodes[0].disk.clone();
    let host = cluster.running(0).host.clone();
    cluster.group(0).shutdown().await;
    cluster.kill(0, false).await;
    drop(host);
    disk.damage(path, 80).expect("damage");
    let refused = open(&cluster).await;
    assert!(refused.contains("checksum differs") && refused.contains(".checkpoint"), "{refused}");
    pando_runtime::disk::Disk::remove(&disk, path).expect("remove");
    let refused = open(&cluster).await;
    assert!(refused.contains("checkpoint is missing"), "{refused}");
}

/// Why the group does not open.
async fn open(cluster: &Cluster) -> String {
    let tasks = pando_runtime::Tasks::new();
    let node = super::cluster::member(0).node;
    let host = crate::Host::open(
        super::cluster::config(0),
        cluster.nodes[0].disk.shared(),
        cluster.network.transport(node),
        pando_runtime::SystemClock::shared(),
        cluster.rng.clone(),
        &tasks,
    )
    .expect("the log itself is whole");
    let opened = host.open_group(GROUP, std::sync::Arc::new(Journal::default())).await;
    let error = opened.err().expect("refused").to_string();
    host.shutdown().await;
    tasks.shutdown(PATIENCE).await;
    error
}
