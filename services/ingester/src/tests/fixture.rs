//! A small cluster of ingesters in one process.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use object_store::memory::InMemory;
use pando_catalog::{
    Catalog, Command, CommandReply, Node, Role, SealResult, ShardStage, Successor, wire,
};
use pando_cluster::{CatalogFollower, ControllerClient, Membership, Streams};
use pando_codec::write_block::{Encoder, FrameInput, FrameValue, GroupId, GroupSpec};
use pando_consensus::{Host, HostConfig, LocalNetwork};
use pando_executor::{BlockStore, BlockStoreConfig, LiveSource, SeriesStream, Sources};
use pando_model::{
    CatalogVersion, ClusterId, Cut, KeyRange, Labels, Metadata, NodeId, SeriesKey, SeriesSamples,
    ShardId, TenantId, TimeRange,
};
use pando_proto::v1::controller_server::{Controller as Service, ControllerServer};
use pando_proto::v1::ingester_client::IngesterClient;
use pando_proto::v1::live_client::LiveClient;
use pando_proto::v1::{
    AssignTenantRequest, AssignTenantResponse, HeartbeatRequest, HeartbeatResponse, HelloRequest,
    HelloResponse, LeaseWorkRequest, LeaseWorkResponse, NewestRequest, NewestResponse,
    ProposeRequest, ProposeResponse, SealRequest, SealShardRequest, SealShardResponse,
    WatchRequest, WatchResponse, WriteBlock, WriteRequest, WriteResponse,
};
use pando_rpc::{Channels, GrpcServer, Identity, Peer, bind};
use pando_runtime::disk::{SimDisk, Tear};
use pando_runtime::{Clock as _, ManualClock, MetricsRegistry, Rng, SystemClock, Tasks};
use parking_lot::Mutex;
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use crate::{Ingester, IngesterConfig};

pub(crate) const CLUSTER: ClusterId = ClusterId(7);
pub(crate) const NOW_MS: i64 = 1_700_000_000_000;
pub(crate) const QUERY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a condition may take to come true before the test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).expect("good name")
}

fn node(id: u64, address: String) -> Node {
    Node {
        id: NodeId(id),
        roles: BTreeSet::from([Role::Ingester]),
        grpc_address: address,
        http_address: String::new(),
        zone: String::new(),
        feature_level: 1,
        joined_ms: 0,
        agent_group: String::new(),
    }
}

/// A catalog with node 1 and so many open shards of it.
pub(crate) fn founded(shards: usize) -> Catalog {
    let mut catalog = Catalog::new();
    let members = vec![vec![NodeId(1)]; shards];
    let node = node(1, "n1:1".to_string());
    for command in [
        Command::InitCluster { cluster: CLUSTER, feature_level: 1 },
        Command::RegisterNode { node, now_ms: 5 },
        Command::OpenShards { members, now_ms: 5 },
    ] {
        let index = catalog.applied() + 1;
        catalog.apply(index, &command).expect("the command fits");
    }
    catalog
}

/// Waits until `is_so`.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "it did not come true: {what}");
}

/// The controllers: one catalog.
pub(crate) struct Controllers {
    catalog: Mutex<Catalog>,
    versions: watch::Sender<u64>,
    clock: Arc<ManualClock>,
    channels: Channels,
    /// Commits are not answered, and not applied.
    pub(crate) deaf: AtomicBool,
    /// This clock minus the members', ms.
    pub(crate) ahead_ms: AtomicI64,
}

impl Controllers {
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Catalog) -> T) -> T {
        look(&self.catalog.lock())
    }

    pub(crate) fn apply(
        &self,
        command: &Command,
    ) -> Result<CommandReply, pando_catalog::CommandRefused> {
        let mut catalog = self.catalog.lock();
        let index = catalog.applied() + 1;
        let reply = catalog.apply(index, command);
        let version = catalog.version().0;
        drop(catalog);
        self.versions.send_replace(version);
        reply
    }

    pub(crate) fn ok(&self, command: &Command) -> CommandReply {
        self.apply(command).expect("the command fits")
    }

    fn deltas(
        self: &Arc<Self>,
        since: u64,
        delta: fn(&Catalog, CatalogVersion) -> Option<(CatalogVersion, Bytes)>,
    ) -> Deltas {
        let start = (self.clone(), self.versions.subscribe(), CatalogVersion(since));
        Box::pin(futures::stream::unfold(start, move |(all, mut versions, since)| async move {
            loop {
                versions.mark_unchanged();
                if let Some((to, delta)) = all.read(|catalog| delta(catalog, since)) {
                    return Some((Ok(WatchResponse { delta, more: false }), (all, versions, to)));
                }
                versions.changed().await.ok()?;
            }
        }))
    }
}

type Deltas = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Service for ControllersService {
    async fn hello(&self, _: Request<HelloRequest>) -> Result<Response<HelloResponse>, Status> {
        Ok(Response::new(HelloResponse::default()))
    }

    async fn heartbeat(
        &self,
        _: Request<HeartbeatRequest>,
    ) -> Result<Response<HeartbeatResponse>, Status> {
        let ahead_ms = self.0.ahead_ms.load(Ordering::SeqCst);
        Ok(Response::new(HeartbeatResponse {
            clock_ms: self.0.clock.now_ms() + ahead_ms,
            lease_ms: 10_000,
            ..HeartbeatResponse::default()
        }))
    }

    async fn propose(
        &self,
        request: Request<ProposeRequest>,
    ) -> Result<Response<ProposeResponse>, Status> {
        let command = wire::decode_command(&request.into_inner().command).expect("a command");
        if self.0.deaf.load(Ordering::SeqCst) {
            return Err(Status::unavailable("no leader"));
        }
        let reply = wire::encode_reply(&self.0.apply(&command)).into();
        let catalog_version = self.0.read(|catalog| catalog.version().0);
        Ok(Response::new(ProposeResponse { reply, catalog_version }))
    }

    async fn assign_tenant(
        &self,
        _: Request<AssignTenantRequest>,
    ) -> Result<Response<AssignTenantResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    type WatchRoutingStream = Deltas;

    async fn watch_routing(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Deltas>, Status> {
        Ok(Response::new(self.0.deltas(request.into_inner().since, |catalog, since| {
            let delta = catalog.routing_since(since)?;
            Some((delta.to, wire::encode_routing_delta(&delta).into()))
        })))
    }

    type WatchBlocksStream = Deltas;

    async fn watch_blocks(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Deltas>, Status> {
        Ok(Response::new(self.0.deltas(request.into_inner().since, |catalog, since| {
            let delta = catalog.blocks_since(since)?;
            Some((delta.to, wire::encode_block_delta(&delta).into()))
        })))
    }

    async fn newest(&self, _: Request<NewestRequest>) -> Result<Response<NewestResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn lease_work(
        &self,
        _: Request<LeaseWorkRequest>,
    ) -> Result<Response<LeaseWorkResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    /// Seals a shard at its first member that leads, and opens one successor with the same members.
    async fn seal_shard(
        &self,
        request: Request<SealShardRequest>,
    ) -> Result<Response<SealShardResponse>, Status> {
        let asked = request.into_inner();
        if !asked.recover {
            return Err(Status::permission_denied("admin calls are off"));
        }
        let shard = ShardId(asked.shard);
        let info = self.0.read(|catalog| catalog.shards()[&shard].info.clone());
        if info.stage != ShardStage::Open {
            return Ok(Response::new(SealShardResponse::default()));
        }
        let mut last = Status::unavailable("no member");
        for member in &info.members {
            let address = self.0.read(|catalog| catalog.nodes()[member].grpc_address.clone());
            let peer = self.0.channels.peer(&address, Some(*member))?;
            let answer =
                IngesterClient::new(peer).seal(SealRequest { shard: shard.0, recover: true }).await;
            let answer = match answer {
                Ok(answer) => answer.into_inner(),
                Err(status) => {
                    last = status;
                    continue;
                }
            };
            let ranges = self.0.read(|catalog| catalog.shard_ranges(shard));
            let ranges = ranges.into_iter().flat_map(|(tenant, ranges)| {
                ranges.into_iter().map(move |range| (tenant.clone(), range))
            });
            let seal = SealResult {
                shard,
                term: answer.term,
                last_cut: Cut(answer.last_cut),
                answer: answer.answer,
            };
            self.0.ok(&Command::SealShards {
                seals: vec![seal],
                successors: vec![Successor {
                    members: info.members.clone(),
                    ranges: ranges.collect(),
                }],
                now_ms: NOW_MS,
            });
            return Ok(Response::new(SealShardResponse::default()));
        }
        Err(last)
    }
}

struct ControllersService(Arc<Controllers>);

/// A cluster: controllers, a bucket, and ingesters that can be stopped and started again.
pub(crate) struct Cluster {
    pub(crate) controllers: Arc<Controllers>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) bucket: Arc<InMemory>,
    pub(crate) members: BTreeMap<NodeId, Running>,
    /// Of the members that are started from now on.
    pub(crate) admin_api: bool,
    network: LocalNetwork,
    controller_address: String,
    starts: u64,
    tasks: Tasks,
}

/// One ingester process.
pub(crate) struct Running {
    pub(crate) ingester: Arc<Ingester>,
    pub(crate) follower: CatalogFollower,
    pub(crate) blocks: BlockStore,
    pub(crate) metrics: MetricsRegistry,
    host: Host,
    tasks: Tasks,
    host_tasks: Tasks,
    pub(crate) disk: SimDisk,
    folder: Arc<tempfile::TempDir>,
    address: SocketAddr,
}

fn identity(node: u64) -> Identity {
    let identity = Identity::new(NodeId(node));
    identity.set_cluster(CLUSTER);
    identity
}

async fn serve(server: GrpcServer, listener: tokio::net::TcpListener, tasks: &Tasks) {
    let token = tasks.token();
    tasks.spawn_until_stopped("server", async move {
        server.serve(listener, token.cancelled_owned()).await.expect("it serves");
    });
}

impl Cluster {
    /// So many ingesters with one shard on all of them, which takes the tenants `a` and `b`.
    pub(crate) async fn start(ingesters: u64) -> Cluster {
        let (clock, tasks) = (ManualClock::at(NOW_MS), Tasks::new());
        let controllers = Arc::new(Controllers {
            catalog: Mutex::new(Catalog::new()),
            versions: watch::Sender::new(0),
            clock: clock.clone(),
            channels: Channels::new(identity(100), None),
            deaf: AtomicBool::new(false),
            ahead_ms: AtomicI64::new(0),
        });
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port");
        let controller_address = listener.local_addr().expect("an address").to_string();
        let server = GrpcServer::new(identity(100), None);
        server.add(ControllerServer::new(ControllersService(controllers.clone())));
        serve(server, listener, &tasks).await;

        controllers.ok(&Command::InitCluster { cluster: CLUSTER, feature_level: 1 });
        let mut cluster = Cluster {
            controllers,
            clock,
            bucket: Arc::new(InMemory::new()),
            members: BTreeMap::new(),
            admin_api: true,
            network: LocalNetwork::new(Rng::seeded(7)),
            controller_address,
            starts: 0,
            tasks,
        };
        let mut listeners = Vec::new();
        for id in 1..=ingesters {
            let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port");
            let address = listener.local_addr().expect("an address").to_string();
            let node = node(id, address);
            cluster.controllers.ok(&Command::RegisterNode { node, now_ms: NOW_MS });
            listeners.push((NodeId(id), listener));
        }
        let members = vec![(1..=ingesters).map(NodeId).collect()];
        cluster.controllers.ok(&Command::OpenShards { members, now_ms: NOW_MS });
        for name in ["a", "b"] {
            let route = vec![(SeriesKey(u64::MAX), ShardId(1))];
            cluster.controllers.ok(&Command::AssignTenant { tenant: tenant(name), route });
        }
        for (node, listener) in listeners {
            let folder = Arc::new(tempfile::tempdir().expect("a folder"));
            cluster.run(node, listener, SimDisk::new(), folder).await;
        }
        for member in cluster.members.values() {
            let ready = tokio::time::timeout(PATIENCE, member.ingester.wait_ready());
            ready.await.expect("it becomes ready");
        }
        cluster
    }

    async fn run(
        &mut self,
        id: NodeId,
        listener: tokio::net::TcpListener,
        disk: SimDisk,
        folder: Arc<tempfile::TempDir>,
    ) {
        let address = listener.local_addr().expect("an address");
        // Every start draws other numbers.
        self.starts += 1;
        let (tasks, host_tasks, rng) = (Tasks::new(), Tasks::new(), Rng::seeded(self.starts));
        let host_config = HostConfig::new(id, CLUSTER, PathBuf::from("/raft"));
        let transport = self.network.transport(id);
        let system = SystemClock::shared();
        let host =
            Host::open(host_config, disk.shared(), transport, system, rng.clone(), &host_tasks);
        let host = host.expect("the log is readable");
        self.network.connect(id, &host);
        let channels = Channels::new(identity(id.0), None);
        let client = ControllerClient::new(channels.clone(), vec![self.controller_address.clone()]);
        let follower = CatalogFollower::start(
            client.clone(),
            Streams::RoutingAndBlocks,
            disk.shared(),
            PathBuf::from("/catalog"),
            &tasks,
        );
        let membership =
            Membership::start(client, node(id.0, address.to_string()), self.clock.clone(), &tasks);
        let store =
            BlockStoreConfig { folder: Some(folder.path().to_path_buf()), ..Default::default() };
        let blocks = BlockStore::new(self.bucket.clone(), &store);
        let metrics = MetricsRegistry::new();
        let config = IngesterConfig {
            query_timeout: QUERY_TIMEOUT,
            admin_api: self.admin_api,
            ..IngesterConfig::new(id)
        };
        let ingester = Ingester::start(
            config,
            host.clone(),
            follower.clone(),
            membership,
            channels,
            blocks.clone(),
            self.clock.clone(),
            rng,
            &tasks,
            &metrics,
        );
        let server = GrpcServer::new(identity(id.0), None);
        ingester.services(&server);
        serve(server, listener, &tasks).await;
        let running = Running {
            ingester,
            follower,
            blocks,
            metrics,
            host,
            tasks,
            host_tasks,
            disk,
            folder,
            address,
        };
        self.members.insert(id, running);
    }

    /// The power of a member goes; what it had not synced is lost.
    pub(crate) async fn kill(&mut self, id: NodeId) -> Stopped {
        let running = self.members.remove(&id).expect("it runs");
        self.network.disconnect(id);
        let disk = running.disk.crash(&Rng::seeded(99), Tear::Part);
        assert_eq!(running.tasks.shutdown(PATIENCE).await, [] as [&str; 0]);
        running.host.shutdown().await;
        assert_eq!(running.host_tasks.shutdown(PATIENCE).await, [] as [&str; 0]);
        Stopped { disk, folder: running.folder, address: running.address }
    }

    /// Starts a member again, where it was.
    pub(crate) async fn restart(&mut self, id: NodeId, stopped: Stopped) {
        let listener = bind(stopped.address).await.expect("its port is free again");
        self.run(id, listener, stopped.disk, stopped.folder).await;
        let ready = tokio::time::timeout(PATIENCE, self.members[&id].ingester.wait_ready());
        ready.await.expect("it becomes ready");
    }

    pub(crate) fn member(&self, id: u64) -> &Running {
        &self.members[&NodeId(id)]
    }

    pub(crate) fn version(&self) -> CatalogVersion {
        self.controllers.read(Catalog::version)
    }

    /// A client of a member's gRPC side.
    pub(crate) fn client(&self, id: u64) -> IngesterClient<Peer> {
        let address = self.member(id).address.to_string();
        let channels = Channels::new(identity(200), None);
        IngesterClient::new(channels.peer(&address, Some(NodeId(id))).expect("an address"))
    }

    /// A client of a member's live generations.
    pub(crate) fn live_client(&self, id: u64) -> LiveClient<Peer> {
        let address = self.member(id).address.to_string();
        let channels = Channels::new(identity(200), None);
        LiveClient::new(channels.peer(&address, Some(NodeId(id))).expect("an address"))
    }

    /// The member that leads shard `shard`, once there is one.
    pub(crate) async fn leader(&self, shard: u64) -> u64 {
        let mut found = 0;
        until("a member leads", async || {
            found = 0;
            for (id, member) in &self.members {
                let local = member.ingester.shards().get(ShardId(shard));
                if local.is_some_and(|local| local.group.is_leader()) {
                    found = id.0;
                }
            }
            found != 0
        })
        .await;
        found
    }

    /// Ends everything.
    pub(crate) async fn stop(mut self) {
        let ids: Vec<NodeId> = self.members.keys().copied().collect();
        for id in ids {
            self.kill(id).await;
        }
        assert_eq!(self.tasks.shutdown(PATIENCE).await, [] as [&str; 0]);
    }
}

/// What is left of a member that does not run.
pub(crate) struct Stopped {
    disk: SimDisk,
    folder: Arc<tempfile::TempDir>,
    address: SocketAddr,
}

/// Every sample of a tenant: series -> (time, bits of the value).
pub(crate) type Samples = BTreeMap<String, Vec<(i64, u64)>>;

impl Running {
    /// All samples of a tenant, as a query at the newest catalog version sees them: blocks, and
    /// live generations of this member.
    pub(crate) async fn samples(&self, name: &str, at_least: CatalogVersion) -> Samples {
        let view = self.follower.pin(at_least, PATIENCE).await.expect("the catalog is followed");
        let tenant = tenant(name);
        let (keys, time) = (KeyRange::ALL, TimeRange::ALL);
        let mut found: BTreeMap<Labels, Vec<SeriesSamples>> = BTreeMap::new();
        for entry in view.blocks.select(&tenant, keys, time) {
            let (reader, io) = self.blocks.open(&entry.record).await.expect("it opens");
            let mut scan = reader.scan(io, &tenant, keys, &[], time, 10).await.expect("it scans");
            while let Some(batch) = scan.next_batch().await.expect("it reads") {
                batch.into_iter().for_each(|s| found.entry(s.labels.clone()).or_default().push(s));
            }
        }
        for shard in view.routing.live_shards(&tenant, keys).into_keys() {
            let sealed = view.routing.shard(shard).expect("known").stage != ShardStage::Open;
            let first_cut = view.blocks.next_cut(shard).expect("known");
            let mut stream = self.live(name, shard, first_cut, sealed).await.expect("it is here");
            while let Some(batch) = stream.next_batch().await.expect("it reads") {
                batch.into_iter().for_each(|s| found.entry(s.labels.clone()).or_default().push(s));
            }
        }
        let merged = found.into_iter().map(|(labels, parts)| {
            let series = SeriesSamples::merge(parts).expect("some part");
            let values = series.floats.iter().map(|v| v.to_bits());
            (labels.to_string(), series.axis.iter().copied().zip(values).collect())
        });
        merged.collect()
    }

    /// Live generations of this member.
    pub(crate) async fn live(
        &self,
        name: &str,
        shard: ShardId,
        first_cut: Cut,
        sealed: bool,
    ) -> Result<Box<dyn SeriesStream>, pando_executor::ExecuteError> {
        let source = LiveSource { shard, first_cut, sealed, members: Vec::new() };
        let sources = Sources {
            tenant: tenant(name),
            keys: KeyRange::ALL,
            version: CatalogVersion(0),
            blocks: Vec::new(),
            live: Vec::new(),
        };
        let opened = self.ingester.live().open(&sources, &source, &[], TimeRange::ALL).await?;
        Ok(opened.expect("the shard is here"))
    }

    /// The text of a member's metrics.
    pub(crate) fn metrics(&self) -> String {
        self.metrics.encode().expect("text")
    }
}

/// A producer of one group of series.
pub(crate) struct Producer {
    encoder: Encoder,
    group: GroupId,
    id: u64,
    next: u64,
}

impl Producer {
    /// A producer of `series` series of a tenant.
    pub(crate) fn new(id: u64, name: &str, series: usize) -> Self {
        let mut encoder = Encoder::new();
        let labels = |i: usize| {
            let metric = if i.is_multiple_of(2) { "up" } else { "requests_total" };
            let (i, instance) = (i.to_string(), format!("host{id}:80"));
            Labels::from_pairs([
                ("__name__", metric),
                ("i", &i),
                ("instance", &instance),
                ("job", "j"),
            ])
        };
        let series = (0..series).map(|i| Some(labels(i))).collect();
        let spec = GroupSpec { tenant: tenant(name), target: None, series };
        let group = encoder.register(spec).expect("it fits");
        Producer { encoder, group, id, next: 1 }
    }

    /// Says something of a family with the next block.
    pub(crate) fn metadata(&mut self, name: &str, family: &str, metadata: &Metadata) {
        self.encoder.push_metadata(&tenant(name), family, metadata);
    }

    /// The next block: one frame.
    pub(crate) fn block(&mut self, time_ms: i64, values: &[f64]) -> WriteBlock {
        let values: Vec<FrameValue> = values.iter().map(|v| FrameValue::Float(*v)).collect();
        let input = FrameInput { time_ms, values: &values, ..FrameInput::default() };
        self.encoder.push_frame(self.group, &input);
        let block = self.encoder.finish().expect("something was pushed").into();
        let sequence = self.next;
        self.next += 1;
        WriteBlock { sequence, skip_from: 0, skip_to: 0, block }
    }

    /// A request with these blocks.
    pub(crate) fn request(&self, shard: u64, blocks: Vec<WriteBlock>) -> WriteRequest {
        WriteRequest { shard, producer: self.id, epoch: 1, blocks }
    }
}

/// Sends a request until somebody has applied or judged it.
pub(crate) async fn write(cluster: &Cluster, request: WriteRequest) -> WriteResponse {
    let mut answer = None;
    until("a write is answered", async || {
        let leader = cluster.leader(request.shard).await;
        let sent = cluster.client(leader).write(request.clone()).await;
        answer = sent.ok().map(Response::into_inner).filter(|answer| answer.not_leader.is_none());
        answer.is_some()
    })
    .await;
    answer.expect("it was answered")
}
