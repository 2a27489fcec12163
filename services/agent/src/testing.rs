//! What the tests of this crate share: a scripted exporter on loopback, a sink that remembers, a fixed roster.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Response, Uri};
use pando_catalog::{Node, Role};
use pando_cluster::TargetRing;
use pando_config::Config;
use pando_model::NodeId;
use pando_runtime::Tasks;
use pando_shipper::{Batch, Receipt, ShipError, ShipSample};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::roster::Roster;
use crate::sink::BatchSink;

/// What an exporter answers.
pub(crate) type Script = Box<dyn Fn() -> Response<Body> + Send>;

/// A request that an exporter has seen.
pub(crate) type Seen = (Uri, HeaderMap);

/// An exporter that answers as it is told.
pub(crate) struct Exporter {
    pub(crate) address: SocketAddr,
    script: Arc<Mutex<Script>>,
    seen: watch::Sender<Vec<Seen>>,
    _tasks: Tasks,
}

/// A body in the text format.
pub(crate) fn text(body: impl Into<Body>) -> Response<Body> {
    let response = Response::builder().header("content-type", "text/plain; version=0.0.4");
    response.body(body.into()).expect("response")
}

impl Exporter {
    pub(crate) async fn start() -> Self {
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Box::new(|| text("m 1\n"))));
        let seen = watch::Sender::new(Vec::new());
        let (answers, log) = (script.clone(), seen.clone());
        let app = Router::new().fallback(move |uri: Uri, headers: HeaderMap| {
            log.send_modify(|seen| seen.push((uri, headers)));
            let answer = answers.lock()();
            async move { answer }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port");
        let address = listener.local_addr().expect("address");
        let tasks = Tasks::new();
        tasks.spawn_until_stopped("exporter", async move {
            axum::serve(listener, app).await.expect("serves");
        });
        Exporter { address, script, seen, _tasks: tasks }
    }

    /// From now on it answers with what `script` makes.
    pub(crate) fn answer(&self, script: impl Fn() -> Response<Body> + Send + 'static) {
        *self.script.lock() = Box::new(script);
    }

    /// From now on it answers with `body` in the text format.
    pub(crate) fn say(&self, body: &'static str) {
        self.answer(move || text(body));
    }

    pub(crate) fn last_request(&self) -> Seen {
        self.seen.borrow().last().cloned().expect("was asked")
    }

    pub(crate) fn requests(&self) -> usize {
        self.seen.borrow().len()
    }

    pub(crate) async fn wait_for_requests(&self, count: usize) {
        let mut seen = self.seen.subscribe();
        seen.wait_for(|seen| seen.len() >= count).await.expect("sender lives");
    }
}

/// A sink that remembers what it was given, and fails when it is told to.
pub(crate) struct FakeSink {
    shipped: watch::Sender<Vec<Batch>>,
    fails: AtomicBool,
    tries: watch::Sender<usize>,
}

impl FakeSink {
    pub(crate) fn new() -> Arc<Self> {
        let (shipped, tries) = (watch::Sender::new(Vec::new()), watch::Sender::new(0));
        Arc::new(FakeSink { shipped, fails: AtomicBool::new(false), tries })
    }

    pub(crate) fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }

    pub(crate) fn batches(&self) -> Vec<Batch> {
        self.shipped.borrow().clone()
    }

    /// Waits until what was shipped is as `is_so` wants it.
    pub(crate) async fn wait(&self, is_so: impl FnMut(&Vec<Batch>) -> bool) {
        self.shipped.subscribe().wait_for(is_so).await.expect("sender lives");
    }

    /// Waits until there is a sample that `is_so`.
    pub(crate) async fn wait_for_sample(&self, is_so: impl Fn(&ShipSample) -> bool) {
        self.wait(|batches| batches.iter().any(|b| b.samples.iter().any(&is_so))).await;
    }

    pub(crate) async fn wait_for_tries(&self, count: usize) {
        self.tries.subscribe().wait_for(|tries| *tries >= count).await.expect("sender lives");
    }
}

#[async_trait]
impl BatchSink for FakeSink {
    async fn ship(&self, batch: Batch) -> Result<Receipt, ShipError> {
        self.tries.send_modify(|tries| *tries += 1);
        if self.fails.load(Ordering::SeqCst) {
            return Err(ShipError::Unavailable("told to fail".to_string()));
        }
        let accepted = batch.samples.len() as u64;
        self.shipped.send_modify(|shipped| shipped.push(batch));
        Ok(Receipt { accepted, ..Receipt::default() })
    }
}

/// A roster that changes only when a test changes it.
pub(crate) struct FixedRoster {
    alive: AtomicBool,
    ring: Mutex<Arc<TargetRing>>,
}

/// The agent under test.
pub(crate) const ME: NodeId = NodeId(1);

impl FixedRoster {
    pub(crate) fn alone() -> Arc<Self> {
        let ring = Mutex::new(Arc::new(ring([ME])));
        Arc::new(FixedRoster { alive: AtomicBool::new(true), ring })
    }

    pub(crate) fn set_agents(&self, agents: impl IntoIterator<Item = NodeId>) {
        *self.ring.lock() = Arc::new(ring(agents));
    }

    pub(crate) fn set_alive(&self, alive: bool) {
        self.alive.store(alive, Ordering::SeqCst);
    }
}

/// An agent of `group`, as the catalog has it.
pub(crate) fn agent_node(id: NodeId, group: &str) -> Node {
    Node {
        id,
        roles: [Role::Agent].into(),
        grpc_address: String::new(),
        http_address: String::new(),
        zone: String::new(),
        feature_level: 1,
        joined_ms: 0,
        agent_group: group.to_string(),
    }
}

fn ring(agents: impl IntoIterator<Item = NodeId>) -> TargetRing {
    let nodes: Vec<Node> = agents.into_iter().map(|id| agent_node(id, "")).collect();
    TargetRing::new(&nodes)
}

impl Roster for FixedRoster {
    fn me(&self) -> NodeId {
        ME
    }

    fn is_alive(&self) -> bool {
        self.alive.load(Ordering::SeqCst)
    }

    fn offset_seed(&self) -> u64 {
        7
    }

    fn ring(&self) -> Arc<TargetRing> {
        self.ring.lock().clone()
    }
}

/// A configuration file.
pub(crate) fn config(text: &str) -> Config {
    Config::parse(text, "test.yml").expect("valid").config
}
