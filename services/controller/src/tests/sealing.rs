//! What a seal needs before it happens, and who may ask for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pando_catalog::{Command, Node, ShardStage, wire};
use pando_model::{ErrorKind, NodeId, ShardId, TenantId};
use pando_proto::v1::controller_server::Controller as _;
use pando_proto::v1::ingester_server::{Ingester, IngesterServer};
use pando_proto::v1::{
    CutRequest, CutResponse, GenerationDigestRequest, GenerationDigestResponse, ProposeRequest,
    SealRequest, SealResponse, SealShardRequest, WriteRequest, WriteResponse,
};
use pando_rpc::{GrpcServer, Identity, bind, kind_of};
use pando_runtime::Tasks;
use tonic::{Request, Response, Status};

use super::fixture::{CLUSTER, Controllers, node};

/// An ingester with one shard, which is sealed or not.
#[derive(Clone, Default)]
struct Sealing(Arc<AtomicBool>);

#[tonic::async_trait]
impl Ingester for Sealing {
    async fn write(&self, _: Request<WriteRequest>) -> Result<Response<WriteResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn cut(&self, _: Request<CutRequest>) -> Result<Response<CutResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn seal(&self, request: Request<SealRequest>) -> Result<Response<SealResponse>, Status> {
        if request.into_inner().recover && !self.0.load(Ordering::SeqCst) {
            return Err(pando_rpc::status(ErrorKind::Stale, "shard is not sealed"));
        }
        self.0.store(true, Ordering::SeqCst);
        Ok(Response::new(SealResponse { last_cut: 1, term: 1, ..SealResponse::default() }))
    }

    async fn generation_digest(
        &self,
        _: Request<GenerationDigestRequest>,
    ) -> Result<Response<GenerationDigestResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }
}

impl Sealing {
    /// Serves it as node 11.
    async fn serve(&self, tasks: &Tasks) -> Node {
        let listener = bind("127.0.0.1:0".parse().expect("an address")).await.expect("a port");
        let grpc_address = listener.local_addr().expect("bound").to_string();
        let identity = Identity::new(NodeId(11));
        identity.set_cluster(CLUSTER);
        let server = GrpcServer::new(identity, None);
        server.add(IngesterServer::new(self.clone()));
        let token = tasks.token();
        tasks.spawn_until_stopped("server", async move {
            server.serve(listener, token.cancelled_owned()).await.expect("it serves");
        });
        Node { grpc_address, ..node(11) }
    }
}

#[tokio::test]
async fn a_member_has_a_lost_seal_recorded_without_the_flag_and_seals_nothing() {
    let controllers = Controllers::start(1, |config| config.admin_api = false).await;
    let (ingester, tasks) = (Sealing::default(), Tasks::new());
    let node = ingester.serve(&tasks).await;
    let (leader, service) = (controllers.leader(), controllers.service());
    leader.heartbeat(node, leader.now_ms(), false).await.expect("a member");
    let members = vec![vec![NodeId(11)]];
    controllers.ok(Command::OpenShards { members, now_ms: 1 }).await;
    let recover = || {
        let asked = SealShardRequest { shard: 1, split: false, recover: true };
        service.seal_shard(Request::new(asked))
    };
    let stage = || leader.state().read(|catalog| catalog.shards()[&ShardId(1)].info.stage);

    let refused = recover().await.expect_err("the shard is open");
    assert_eq!(kind_of(&refused), ErrorKind::Stale, "{refused}");
    assert!(!ingester.0.load(Ordering::SeqCst), "it stays open");
    assert_eq!(stage(), ShardStage::Open);

    // A controller has it sealed, and dies.
    ingester.0.store(true, Ordering::SeqCst);
    let recovered = recover().await.expect("it is recorded").into_inner();
    assert_eq!((recovered.successors, stage()), (vec![2], ShardStage::Sealed));
    assert_eq!(tasks.shutdown(std::time::Duration::from_secs(20)).await, [] as [&str; 0]);
}

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
        let seal = service.seal_shard(Request::new(SealShardRequest {
            shard: 9,
            split: false,
            recover: false,
        }));
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
