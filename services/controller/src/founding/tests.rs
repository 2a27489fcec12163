//! Founding in a bucket that is honest, silent, emptied, or cannot be relied on.

use std::sync::atomic::Ordering;

use pando_proto::v1::controller_server::ControllerServer;
use pando_rpc::{Channels, GrpcServer, bind, limited};
use pando_runtime::{SystemClock, Tasks};

use super::*;
use crate::tests::fixture::config;
use crate::tests::store::TestStore;
use crate::{Controller, ControllerMetrics, ControllerService};

const PATIENCE: Duration = Duration::from_secs(20);

struct Founder {
    config: ControllerConfig,
    identity: Identity,
    client: ControllerClient,
}

impl Founder {
    fn new(node: u64, controllers: &[String], own: &str) -> Self {
        let identity = Identity::new(NodeId(node));
        let channels = Channels::new(identity.clone(), None);
        let client = ControllerClient::new(channels, controllers.to_vec());
        Founder { config: config(controllers, own), identity, client }
    }

    /// The only controller.
    fn alone(node: u64) -> Self {
        let own = "127.0.0.1:1".to_string();
        Founder::new(node, std::slice::from_ref(&own), &own)
    }

    async fn found(
        &self,
        kept: Option<ClusterFile>,
        store: &Arc<TestStore>,
    ) -> Result<ClusterFile, ControllerError> {
        let store: Arc<dyn ObjectStore> = store.clone();
        let (clock, rng) = (SystemClock::shared(), Rng::seeded(5));
        let Founder { config, identity, client } = self;
        let found = found(config, identity, kept, &store, client, &clock, &rng);
        tokio::time::timeout(PATIENCE, found).await.expect("it does not wait")
    }
}

#[tokio::test]
async fn a_cluster_is_founded_once_and_needs_no_bucket_afterwards() {
    let store = Arc::new(TestStore::default());
    let file = Founder::alone(1).found(None, &store).await.expect("an honest store");
    assert_eq!(Founder::alone(1).found(None, &store).await.expect("the same"), file);
    let stranger = Founder::alone(2).found(None, &store).await.expect_err("it is not named");
    assert!(matches!(stranger, ControllerError::NotAVoter { .. }), "{stranger}");
    store.hangs.store(true, Ordering::SeqCst);
    let again = Founder::alone(1).found(Some(file.clone()), &store).await;
    assert_eq!(again.expect("the bucket is not needed"), file);
}

#[tokio::test]
async fn a_store_that_ignores_create_if_absent_is_refused() {
    let store = Arc::new(TestStore::default());
    store.ignores_create.store(true, Ordering::SeqCst);
    let refused = Founder::alone(1).found(None, &store).await.expect_err("it cannot be used");
    assert!(refused.to_string().contains("create-if-absent"), "{refused}");
    assert!(bucket::read_cluster(store.as_ref()).await.expect("answers").is_none());
}

#[tokio::test]
async fn who_has_a_cluster_founds_no_other() {
    let (store, founder) = (Arc::new(TestStore::default()), Founder::alone(1));
    founder.identity.set_cluster(ClusterId(0xabc));
    let refused = founder.found(None, &store).await.expect_err("the bucket is empty").to_string();
    assert!(refused.contains("test-bucket") && refused.contains("0abc"), "{refused}");
    assert!(bucket::read_cluster(store.as_ref()).await.expect("answers").is_none());
}

#[tokio::test]
async fn who_hears_of_a_cluster_founds_no_other() {
    let listener = bind("127.0.0.1:0".parse().expect("an address")).await.expect("a free port");
    let peer = listener.local_addr().expect("an address").to_string();
    let addresses = ["127.0.0.1:1".to_string(), peer.clone(), "127.0.0.1:2".to_string()];
    let (tasks, identity) = (Tasks::new(), Identity::new(NodeId(2)));
    identity.set_cluster(ClusterId(0xabc));
    let controller = Arc::new(Controller::new(
        config(&addresses, &peer),
        identity.clone(),
        Channels::new(identity.clone(), None),
        SystemClock::shared(),
        tasks.clone(),
        ControllerMetrics::default(),
    ));
    let server = GrpcServer::new(identity, None);
    server.add(limited!(ControllerServer::new(ControllerService::new(controller))));
    tasks.spawn_until_stopped("peer", async move {
        server.serve(listener, std::future::pending()).await.expect("it serves");
    });
    let (store, founder) =
        (Arc::new(TestStore::default()), Founder::new(1, &addresses, &addresses[0]));
    let refused = founder.found(None, &store).await.expect_err("the bucket is empty").to_string();
    assert!(refused.contains(&peer) && refused.contains("test-bucket"), "{refused}");
    assert!(refused.contains("0abc"), "{refused}");
}

#[tokio::test]
async fn the_bucket_is_looked_at_when_it_answers() {
    let store = Arc::new(TestStore::default());
    let file = Founder::alone(1).found(None, &store).await.expect("an honest store");
    let watched = async |store: Arc<TestStore>, file: &ClusterFile| {
        let store: Arc<dyn ObjectStore> = store;
        tokio::time::timeout(PATIENCE, watch_bucket(&store, file.cluster))
            .await
            .expect("it answers")
    };
    watched(store.clone(), &file).await.expect("the same file");
    let other = ClusterFile { cluster: ClusterId(9), ..file.clone() };
    let error = watched(store, &other).await.expect_err("another cluster's");
    assert!(matches!(error, ControllerError::OtherCluster { .. }), "{error}");
    let error = watched(Arc::default(), &file).await.expect_err("an empty bucket").to_string();
    assert!(error.contains("test-bucket") && error.contains(&file.cluster.to_string()), "{error}");
}

/// What differs from try to try would be told anew each time.
#[test]
fn an_answer_in_xml_is_cut_down_to_code_and_message() {
    let said = |text: &str| {
        let source = text.to_string().into();
        without_body(&object_store::Error::Generic { store: "S3", source })
    };
    let body = "<?xml version=\"1.0\"?><Error><Code>NoSuchBucket</Code><Message>It is not there</Message>\
                <RequestId>4F7A</RequestId></Error>";
    let cut = said(&format!("status 404: {body}"));
    assert!(cut.ends_with("status 404: NoSuchBucket: It is not there"), "{cut}");
    assert!(said("connection refused").ends_with("connection refused"));
    assert!(said("<Error><Code>Slow</Code></Error>").ends_with("Slow: "));
}
