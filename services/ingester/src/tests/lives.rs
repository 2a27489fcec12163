//! From a write block to a block: generations on one member and on three.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::TryStreamExt as _;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use pando_model::{Cut, ErrorKind, NodeId, ShardId};
use pando_proto::v1::write_outcome::Outcome;
use pando_proto::v1::{CutRequest, WriteResponse};

use super::fixture::{Cluster, NOW_MS, Producer, QUERY_TIMEOUT, Samples, until, write};

fn applied(answer: &WriteResponse) -> Vec<u64> {
    let accepted = answer.outcomes.iter().map(|outcome| match &outcome.outcome {
        Some(Outcome::Applied(applied)) => applied.accepted,
        other => panic!("not applied: {other:?}"),
    });
    accepted.collect()
}

fn count(samples: &Samples) -> usize {
    samples.values().map(Vec::len).sum()
}

fn cut(wait_committed: bool) -> CutRequest {
    CutRequest { shard: 1, wait_committed }
}

#[tokio::test]
async fn a_sample_is_counted_once_whatever_is_cut_committed_dropped_and_restarted() {
    let mut cluster = Cluster::start(1).await;
    let one = NodeId(1);
    let mut producer = Producer::new(1, "a", 12);
    let blocks: Vec<_> =
        (0..4).map(|i| producer.block(NOW_MS - 60_000 + i * 15_000, &[i as f64; 12])).collect();
    let answer = write(&cluster, producer.request(1, blocks.clone())).await;
    assert_eq!(applied(&answer), [12; 4], "all blocks of a request are in one entry");
    let before = cluster.member(1).samples("a", cluster.version()).await;
    assert_eq!(count(&before), 48);

    let ended = cluster.client(1).cut(cut(true)).await.expect("it cuts").into_inner();
    assert_eq!(ended.generations.iter().map(|g| (g.shard, g.cut)).collect::<Vec<_>>(), [(1, 1)]);
    let record = cluster.controllers.read(|catalog| {
        assert_eq!(catalog.blocks().len(), 1, "the catalog names the block");
        catalog.blocks().values().next().expect("one").record.clone()
    });
    assert_eq!(record.digest.samples, 48);
    assert_eq!(cluster.member(1).blocks.kept(), [record.id], "the leader keeps its file");
    assert_eq!(cluster.member(1).samples("a", cluster.version()).await, before);

    // More comes meanwhile; a repeat of what was applied changes nothing.
    let block = producer.block(NOW_MS, &[9.0; 12]);
    assert_eq!(applied(&write(&cluster, producer.request(1, vec![block])).await), [12]);
    let repeat = write(&cluster, producer.request(1, blocks)).await;
    assert!(matches!(repeat.outcomes[0].outcome, Some(Outcome::Expect(6))), "{repeat:?}");
    let with_open = cluster.member(1).samples("a", cluster.version()).await;
    assert_eq!(count(&with_open), 60);

    // A query that began before the commit may still read the generation.
    cluster.clock.advance(QUERY_TIMEOUT - Duration::from_secs(5));
    let old = cluster.member(1).live("a", ShardId(1), Cut(1), false).await;
    assert!(old.is_ok(), "it is dropped too early");

    // No query can name the generation any more: its samples go, and the log behind them.
    cluster.clock.advance(QUERY_TIMEOUT + Duration::from_secs(1));
    until("the generation is dropped", async || {
        let live = cluster.member(1).live("a", ShardId(1), Cut(1), false).await;
        live.err().is_some_and(|error| error.kind() == ErrorKind::Stale)
    })
    .await;
    assert_eq!(cluster.member(1).samples("a", cluster.version()).await, with_open);

    let stopped = cluster.kill(one).await;
    cluster.restart(one, stopped).await;
    cluster.leader(1).await;
    assert_eq!(cluster.member(1).samples("a", cluster.version()).await, with_open);
    let block = producer.block(NOW_MS + 15_000, &[10.0; 12]);
    assert_eq!(applied(&write(&cluster, producer.request(1, vec![block])).await), [12]);

    // An orderly end leaves a checkpoint, and cuts nothing.
    let last = cluster.member(1).samples("a", cluster.version()).await;
    cluster.member(1).ingester.flush().await;
    let stopped = cluster.kill(one).await;
    cluster.restart(one, stopped).await;
    cluster.leader(1).await;
    assert_eq!(cluster.member(1).samples("a", cluster.version()).await, last);
    let local = cluster.member(1).ingester.shards().get(ShardId(1)).expect("open");
    assert!(local.state.was_restored());
    assert_eq!(local.state.read(|shard| shard.open_cut()), Cut(2));
    cluster.stop().await;
}

#[tokio::test]
async fn a_leader_that_dies_between_upload_and_commit_leaves_no_second_block() {
    let mut cluster = Cluster::start(1).await;
    let one = NodeId(1);
    let mut producer = Producer::new(1, "a", 3);
    let block = producer.block(NOW_MS, &[1.0, 2.0, 3.0]);
    write(&cluster, producer.request(1, vec![block])).await;
    let before = cluster.member(1).samples("a", cluster.version()).await;

    cluster.controllers.deaf.store(true, Ordering::SeqCst);
    cluster.client(1).cut(cut(false)).await.expect("it cuts");
    let objects = async |cluster: &Cluster| -> usize {
        let listed = cluster.bucket.list(None).try_collect::<Vec<_>>().await;
        listed.expect("it lists").len()
    };
    until("the block is uploaded", async || objects(&cluster).await == 1).await;
    let stopped = cluster.kill(one).await;
    cluster.controllers.deaf.store(false, Ordering::SeqCst);
    cluster.restart(one, stopped).await;
    until("the generation is committed", async || {
        cluster.controllers.read(|catalog| catalog.blocks().len() == 1)
    })
    .await;
    // Asking again is harmless, and makes nothing of nothing.
    let again = cluster.client(1).cut(cut(true)).await.expect("it answers").into_inner();
    assert_eq!(again.generations.len(), 1);
    assert_eq!(cluster.controllers.read(|catalog| catalog.blocks().len()), 1);
    assert_eq!(cluster.member(1).samples("a", cluster.version()).await, before);
    assert_eq!(objects(&cluster).await, 2, "the first one is an orphan, which nothing names");
    cluster.stop().await;
}

/// How many bytes of blocks a member has uploaded since its start.
fn uploaded(cluster: &Cluster, id: u64) -> String {
    let metrics = cluster.member(id).metrics();
    let line = metrics.lines().find(|l| l.starts_with("pando_ingester_uploaded_bytes_total"));
    line.expect("it is there").to_string()
}

#[tokio::test]
async fn a_restart_uploads_nothing_of_what_is_committed() {
    let mut cluster = Cluster::start(1).await;
    let (one, shard) = (NodeId(1), ShardId(1));
    let mut producer = Producer::new(1, "a", 3);
    let block = producer.block(NOW_MS, &[1.0, 2.0, 3.0]);
    write(&cluster, producer.request(1, vec![block])).await;
    cluster.client(1).cut(cut(true)).await.expect("it commits");
    let first = cluster.controllers.read(|catalog| *catalog.blocks().keys().next().expect("one"));

    // The log says so, a moment after it says that the generation has ended.
    let stopped = cluster.kill(one).await;
    cluster.restart(one, stopped).await;
    until("the log is read", async || cluster.member(1).blocks.kept() == [first]).await;
    assert_eq!(uploaded(&cluster, 1), "pando_ingester_uploaded_bytes_total 0");

    // Only the catalog knows of the next one: its leader ended before it could tell the log.
    let block = producer.block(NOW_MS + 1000, &[4.0, 5.0, 6.0]);
    write(&cluster, producer.request(1, vec![block])).await;
    cluster.controllers.deaf.store(true, Ordering::SeqCst);
    cluster.client(1).cut(cut(false)).await.expect("it cuts");
    let local = cluster.member(1).ingester.shards().get(shard).expect("open");
    let digest = local.state.read(|shard| shard.generations().find(|g| g.cut == Cut(2)));
    let (digest, winner) =
        (digest.expect("it has ended").digest, pando_model::BlockId::new(NOW_MS, 1));
    let built = crate::generations::build_for_test(&local.state, shard, Cut(2), winner, NOW_MS);
    drop(local);
    let stopped = cluster.kill(one).await;
    let path = pando_catalog::layout::block_path(winner);
    cluster.bucket.put(&path, built.bytes.clone().into()).await.expect("stored");
    let commit = pando_catalog::CommitGeneration {
        shard,
        cut: Cut(2),
        term: 1_000,
        record: Some(built.record),
        reports: vec![(one, digest)],
    };
    cluster.controllers.ok(&pando_catalog::Command::CommitGeneration(Box::new(commit)));
    cluster.controllers.deaf.store(false, Ordering::SeqCst);
    cluster.restart(one, stopped).await;
    until("the shard knows the winner", async || cluster.member(1).blocks.kept().contains(&winner))
        .await;
    assert_eq!(uploaded(&cluster, 1), "pando_ingester_uploaded_bytes_total 0");
    assert_eq!(count(&cluster.member(1).samples("a", cluster.version()).await), 6);
    cluster.stop().await;
}

#[tokio::test]
async fn three_members_agree_on_a_generation_and_all_keep_its_block() {
    let cluster = Cluster::start(3).await;
    let mut producer = Producer::new(1, "a", 5);
    let block = producer.block(NOW_MS, &[1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(applied(&write(&cluster, producer.request(1, vec![block])).await), [5]);
    let leader = cluster.leader(1).await;
    let follower = (1..=3).find(|id| *id != leader).expect("three members");

    // A follower names the leader, once it has heard of it, and answers queries itself.
    until("the follower hears of its leader", async || {
        let local = cluster.member(follower).ingester.shards().get(ShardId(1)).expect("open");
        local.group.leader().is_some_and(|known| known.node == NodeId(leader))
    })
    .await;
    let block = producer.block(NOW_MS + 1000, &[6.0; 5]);
    let request = producer.request(1, vec![block]);
    let answer =
        cluster.client(follower).write(request.clone()).await.expect("answered").into_inner();
    let not_leader = answer.not_leader.expect("it does not lead");
    assert_eq!(not_leader.node, leader);
    assert_eq!(applied(&write(&cluster, request).await), [5]);
    let seen = cluster.member(follower).samples("a", cluster.version()).await;
    assert_eq!(count(&seen), 10, "a follower has what its leader has acknowledged");

    let refused = cluster.client(follower).cut(cut(true)).await.expect_err("it does not lead");
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    cluster.client(leader).cut(cut(true)).await.expect("it cuts");
    let block = cluster.controllers.read(|c| *c.blocks().keys().next().expect("one block"));
    for id in 1..=3 {
        until("every member keeps the block", async || cluster.member(id).blocks.kept() == [block])
            .await;
        assert_eq!(cluster.member(id).samples("a", cluster.version()).await, seen, "member {id}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn whoever_loses_the_race_to_commit_removes_its_own_object() {
    let cluster = Cluster::start(1).await;
    let mut producer = Producer::new(1, "a", 3);
    let block = producer.block(NOW_MS, &[1.0; 3]);
    write(&cluster, producer.request(1, vec![block])).await;
    cluster.controllers.deaf.store(true, Ordering::SeqCst);
    cluster.client(1).cut(cut(false)).await.expect("it cuts");
    let mut own = Vec::new();
    until("the block is uploaded", async || {
        own = cluster.bucket.list(None).try_collect::<Vec<_>>().await.expect("it lists");
        own.len() == 1
    })
    .await;
    // Another leader was faster, with a block of the same samples under another name.
    let (own, shard) = (own[0].location.clone(), ShardId(1));
    let bytes = cluster.bucket.get(&own).await.expect("there").bytes().await.expect("read");
    let local = cluster.member(1).ingester.shards().get(shard).expect("open");
    let digest = local.state.read(|shard| shard.generations().next().expect("one").digest);
    let winner = pando_model::BlockId::new(NOW_MS, 1);
    let now_ms = NOW_MS;
    let built = crate::generations::build_for_test(&local.state, shard, Cut(1), winner, now_ms);
    assert_ne!(built.bytes, bytes);
    let path = pando_catalog::layout::block_path(winner);
    cluster.bucket.put(&path, built.bytes.clone().into()).await.expect("stored");
    let commit = pando_catalog::CommitGeneration {
        shard,
        cut: Cut(1),
        term: 1,
        record: Some(built.record),
        reports: vec![(NodeId(1), digest)],
    };
    cluster.controllers.ok(&pando_catalog::Command::CommitGeneration(Box::new(commit)));
    cluster.controllers.deaf.store(false, Ordering::SeqCst);

    until("the own object is gone", async || cluster.bucket.head(&own).await.is_err()).await;
    let refused = pando_catalog::layout::parse_block_path(&own).expect("a block");
    assert!(cluster.controllers.read(|catalog| catalog.is_refused(refused)));
    until("the shard knows the winner", async || cluster.member(1).blocks.kept() == [winner]).await;
    assert_eq!(count(&cluster.member(1).samples("a", cluster.version()).await), 3);
    cluster.stop().await;
}

#[tokio::test]
async fn writes_are_refused_while_time_can_heal_it() {
    let cluster = Cluster::start(1).await;
    let mut producer = Producer::new(1, "a", 2);
    let block = producer.block(NOW_MS, &[1.0, 2.0]);
    let mut damaged = block.clone();
    let mut bytes = damaged.block.to_vec();
    bytes[5] ^= 1;
    damaged.block = bytes.into();
    let answer = write(&cluster, producer.request(1, vec![damaged])).await;
    assert!(matches!(answer.outcomes[0].outcome, Some(Outcome::Damaged(_))), "{answer:?}");

    cluster.controllers.ahead_ms.store(61_000, Ordering::SeqCst);
    let request = producer.request(1, vec![block]);
    let refused = async |text: &str| {
        let answer = write(&cluster, request.clone()).await;
        match &answer.outcomes[0].outcome {
            Some(Outcome::Unavailable(unavailable)) => unavailable.message.contains(text),
            _ => false,
        }
    };
    // The same block is accepted or repeated until the next heartbeat tells of the clock.
    until("the clock's skew is noticed", async || refused("skew_ms=-61000").await).await;
    cluster.controllers.ahead_ms.store(0, Ordering::SeqCst);
    until("the clock is right again", async || !refused("skew").await).await;
    let context = cluster.member(1).ingester.shards().context().clone();
    context.memory_bytes.store(u64::MAX, Ordering::SeqCst);
    assert!(refused("limit=memory_bytes found=18446744073709551615 max=17179869184").await);
    context.memory_bytes.store(0, Ordering::SeqCst);
    context.checkpoint_bytes.store(u64::MAX, Ordering::SeqCst);
    assert!(refused("limit=disk_bytes").await);
    context.checkpoint_bytes.store(0, Ordering::SeqCst);
    let disk = &cluster.member(1).disk;
    disk.set_capacity_bytes(Some(context.config.disk_reserve_bytes));
    assert!(refused("limit=disk_reserve_bytes free=").await);
    disk.set_capacity_bytes(Some(2 * context.config.disk_reserve_bytes));
    assert!(!refused("limit=").await);
    let metrics = cluster.member(1).metrics();
    assert!(metrics.contains("pando_ingester_writes_shed_total"), "{metrics}");
    assert!(
        metrics.contains("prometheus_tsdb_head_samples_appended_total{type=\"float\"} 2"),
        "{metrics}"
    );
    cluster.stop().await;
}

#[tokio::test]
async fn ingest_goes_on_while_nothing_can_be_committed() {
    let cluster = Cluster::start(1).await;
    let mut producer = Producer::new(1, "a", 3);
    cluster.controllers.deaf.store(true, Ordering::SeqCst);
    for turn in 0..3 {
        let block = producer.block(NOW_MS + turn * 1000, &[turn as f64; 3]);
        assert_eq!(applied(&write(&cluster, producer.request(1, vec![block])).await), [3]);
        let ended = cluster.client(1).cut(cut(false)).await.expect("it cuts").into_inner();
        assert_eq!(ended.generations[0].cut, turn as u64 + 1);
    }
    let before = cluster.member(1).samples("a", cluster.version()).await;
    assert_eq!(count(&before), 9);
    cluster.controllers.deaf.store(false, Ordering::SeqCst);
    cluster.client(1).cut(cut(true)).await.expect("it commits");
    let cuts = cluster.controllers.read(|catalog| {
        let source = |entry: &pando_catalog::BlockEntry| match entry.record.source {
            pando_model::BlockSource::Generation(generation) => generation.cut.0,
            _ => 0,
        };
        let mut cuts: Vec<_> = catalog.blocks().values().map(|b| (b.added.0, source(b))).collect();
        cuts.sort_unstable();
        cuts.into_iter().map(|(_, cut)| cut).collect::<Vec<_>>()
    });
    assert_eq!(cuts, [1, 2, 3], "in order, each once");
    assert_eq!(cluster.member(1).samples("a", cluster.version()).await, before);
    cluster.stop().await;
}

#[tokio::test]
async fn two_of_three_go_on_without_a_leader_that_died_and_it_catches_up() {
    let mut cluster = Cluster::start(3).await;
    let mut producer = Producer::new(1, "a", 4);
    let block = producer.block(NOW_MS, &[1.0; 4]);
    assert_eq!(applied(&write(&cluster, producer.request(1, vec![block])).await), [4]);
    let first = NodeId(cluster.leader(1).await);
    let stopped = cluster.kill(first).await;

    let block = producer.block(NOW_MS + 1000, &[2.0; 4]);
    assert_eq!(applied(&write(&cluster, producer.request(1, vec![block])).await), [4]);
    let second = cluster.leader(1).await;
    assert_ne!(second, first.0);
    cluster.client(second).cut(cut(true)).await.expect("a majority agrees");
    let after = cluster.member(second).samples("a", cluster.version()).await;
    assert_eq!(count(&after), 8, "what was acknowledged is there");
    let block = producer.block(NOW_MS + 2000, &[3.0; 4]);
    write(&cluster, producer.request(1, vec![block])).await;

    cluster.restart(first, stopped).await;
    let back = cluster.member(first.0);
    until("the member that was away has all", async || {
        let local = back.ingester.shards().get(ShardId(1)).expect("open");
        // Before it has heard of the leader, a read is refused.
        local.group.read_index().await.is_ok()
    })
    .await;
    let seen = back.samples("a", cluster.version()).await;
    assert_eq!(seen, cluster.member(second).samples("a", cluster.version()).await);
    assert_eq!(count(&seen), 12);
    cluster.stop().await;
}

#[tokio::test]
async fn a_leader_whose_clock_is_off_gives_up_the_lead_and_reads_go_on() {
    let cluster = Cluster::start(3).await;
    let mut producer = Producer::new(1, "a", 4);
    let block = producer.block(NOW_MS, &[1.0; 4]);
    write(&cluster, producer.request(1, vec![block])).await;
    let before = cluster.leader(1).await;
    // All clocks are off here, so that whoever leads next had better not lead either.
    cluster.controllers.ahead_ms.store(61_000, Ordering::SeqCst);
    until("another member leads", async || cluster.leader(1).await != before).await;
    cluster.controllers.ahead_ms.store(0, Ordering::SeqCst);
    let local = cluster.member(before).ingester.shards().get(ShardId(1)).expect("open");
    until("reads go on", async || local.group.read_index().await.is_ok()).await;
    assert_eq!(count(&cluster.member(before).samples("a", cluster.version()).await), 4);
    cluster.stop().await;
}

#[tokio::test]
async fn operators_cut_only_where_the_flag_allows_it() {
    let mut cluster = Cluster::start(1).await;
    cluster.admin_api = false;
    let stopped = cluster.kill(NodeId(1)).await;
    cluster.restart(NodeId(1), stopped).await;
    let refused = cluster.client(1).cut(cut(false)).await.expect_err("the flag is missing");
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    assert!(refused.message().contains("--web.enable-admin-api"), "{refused}");
    cluster.stop().await;
}
