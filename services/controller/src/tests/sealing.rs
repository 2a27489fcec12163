//! What a seal needs before it happens, and who may ask for it.

use pando_catalog::{Command, wire};
use pando_model::{ErrorKind, NodeId, ShardId, TenantId};
use pando_proto::v1::controller_server::Controller as _;
use pando_proto::v1::{ProposeRequest, SealShardRequest};
use pando_rpc::kind_of;
use tonic::Request;

use super::fixture::{Controllers, node};

#[tokio::test]
async fn a_shard_that_nobody_could_succeed_is_not_sealed() {
    let controllers = Controllers::start(1, |config| config.replication_factor = Some(3)).await;
    for id in 11..=13 {
        controllers.ok(Command::RegisterNode { node: node(id), now_ms: 1 }).await;
    }
    let members = vec![[11, 12, 13].map(NodeId).to_vec()];
    controllers.ok(Command::OpenShards { members, now_ms: 1 }).await;
    let leader = controllers.leader();
    // A new leader has heard of nobody; later one of three is silent.
    for heard in [0, 2] {
        for id in 11..11 + heard {
            leader.hears(id).await.expect("a member");
        }
        for split in [false, true] {
            let refused = leader.seal_shard(ShardId(1), split).await.expect_err("too few");
            assert_eq!(kind_of(&refused), ErrorKind::Unavailable);
            let text = format!("replicas=3 live_ingesters={heard}");
            assert!(refused.message().contains(&text), "{}", refused.message());
        }
    }
    // With all of them there it gets as far as to the members, whom nobody reaches here.
    leader.hears(13).await.expect("a member");
    let refused = leader.seal_shard(ShardId(1), false).await.expect_err("not reached");
    assert!(!refused.message().contains("live_ingesters"), "{}", refused.message());
}

#[tokio::test]
async fn operators_calls_need_the_flag_and_members_calls_do_not() {
    for admin_api in [false, true] {
        let controllers = Controllers::start(1, |config| config.admin_api = admin_api).await;
        let service = controllers.service();
        let seal = service.seal_shard(Request::new(SealShardRequest { shard: 9, split: false }));
        let sealed = seal.await.expect_err("there is no such shard");
        let propose = |command: Command| {
            let command = wire::encode_command(&command).into();
            service.propose(Request::new(ProposeRequest { command }))
        };
        let tenant = TenantId::parse("a").ok();
        let retention = propose(Command::SetRetention { tenant, retention_ms: Some(1) }).await;
        propose(Command::RemoveNode { node: NodeId(9) }).await.expect("a member's own command");
        if admin_api {
            assert_eq!(kind_of(&sealed), ErrorKind::NotFound);
            retention.expect("allowed");
        } else {
            let refused = retention.expect_err("not allowed");
            for status in [sealed, refused] {
                assert_eq!(kind_of(&status), ErrorKind::Forbidden);
                assert!(status.message().contains("--web.enable-admin-api"), "{status}");
            }
        }
    }
}
