//! One or three controllers whose Raft messages travel within the process.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pando_catalog::{Command, CommandReply, Node, Role, TenantLimits};
use pando_consensus::{Host, HostConfig, LocalNetwork, Member};
use pando_model::{ClusterId, NodeId};
use pando_proto::v1::HeartbeatResponse;
use pando_rpc::{Channels, Identity};
use pando_runtime::disk::SimDisk;
use pando_runtime::{Clock as _, ManualClock, Rng, SharedClock, SystemClock, Tasks};
use tonic::Status;

use crate::{CATALOG_GROUP, Controller, ControllerConfig, ControllerMetrics, ControllerService};

pub(crate) const CLUSTER: ClusterId = ClusterId(7);
/// How long a condition may take to come true before the test gives up on it.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn config(controllers: &[String], own: &str) -> ControllerConfig {
    ControllerConfig {
        controllers: controllers.to_vec(),
        own_address: own.to_string(),
        replication_factor: None,
        shards: 1,
        tenant_ranges: 1,
        limits: TenantLimits::default(),
        retention_ms: 0,
        retention_bytes: 0,
        admin_api: false,
        orphan_interval: Duration::ZERO,
        orphan_age_ms: 3 * 86_400_000,
        min_block_age_ms: 0,
        delete_delay_ms: 0,
        member_timeout: Duration::from_secs(12),
        member_lease: Duration::from_secs(9),
    }
}

/// An ingester that nobody reaches.
pub(crate) fn node(id: u64) -> Node {
    Node {
        id: NodeId(id),
        roles: BTreeSet::from([Role::Ingester]),
        grpc_address: "127.0.0.1:1".to_string(),
        http_address: String::new(),
        zone: String::new(),
        feature_level: 1,
        joined_ms: 0,
        agent_group: String::new(),
    }
}

/// Waits until `is_so`.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "it did not come true: {what}");
}

pub(crate) struct Controllers {
    pub(crate) all: Vec<Arc<Controller>>,
    pub(crate) network: LocalNetwork,
    /// Wall time of all of them.
    pub(crate) clock: Arc<ManualClock>,
    _tasks: Vec<Tasks>,
}

impl Controllers {
    /// So many controllers, of which one leads; `change` may change their configuration.
    pub(crate) async fn start(count: u64, change: impl Fn(&mut ControllerConfig)) -> Self {
        let members: Vec<Member> =
            (1..=count).map(|n| Member { node: NodeId(n), address: format!("c{n}:1") }).collect();
        let addresses: Vec<String> = members.iter().map(|m| m.address.clone()).collect();
        let (rng, clock) = (Rng::seeded(1), ManualClock::at(SystemClock::new().now_ms()));
        let network = LocalNetwork::new(rng.clone());
        let (mut all, mut owned) = (Vec::new(), Vec::new());
        for member in &members {
            let tasks = Tasks::new();
            let identity = Identity::new(member.node);
            identity.set_cluster(CLUSTER);
            let mut config = config(&addresses, &member.address);
            change(&mut config);
            let controller = Arc::new(Controller::new(
                config,
                identity.clone(),
                Channels::new(identity, None),
                clock_of(&clock),
                tasks.clone(),
                ControllerMetrics::default(),
            ));
            let host = Host::open(
                HostConfig::new(member.node, CLUSTER, PathBuf::from("/raft")),
                SimDisk::new().shared(),
                network.transport(member.node),
                SystemClock::shared(),
                Rng::seeded(member.node.0),
                &tasks,
            )
            .expect("an empty disk");
            network.connect(member.node, &host);
            let state = controller.state().clone();
            let group = host.create_group(CATALOG_GROUP, members.clone(), state).await;
            controller.join(group.expect("a new group"));
            all.push(controller);
            owned.push(tasks);
        }
        let controllers = Controllers { all, network, clock, _tasks: owned };
        until("one leads", async || controllers.all.iter().any(|c| c.is_leader())).await;
        controllers.ok(Command::InitCluster { cluster: CLUSTER, feature_level: 1 }).await;
        controllers
    }

    /// Runs all of them on `store`.
    pub(crate) fn run(&self, store: &Arc<dyn object_store::ObjectStore>) {
        for controller in &self.all {
            let running = crate::run(controller.clone(), store.clone(), Rng::seeded(3));
            controller.tasks().spawn_until_stopped("controller", running);
        }
    }

    pub(crate) fn leader(&self) -> &Arc<Controller> {
        self.all.iter().find(|controller| controller.is_leader()).expect("one leads")
    }

    pub(crate) fn service(&self) -> ControllerService {
        ControllerService::new(self.leader().clone())
    }

    pub(crate) async fn ok(&self, command: Command) -> CommandReply {
        self.leader().command(&command).await.expect("the command fits")
    }
}

impl Controller {
    /// A heartbeat of [`node`] `id`.
    pub(crate) async fn hears(&self, id: u64) -> Result<HeartbeatResponse, Status> {
        self.heartbeat(node(id), self.now_ms(), false).await
    }
}

/// Wall time that tests move, and time that passes.
struct MovedClock(Arc<ManualClock>, SystemClock);

impl pando_runtime::Clock for MovedClock {
    fn now_ms(&self) -> i64 {
        self.0.now_ms()
    }

    fn monotonic(&self) -> Duration {
        self.1.monotonic()
    }
}

fn clock_of(clock: &Arc<ManualClock>) -> SharedClock {
    Arc::new(MovedClock(clock.clone(), SystemClock::new()))
}
