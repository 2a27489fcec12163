//! The end of a shard, and its successor.

use std::sync::Arc;
use std::time::Duration;

use pando_catalog::{ShardInfo, ShardStage};
use pando_codec::entry::ShardRules;
use pando_consensus::Member;
use pando_head::ShardConfig;
use pando_model::{Cut, ErrorKind, NodeId, ShardId};
use pando_proto::v1::write_outcome::Outcome;
use pando_proto::v1::{SealRequest, WriteSealed};

use super::fixture::{Cluster, NOW_MS, Producer, QUERY_TIMEOUT, until, write};
use crate::decode_seal_answer;
use crate::local_shard::{LocalShard, OpenError};
use crate::state::HeadState;

#[tokio::test]
async fn a_seal_that_the_catalog_does_not_know_is_brought_to_its_end() {
    let mut cluster = Cluster::start(1).await;
    let mut producer = Producer::new(5, "a", 4);
    let block = producer.block(NOW_MS, &[1.0; 4]);
    write(&cluster, producer.request(1, vec![block])).await;
    let before = cluster.member(1).samples("a", cluster.version()).await;

    // Who asks after a seal seals nothing.
    let open = cluster.client(1).seal(SealRequest { shard: 1, recover: true }).await;
    let open = open.expect_err("it is open");
    assert_eq!(pando_rpc::kind_of(&open), ErrorKind::Stale, "{open}");
    let shard = cluster.member(1).ingester.shards().get(ShardId(1)).expect("open");
    assert!(!shard.state.progress().sealed);

    // A controller has the shard sealed, and dies before it tells the catalog.
    let seal = async |cluster: &Cluster| {
        let sealed = cluster.client(1).seal(SealRequest { shard: 1, recover: false }).await;
        sealed.expect("it seals").into_inner()
    };
    let sealed = seal(&cluster).await;
    assert_eq!(sealed.last_cut, 1);
    assert_eq!(sealed.medians.iter().map(|m| m.tenant.as_str()).collect::<Vec<_>>(), ["a"]);
    let answer = decode_seal_answer(&sealed.answer).expect("an answer");
    assert_eq!(answer.newest_ms.iter().map(|(_, ms)| *ms).collect::<Vec<_>>(), [NOW_MS]);
    let again = seal(&cluster).await;
    assert_eq!((again.last_cut, &again.answer), (1, &sealed.answer), "the seal is idempotent");

    // Nothing is taken any more, and who pins the open shard has to look again.
    let late = producer.block(NOW_MS + 1, &[2.0; 4]);
    let refused = write(&cluster, producer.request(1, vec![late])).await;
    let told = Some(Outcome::Sealed(WriteSealed { last_sequence: 1 }));
    assert_eq!(refused.outcomes[0].outcome, told);
    let stale = cluster.member(1).live("a", ShardId(1), Cut(1), false).await.err().expect("stale");
    assert_eq!(stale.kind(), ErrorKind::Stale);

    cluster.clock.advance(Duration::from_secs(11));
    until("the catalog has a successor", async || {
        cluster.clock.advance(Duration::from_millis(100));
        cluster.controllers.read(|catalog| catalog.shards().contains_key(&ShardId(2)))
    })
    .await;
    until("the drained shard is closed", async || {
        let stage = |c: &pando_catalog::Catalog| c.shards()[&ShardId(1)].info.stage;
        cluster.controllers.read(stage) == ShardStage::Closed
    })
    .await;
    until("the successor is open", async || {
        cluster.member(1).ingester.shards().get(ShardId(2)).is_some()
    })
    .await;
    assert_eq!(cluster.member(1).samples("a", cluster.version()).await, before);

    // The successor goes on from the times of the shard before it, also after a crash.
    let inherited = |cluster: &Cluster| {
        let shard = cluster.member(1).ingester.shards().get(ShardId(2)).expect("open");
        shard.state.read(|shard| shard.seal_answer().newest_ms)
    };
    assert_eq!(inherited(&cluster), answer.newest_ms);
    cluster.clock.advance(QUERY_TIMEOUT + Duration::from_secs(1));
    until("the closed shard is removed", async || {
        cluster.member(1).ingester.shards().get(ShardId(1)).is_none()
    })
    .await;
    let stopped = cluster.kill(NodeId(1)).await;
    cluster.restart(NodeId(1), stopped).await;
    assert_eq!(inherited(&cluster), answer.newest_ms);
    let mut producer = Producer::new(6, "a", 4);
    let block = producer.block(NOW_MS + 1, &[2.0; 4]);
    let answer = write(&cluster, producer.request(2, vec![block])).await;
    assert!(matches!(answer.outcomes[0].outcome, Some(Outcome::Applied(_))), "{answer:?}");
    cluster.stop().await;
}

#[tokio::test]
async fn a_shard_without_samples_ends_without_a_block() {
    let cluster = Cluster::start(1).await;
    cluster.leader(1).await;
    let sealed =
        cluster.client(1).seal(SealRequest { shard: 1, recover: false }).await.expect("it seals");
    assert_eq!(sealed.into_inner().last_cut, 1);
    until("the shard is closed", async || {
        cluster.clock.advance(Duration::from_millis(500));
        let stage = |c: &pando_catalog::Catalog| c.shards()[&ShardId(1)].info.stage;
        cluster.controllers.read(stage) == ShardStage::Closed
    })
    .await;
    cluster.controllers.read(|catalog| {
        assert!(catalog.blocks().is_empty());
        assert_eq!(
            catalog.shards()[&ShardId(1)].next_cut,
            Cut(2),
            "the empty generation is committed"
        );
    });
    cluster.stop().await;
}

#[tokio::test]
async fn a_replica_that_cannot_know_what_it_inherits_is_not_opened() {
    let cluster = Cluster::start(1).await;
    let member = cluster.member(1);
    let context = member.ingester.shards().context().clone();
    let view = member.follower.routing();
    let known = view.shard(ShardId(1)).expect("known").as_ref().clone();
    // The catalog has forgotten the shard before it; its log is here, and no checkpoint.
    let info = ShardInfo { id: ShardId(9), predecessors: vec![ShardId(8)], ..known };
    let (rules, inherited) = (ShardRules::default(), Vec::new());
    let state = HeadState::new(ShardConfig { shard: info.id, rules, inherited });
    let address = context.address(NodeId(1)).expect("known");
    let members = vec![Member { node: NodeId(1), address }];
    let group = context.host.create_group(9, members, Arc::new(state)).await.expect("founded");
    let refused = LocalShard::open(&context, &view, &info).await.err();
    assert!(matches!(refused, Some(OpenError::NoPredecessor(ShardId(8)))), "{refused:?}");

    until("something is applied", async || group.applied_index() > 0).await;
    group.checkpoint().await.expect("written");
    let open = LocalShard::open(&context, &view, &info).await.expect("its checkpoint says it");
    open.stop().await;
    cluster.stop().await;
}
