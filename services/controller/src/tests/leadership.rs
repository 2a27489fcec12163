//! What a controller may say when it is cut off from the others.

use std::sync::Arc;

use futures::StreamExt as _;
use object_store::ObjectStore;
use pando_catalog::Command;
use pando_model::{ErrorKind, NodeId, TenantId};
use pando_proto::v1::WatchRequest;
use pando_proto::v1::controller_server::Controller as _;
use pando_rpc::kind_of;
use tonic::Request;

use super::fixture::{Controllers, node, until};
use super::store::TestStore;
use crate::ControllerService;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_grants_nothing_and_sends_its_watchers_away() {
    let controllers = Controllers::start(3, |_| {}).await;
    let store: Arc<dyn ObjectStore> = Arc::new(TestStore::default());
    controllers.run(&store);
    let old = controllers.leader().clone();
    old.hears(11).await.expect("it leads");
    let before = old.newest().await.expect("it leads");
    let service = ControllerService::new(old.clone());
    let watch = || service.watch_routing(Request::new(WatchRequest { since: 0 }));
    let mut stream = None;
    until("a controller with a majority is watched", async || match watch().await {
        Ok(answer) => {
            stream = Some(answer.into_inner());
            true
        }
        Err(_) => false,
    })
    .await;

    let others: Vec<_> = controllers.all.iter().filter(|c| !Arc::ptr_eq(c, &old)).collect();
    let ids: Vec<NodeId> = others.iter().map(|c| c.identity().node()).collect();
    controllers.network.isolate(old.identity().node(), &ids);
    let refused = old.hears(11).await.expect_err("no majority");
    assert_eq!(kind_of(&refused), ErrorKind::Unavailable);
    assert!(old.newest().await.is_err(), "it cannot know");
    until("another one leads", async || others.iter().any(|c| c.is_leader())).await;
    let new = others.iter().find(|c| c.is_leader()).expect("one leads");
    until("the new one hears members", async || new.hears(12).await.is_ok()).await;
    for other in &others {
        assert!(other.newest().await.expect("a majority") > before, "on every one of the two");
    }
    assert!(old.version() < new.version(), "it knows nothing new");

    let mut stream = stream.expect("watched");
    let mut end = None;
    until("the stream ends", async || match stream.next().await {
        Some(Err(status)) => {
            end = Some(status);
            true
        }
        other => other.is_none(),
    })
    .await;
    assert_eq!(kind_of(&end.expect("with a reason")), ErrorKind::Unavailable);
    assert!(watch().await.is_err(), "nor is there a new one");
    controllers.network.heal();
    until("it is watched again", async || watch().await.is_ok()).await;
}

#[tokio::test]
async fn the_leader_goes_on_while_the_store_hangs() {
    let controllers = Controllers::start(1, |_| {}).await;
    let hanging = Arc::new(TestStore::hanging());
    let store: Arc<dyn ObjectStore> = hanging.clone();
    controllers.run(&store);
    let asked = || hanging.asked.load(std::sync::atomic::Ordering::SeqCst) > 0;
    until("the store is asked", async || asked()).await;
    let leader = controllers.leader();
    leader.hears(11).await.expect("a member");
    let open = || leader.state().read(|catalog| catalog.open_shards_iter().count());
    until("a shard is opened", async || open() == 1).await;
    controllers.ok(Command::RegisterNode { node: node(12), now_ms: 1 }).await;
}

#[tokio::test]
async fn a_tenant_without_a_shard_is_told_that_ingesters_are_missing() {
    let controllers = Controllers::start(1, |config| config.replication_factor = Some(3)).await;
    controllers.leader().hears(9).await.expect("it is registered");
    let assigned = controllers.leader().assign_tenant(&TenantId::default_tenant()).await;
    let error = assigned.expect_err("there is no shard");
    assert!(error.message().contains("replicas=3 live_ingesters=1"), "{error}");
}
