//! A controller whose catalog is real and whose network can be made to lie, and blocks for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt as _};
use pando_block::{BlockOptions, BlockReader, BlockWriter, BuiltBlock, MemoryObject};
use pando_catalog::layout::block_path;
use pando_catalog::{
    Catalog, Command, CommandReply, CommitGeneration, Grant, Node, Role, WorkSpec, wire,
};
use pando_cluster::{CatalogFollower, ControllerClient, Streams};
use pando_executor::{BlockStore, BlockStoreConfig};
use pando_model::digest::series_hash;
use pando_model::{
    BlockId, BlockRecord, BlockSource, CatalogVersion, ClusterId, Cut, Digest, GenerationId,
    Labels, NodeId, SampleValue, SeriesKey, SeriesSamples, ShardId, TenantId,
};
use pando_proto::v1::controller_server::{Controller as Service, ControllerServer};
use pando_proto::v1::{
    AssignTenantRequest, AssignTenantResponse, HeartbeatRequest, HeartbeatResponse, HelloRequest,
    HelloResponse, LeaseWorkRequest, LeaseWorkResponse, NewestRequest, NewestResponse,
    ProposeRequest, ProposeResponse, SealShardRequest, SealShardResponse, WatchRequest,
    WatchResponse,
};
use pando_rpc::{Channels, GrpcServer, Identity, limited};
use pando_runtime::disk::SimDisk;
use pando_runtime::{ManualClock, MetricsRegistry, Rng, Tasks};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tonic::{Request, Response, Status};

use crate::{Compactor, CompactorConfig};

pub(super) const OWN: NodeId = NodeId(1);
pub(super) const OTHER: NodeId = NodeId(2);
const CLUSTER: ClusterId = ClusterId(7);

/// What happens to a command on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Arrives,
    /// It is applied, and the answer is lost.
    AnswerLost,
}

type Hook = Box<dyn FnMut(&mut Catalog, &Command) -> Fate + Send>;

pub(super) struct State {
    pub(super) catalog: Catalog,
    pub(super) proposed: Vec<Command>,
    pub(super) work: VecDeque<WorkSpec>,
    /// Sees every proposed command before the catalog does.
    pub(super) hook: Hook,
}

/// The controller. Cloning shares it.
#[derive(Clone)]
pub(super) struct Controller {
    pub(super) state: Arc<Mutex<State>>,
    version: watch::Sender<u64>,
    /// While false, watchers hear nothing of what happens.
    pub(super) watched: watch::Sender<bool>,
    lease: Duration,
    tasks: Tasks,
}

pub(super) fn apply(catalog: &mut Catalog, command: &Command) -> CommandReply {
    let index = catalog.applied() + 1;
    catalog.apply(index, command).expect("the command fits")
}

/// Leases the work that is leased already to another node, as a controller does when the holder is
/// silent.
pub(super) fn steal_lease(catalog: &mut Catalog) {
    let lease = catalog.leases().values().next().expect("a lease");
    let grant = Grant::Again { work: lease.item.id, epoch: lease.epoch };
    apply(catalog, &Command::GrantLease { grant, holder: OTHER, now_ms: 0 });
}

impl Controller {
    fn new(tasks: &Tasks, lease: Duration) -> Self {
        let state = State {
            catalog: Catalog::new(),
            proposed: Vec::new(),
            work: VecDeque::new(),
            hook: Box::new(|_, _| Fate::Arrives),
        };
        let controller = Controller {
            state: Arc::new(Mutex::new(state)),
            version: watch::Sender::new(0),
            watched: watch::Sender::new(true),
            lease,
            tasks: tasks.clone(),
        };
        controller.apply(Command::InitCluster { cluster: CLUSTER, feature_level: 1 });
        for id in [OWN, OTHER] {
            let node = Node {
                id,
                roles: BTreeSet::from([Role::Ingester, Role::Compactor]),
                grpc_address: format!("{id}:9095"),
                http_address: String::new(),
                zone: String::new(),
                feature_level: 1,
                joined_ms: 0,
                agent_group: String::new(),
            };
            controller.apply(Command::RegisterNode { node, now_ms: 0 });
        }
        controller.apply(Command::OpenShards { members: vec![vec![OWN]], now_ms: 0 });
        for name in ["a", "b"] {
            let route = vec![(SeriesKey(u64::MAX), ShardId(1))];
            controller.apply(Command::AssignTenant { tenant: tenant(name), route });
        }
        controller
    }

    pub(super) fn apply(&self, command: Command) -> CommandReply {
        let reply = apply(&mut self.state.lock().catalog, &command);
        self.changed();
        reply
    }

    fn changed(&self) {
        let version = self.state.lock().catalog.version().0;
        self.version.send_replace(version);
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&Catalog) -> T) -> T {
        read(&self.state.lock().catalog)
    }

    pub(super) fn hook(&self, hook: impl FnMut(&mut Catalog, &Command) -> Fate + Send + 'static) {
        self.state.lock().hook = Box::new(hook);
    }

    /// Waits until the catalog is as `condition` says.
    pub(super) async fn until(&self, condition: impl Fn(&State) -> bool) {
        let mut version = self.version.subscribe();
        let waited = async {
            loop {
                version.mark_unchanged();
                if condition(&self.state.lock()) {
                    return;
                }
                version.changed().await.expect("the controller lives");
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), waited).await;
        assert!(waited.is_ok(), "never so: {:?}", self.state.lock().proposed);
    }

    fn deltas(
        &self,
        mut since: CatalogVersion,
        delta: fn(&Catalog, CatalogVersion) -> Option<(CatalogVersion, Bytes)>,
    ) -> Deltas {
        let (out, stream) = mpsc::channel(4);
        let (this, mut version) = (self.clone(), self.version.subscribe());
        self.tasks.spawn_until_stopped("fake watch", async move {
            let mut watched = this.watched.subscribe();
            loop {
                version.mark_unchanged();
                let _ = watched.wait_for(|watched| *watched).await;
                let next = delta(&this.state.lock().catalog, since);
                if let Some((to, delta)) = next {
                    since = to;
                    if out.send(Ok(WatchResponse { delta, more: false })).await.is_err() {
                        return;
                    }
                }
                if version.changed().await.is_err() {
                    return;
                }
            }
        });
        Box::pin(tokio_stream::wrappers::ReceiverStream::new(stream))
    }
}

type Deltas = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Service for Controller {
    async fn hello(&self, _: Request<HelloRequest>) -> Result<Response<HelloResponse>, Status> {
        Err(Status::unimplemented("hello"))
    }

    async fn heartbeat(
        &self,
        _: Request<HeartbeatRequest>,
    ) -> Result<Response<HeartbeatResponse>, Status> {
        Err(Status::unimplemented("heartbeat"))
    }

    async fn propose(
        &self,
        request: Request<ProposeRequest>,
    ) -> Result<Response<ProposeResponse>, Status> {
        let command = wire::decode_command(&request.into_inner().command).expect("a command");
        let (reply, fate, catalog_version) = {
            let State { catalog, proposed, hook, .. } = &mut *self.state.lock();
            let fate = hook(catalog, &command);
            let index = catalog.applied() + 1;
            let reply = catalog.apply(index, &command);
            proposed.push(command);
            (reply, fate, catalog.version().0)
        };
        self.changed();
        match fate {
            Fate::Arrives => {
                let reply = wire::encode_reply(&reply).into();
                Ok(Response::new(ProposeResponse { reply, catalog_version }))
            }
            Fate::AnswerLost => Err(Status::unavailable("the answer is lost")),
        }
    }

    async fn assign_tenant(
        &self,
        _: Request<AssignTenantRequest>,
    ) -> Result<Response<AssignTenantResponse>, Status> {
        Err(Status::unimplemented("assign_tenant"))
    }

    type WatchRoutingStream = Deltas;

    async fn watch_routing(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Deltas>, Status> {
        let since = CatalogVersion(request.into_inner().since);
        Ok(Response::new(self.deltas(since, |catalog, since| {
            let delta = catalog.routing_since(since)?;
            Some((delta.to, wire::encode_routing_delta(&delta).into()))
        })))
    }

    type WatchBlocksStream = Deltas;

    async fn watch_blocks(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Deltas>, Status> {
        let since = CatalogVersion(request.into_inner().since);
        Ok(Response::new(self.deltas(since, |catalog, since| {
            let delta = catalog.blocks_since(since)?;
            Some((delta.to, wire::encode_block_delta(&delta).into()))
        })))
    }

    async fn newest(&self, _: Request<NewestRequest>) -> Result<Response<NewestResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn lease_work(
        &self,
        request: Request<LeaseWorkRequest>,
    ) -> Result<Response<LeaseWorkResponse>, Status> {
        let holder = NodeId(request.into_inner().node);
        let reply = {
            let State { catalog, work, .. } = &mut *self.state.lock();
            let mut leases = catalog.leases().values();
            let free = leases.find(|lease| lease.holder.is_none() && !lease.is_quarantined());
            let again = free.map(|lease| Grant::Again { work: lease.item.id, epoch: lease.epoch });
            let grant = again.or_else(|| work.pop_front().map(Grant::New));
            grant.map(|grant| apply(catalog, &Command::GrantLease { grant, holder, now_ms: 0 }))
        };
        self.changed();
        let Some(CommandReply::Leased { item, epoch }) = reply else {
            return Ok(Response::new(LeaseWorkResponse::default()));
        };
        Ok(Response::new(LeaseWorkResponse {
            work: wire::encode_work_item(&item).into(),
            fencing_epoch: epoch.0,
            lease_ms: self.lease.as_millis() as u64,
        }))
    }

    async fn seal_shard(
        &self,
        _: Request<SealShardRequest>,
    ) -> Result<Response<SealShardResponse>, Status> {
        Err(Status::unimplemented("seal_shard"))
    }
}

/// A controller, a store, and a compactor once it is started.
pub(super) struct Bench {
    pub(super) controller: Controller,
    pub(super) store: Arc<InMemory>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) metrics: MetricsRegistry,
    pub(super) tasks: Tasks,
    servers: Tasks,
    address: String,
}

impl Bench {
    pub(super) async fn new() -> Self {
        Self::with_lease(Duration::from_secs(60)).await
    }

    pub(super) async fn with_lease(lease: Duration) -> Self {
        let servers = Tasks::new();
        let controller = Controller::new(&servers, lease);
        let identity = Identity::new(NodeId(9));
        identity.set_cluster(CLUSTER);
        let server = GrpcServer::new(identity, None);
        server.add(limited!(ControllerServer::new(controller.clone())));
        let listener = pando_rpc::bind("127.0.0.1:0".parse().expect("an address")).await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        servers.spawn_until_stopped("fake controller", async move {
            server.serve(listener, std::future::pending()).await.expect("serves");
        });
        Bench {
            controller,
            store: Arc::new(InMemory::new()),
            clock: ManualClock::at(1_000_000_000),
            metrics: MetricsRegistry::new(),
            tasks: Tasks::new(),
            servers,
            address,
        }
    }

    /// Starts the compactor.
    pub(super) fn start(&self) -> Compactor {
        let identity = Identity::new(OWN);
        identity.set_cluster(CLUSTER);
        let client =
            ControllerClient::new(Channels::new(identity, None), vec![self.address.clone()]);
        let follower = CatalogFollower::start(
            client.clone(),
            Streams::RoutingAndBlocks,
            Arc::new(SimDisk::new()),
            "catalog".into(),
            &self.servers,
        );
        let store: Arc<dyn ObjectStore> = self.store.clone();
        let blocks = BlockStore::new(store.clone(), &BlockStoreConfig::default());
        let config =
            CompactorConfig { interval: Duration::from_millis(20), ..CompactorConfig::default() };
        let (clock, rng) = (self.clock.clone(), Rng::seeded(3));
        Compactor::start(
            config,
            client,
            follower,
            store,
            blocks,
            OWN,
            clock,
            rng,
            &self.tasks,
            &self.metrics,
        )
    }

    /// Stores and commits the block of generation `cut`.
    pub(super) async fn commit(
        &self,
        cut: u64,
        series: &[(TenantId, SeriesSamples)],
    ) -> BlockRecord {
        let built = build(cut, series, self.clock_ms());
        let path = block_path(built.record.id);
        self.store.put(&path, built.bytes.into()).await.expect("memory");
        let record = built.record;
        self.controller.apply(Command::CommitGeneration(Box::new(CommitGeneration {
            shard: ShardId(1),
            cut: Cut(cut),
            term: 1,
            reports: vec![(OWN, record.digest)],
            record: Some(record.clone()),
        })));
        record
    }

    fn clock_ms(&self) -> i64 {
        pando_runtime::Clock::now_ms(self.clock.as_ref())
    }

    /// Gives the compactor something to do.
    pub(super) fn order(&self, spec: WorkSpec) {
        self.controller.state.lock().work.push_back(spec);
    }

    /// The blocks in the store.
    pub(super) async fn objects(&self) -> BTreeSet<BlockId> {
        use futures::TryStreamExt as _;
        let all: Vec<_> = self.store.list(None).try_collect().await.expect("memory");
        let id = |path| pando_catalog::layout::parse_block_path(path).expect("a block");
        all.iter().map(|object| id(&object.location)).collect()
    }

    /// All samples of a stored block.
    pub(super) async fn content(&self, record: &BlockRecord) -> Content {
        let bytes = self.store.get(&block_path(record.id)).await.expect("there");
        let io = Arc::new(MemoryObject(bytes.bytes().await.expect("memory")));
        pando_block::verify_block(record, io.clone()).await.expect("a good block");
        let reader = BlockReader::fetch(record, io.as_ref()).await.expect("opens");
        let mut rows = reader.rows(io);
        let mut content = Content::default();
        while let Some(row) = rows.next_series().await.expect("reads") {
            content.add(&row.tenant, &row.samples);
        }
        content
    }

    pub(super) fn metric(&self, line: &str) -> bool {
        self.metrics.encode().expect("encodes").lines().any(|l| l == line)
    }

    pub(super) async fn stop(self) {
        assert!(self.tasks.shutdown(Duration::from_secs(20)).await.is_empty());
        self.servers.shutdown(Duration::from_secs(5)).await;
    }
}

/// Samples by tenant, series and time: what merging is, said in another way than the code does.
#[derive(Clone, Default, PartialEq, Debug)]
pub(super) struct Content(BTreeMap<(TenantId, Labels, i64), u64>);

impl Content {
    pub(super) fn add(&mut self, tenant: &TenantId, series: &SeriesSamples) {
        for (t_ms, value) in series.axis.iter().zip(&series.floats) {
            let at = (tenant.clone(), series.labels.clone(), *t_ms);
            let bits = self.0.entry(at).or_insert(0);
            *bits = value.to_bits().max(*bits);
        }
    }

    pub(super) fn of(all: &[&[(TenantId, SeriesSamples)]]) -> Self {
        let mut content = Content::default();
        all.iter().copied().flatten().for_each(|(tenant, series)| content.add(tenant, series));
        content
    }

    pub(super) fn retain(&mut self, mut stays: impl FnMut(&TenantId, &Labels, i64) -> bool) {
        self.0.retain(|(tenant, labels, t_ms), _| stays(tenant, labels, *t_ms));
    }

    pub(super) fn digest(&self) -> Digest {
        let mut digest = Digest::default();
        for ((tenant, labels, t_ms), bits) in &self.0 {
            digest.add_float(series_hash(tenant, labels), *t_ms, f64::from_bits(*bits));
        }
        digest
    }
}

pub(super) fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).expect("a good name")
}

/// A series of 20 samples with 10 ms between them.
pub(super) fn series(name: &str, job: &str, from_ms: i64, value: f64) -> (TenantId, SeriesSamples) {
    let tenant = tenant(name);
    let labels = Labels::from_pairs([("__name__", "m"), ("job", job), ("instance", "i")]);
    let key = SeriesKey::of(&tenant, &labels);
    let values = (0..20).map(|n| (from_ms + n * 10, SampleValue::Float(value + n as f64)));
    let series = SeriesSamples::from_values(labels, key, values);
    (tenant, series)
}

fn build(cut: u64, series: &[(TenantId, SeriesSamples)], created_ms: i64) -> BuiltBlock {
    let source = BlockSource::Generation(GenerationId { shard: ShardId(1), cut: Cut(cut) });
    let options = BlockOptions::new(BlockId::new(created_ms, u128::from(cut)), source, created_ms);
    let mut writer = BlockWriter::new(options);
    let mut sorted: Vec<_> = series.iter().collect();
    sorted.sort_by_key(|(tenant, s)| (tenant.clone(), s.key, s.labels.clone()));
    for (tenant, series) in sorted {
        writer.push(tenant, series.clone(), None).expect("in order");
    }
    writer.finish().expect("a block")
}
