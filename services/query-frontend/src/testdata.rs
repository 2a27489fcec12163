//! What the tests of this crate have in common: a catalog that is made by commands, and members
//! that answer as they are told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use pando_catalog::{
    BlocksView, Catalog, CatalogView, Command, CommandReply, CommitGeneration, Node, Role,
    RoutingView, SealResult, Successor,
};
use pando_executor::{Found, LookupKind, wire};
use pando_model::{
    BlockId, BlockRecord, BlockSource, CatalogVersion, ClusterId, Cut, Digest, ErrorKind, Exemplar,
    GenerationId, KeyRange, Labels, Matcher, NodeId, SeriesKey, SeriesSamples, ShardId, TenantId,
    TenantSpan, TimeRange,
};
use pando_promql::{Budget, CancelFlag, FragmentExecution, FragmentPlan, QueryError};
use pando_proto::v1::agent_server::{Agent as AgentRpc, AgentServer};
use pando_proto::v1::executor_server::{Executor as ExecutorRpc, ExecutorServer};
use pando_proto::v1::live_server::{Live as LiveRpc, LiveServer};
use pando_proto::v1::{
    self, FetchBatch, FetchRequest, FragmentBatch, FragmentRequest, LookupBatch, LookupRequest,
    MetadataRequest, MetadataResponse, MetricMetadata, NamedCount, StatsRequest, StatsResponse,
    TargetsRequest, TargetsResponse,
};
use pando_rpc::{Channels, GrpcServer, Identity, limited};
use pando_runtime::{MetricsRegistry, SystemClock, Tasks};
use parking_lot::Mutex;
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use crate::catalog_source::CatalogSource;
use crate::config::FrontendConfig;
use crate::frontend::Frontend;
use crate::status_info::StatusInfo;
use crate::subquery_step::SubqueryStep;

pub(crate) const CLUSTER: ClusterId = ClusterId(7);

pub(crate) fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).expect("a good name")
}

pub(crate) fn keys(first: u64, last: u64) -> KeyRange {
    KeyRange { first: SeriesKey(first), last: SeriesKey(last) }
}

/// A catalog that is changed by commands.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) catalog: Catalog,
    addresses: BTreeMap<u64, String>,
}

impl Cluster {
    /// Ingesters 1 to `ingesters`.
    pub(crate) fn with_ingesters(ingesters: u64) -> Self {
        let mut cluster = Cluster { catalog: Catalog::new(), addresses: BTreeMap::new() };
        cluster.ok(Command::InitCluster { cluster: CLUSTER, feature_level: 1 });
        for id in 1..=ingesters {
            cluster.join_node(id, &format!("n{id}:1"), &[Role::Ingester]);
        }
        cluster
    }

    pub(crate) fn join_node(&mut self, id: u64, address: &str, roles: &[Role]) {
        let node = Node {
            id: NodeId(id),
            roles: BTreeSet::from_iter(roles.iter().copied()),
            grpc_address: address.to_string(),
            http_address: String::new(),
            zone: String::new(),
            feature_level: 1,
            joined_ms: 0,
            agent_group: String::new(),
        };
        self.addresses.insert(id, address.to_string());
        self.ok(Command::RegisterNode { node, now_ms: 1 });
    }

    pub(crate) fn ok(&mut self, command: Command) -> CommandReply {
        let index = self.catalog.applied() + 1;
        self.catalog.apply(index, &command).expect("the command fits")
    }

    pub(crate) fn open(&mut self, shards: &[&[u64]]) {
        let members = shards.iter().map(|m| m.iter().map(|id| NodeId(*id)).collect()).collect();
        self.ok(Command::OpenShards { members, now_ms: 1 });
    }

    pub(crate) fn assign(&mut self, name: &str, route: &[(u64, u64)]) {
        let route = route.iter().map(|(key, shard)| (SeriesKey(*key), ShardId(*shard))).collect();
        self.ok(Command::AssignTenant { tenant: tenant(name), route });
    }

    /// Commits the next generation of `shard` with samples of `name` with these keys.
    pub(crate) fn commit(&mut self, block: u128, shard: u64, name: &str, keys: KeyRange) {
        let shard = ShardId(shard);
        let cut = self.catalog.shards()[&shard].next_cut;
        let record = record(block, GenerationId { shard, cut }, name, keys);
        self.commit_record(shard, cut, Some(record));
    }

    pub(crate) fn commit_record(&mut self, shard: ShardId, cut: Cut, record: Option<BlockRecord>) {
        let members = self.catalog.shards()[&shard].info.members.clone();
        let digest = record.as_ref().map_or(Digest::default(), |record| record.digest);
        self.ok(Command::CommitGeneration(Box::new(CommitGeneration {
            shard,
            cut,
            term: 1,
            record,
            reports: members.into_iter().map(|member| (member, digest)).collect(),
        })));
    }

    /// Seals `shard` with `last_cut`; every range goes in halves to two successors.
    pub(crate) fn seal(&mut self, shard: ShardId, last_cut: Cut) -> Vec<ShardId> {
        let info = self.catalog.shards()[&shard].info.clone();
        let mut halves = [Vec::new(), Vec::new()];
        for (tenant, ranges) in self.catalog.shard_ranges(shard) {
            for range in ranges {
                let middle = range.first.0 + (range.last.0 - range.first.0) / 2;
                halves[0].push((tenant.clone(), keys(range.first.0, middle)));
                if middle < range.last.0 {
                    halves[1].push((tenant.clone(), keys(middle + 1, range.last.0)));
                }
            }
        }
        let members = info.members.clone();
        let successors = halves.map(|ranges| Successor { members: members.clone(), ranges });
        let seal = SealResult { shard, term: 1, last_cut, answer: Bytes::new() };
        let command =
            Command::SealShards { seals: vec![seal], successors: successors.into(), now_ms: 2 };
        match self.ok(command) {
            CommandReply::Shards(opened) => opened,
            other => panic!("not shards: {other:?}"),
        }
    }

    pub(crate) fn view(&self) -> CatalogView {
        let (mut routing, mut blocks) = (RoutingView::new(), BlocksView::new());
        let from = CatalogVersion(0);
        routing.apply(&self.catalog.routing_since(from).expect("a full state")).expect("fits");
        blocks.apply(&self.catalog.blocks_since(from).expect("a full state")).expect("fits");
        CatalogView::pin(&Arc::new(routing), &Arc::new(blocks)).expect("one version")
    }
}

/// A record of 10 samples of one tenant at times [0, 1000).
pub(crate) fn record(
    id: u128,
    generation: GenerationId,
    name: &str,
    keys: KeyRange,
) -> BlockRecord {
    let time = TimeRange { min_ms: 0, max_ms: 1_000 };
    BlockRecord {
        id: BlockId(id),
        format: 1,
        level: 0,
        resolution_ms: 0,
        source: BlockSource::Generation(generation),
        tenants: vec![TenantSpan {
            tenant: tenant(name),
            keys,
            time,
            first_row: 0,
            rows: 1,
            series: 1,
            samples: 10,
        }],
        time,
        digest: Digest { samples: 10, sum: id },
        object_bytes: 1_000,
        footer_offset: 900,
        created_ms: 1_000,
    }
}

/// A catalog that a test replaces by a newer one.
pub(crate) struct FakeCatalog {
    views: watch::Sender<CatalogView>,
    /// Whether the parts of the catalog fit together at no version.
    pub(crate) torn: AtomicBool,
    /// What a controller says; `None`: nothing.
    pub(crate) newest: Mutex<Option<CatalogVersion>>,
}

impl FakeCatalog {
    pub(crate) fn new(view: CatalogView) -> Arc<Self> {
        let newest = Mutex::new(Some(view.version));
        Arc::new(FakeCatalog {
            views: watch::Sender::new(view),
            newest,
            torn: AtomicBool::new(false),
        })
    }

    pub(crate) fn publish(&self, view: CatalogView) {
        self.views.send_replace(view);
    }
}

#[async_trait]
impl CatalogSource for FakeCatalog {
    async fn pin(&self, at_least: CatalogVersion, patience: Duration) -> Option<CatalogView> {
        if self.torn.load(Ordering::Relaxed) {
            return None;
        }
        let mut views = self.views.subscribe();
        let newer = views.wait_for(|view| view.version >= at_least);
        tokio::time::timeout(patience, newer).await.ok()?.ok().map(|view| view.clone())
    }

    async fn newest(&self) -> Result<CatalogVersion, Status> {
        self.newest.lock().ok_or_else(|| Status::unavailable("no controller"))
    }
}

/// What a member does with a call.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Refuses.
    Refuse(ErrorKind, &'static str),
    /// Sends what it has, but not the statistics at the end.
    CutShort,
    /// Never answers.
    Hang,
}

/// A member: executes fragments over its series, unless its script says otherwise.
#[derive(Default)]
pub(crate) struct FakeMember {
    series: Vec<SeriesSamples>,
    pub(crate) script: Mutex<VecDeque<Act>>,
    pub(crate) calls: Mutex<Vec<v1::Sources>>,
    /// Calls whose caller is still there.
    pub(crate) held: Arc<()>,
    /// Calls that a budget was too small for.
    pub(crate) refused: AtomicUsize,
}

/// The exemplars of every series.
fn exemplars() -> Vec<Exemplar> {
    let labels = Labels::from_pairs([("trace_id", "x")]);
    let one = |timestamp_ms| Exemplar { labels: labels.clone(), value: 0.5, timestamp_ms };
    [1_500, 50_000].map(one).to_vec()
}

impl FakeMember {
    /// Series with a value a second from 0 to 59 s, each its own number: (name, label `i`).
    pub(crate) fn with_series(names: &[(&str, &str)]) -> Arc<Self> {
        let tenant = TenantId::default_tenant();
        let axis: Arc<[i64]> = (0..60).map(|i| i * 1_000).collect();
        let one = |(at, (name, i)): (usize, &(&str, &str))| {
            let labels = Labels::from_pairs([("__name__", *name), ("i", *i)]);
            SeriesSamples {
                key: SeriesKey::of(&tenant, &labels),
                labels,
                axis: axis.clone(),
                floats: vec![at as f64 + 1.0; axis.len()],
                histograms: Vec::new(),
                starts: Vec::new(),
                exemplars: Vec::new(),
            }
        };
        Arc::new(FakeMember {
            series: names.iter().enumerate().map(one).collect(),
            ..FakeMember::default()
        })
    }

    /// Serves as node `id`; the address.
    pub(crate) async fn serve(self: &Arc<Self>, id: u64, tasks: &Tasks) -> String {
        let identity = Identity::new(NodeId(id));
        identity.set_cluster(CLUSTER);
        let listener = pando_rpc::bind(([127, 0, 0, 1], 0).into()).await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let server = GrpcServer::new(identity, None);
        server.add(limited!(ExecutorServer::from_arc(self.clone())));
        server.add(limited!(LiveServer::from_arc(self.clone())));
        server.add(limited!(AgentServer::from_arc(self.clone())));
        let token = tasks.token();
        tasks.spawn_until_stopped("fake member", async move {
            let _ = server.serve(listener, token.cancelled_owned()).await;
        });
        address
    }

    fn selected(&self, keys: KeyRange, matchers: &[Matcher]) -> Vec<SeriesSamples> {
        let wanted =
            |s: &&SeriesSamples| keys.contains(s.key) && Matcher::all_match(matchers, &s.labels);
        self.series.iter().filter(wanted).cloned().collect()
    }

    fn answer(&self, request: &FragmentRequest) -> Result<Vec<FragmentBatch>, QueryError> {
        let plan = FragmentPlan::decode(&request.plan).expect("a plan");
        let sources = request.sources.as_ref().expect("sources");
        let keys = keys(sources.first_key, sources.last_key);
        let series = self.selected(keys, &plan.matchers);
        let v1::Budget { samples_max, bytes_max, series_max } = request.budget.expect("a budget");
        let budget = Budget { samples_max, series_max, bytes_max };
        let mut execution = FragmentExecution::new(plan, budget, CancelFlag::new());
        execution.push_batch(series)?;
        let stats = execution.stats();
        let batches = execution.finish()?;
        let stats = v1::QueryStats {
            series: stats.series,
            samples: stats.samples,
            // As if it had read a block.
            bytes_read: 1_000,
            bytes_fetched: 600,
            fetches: 2,
            footer_hits: 1,
            range_hits: 3,
            ..v1::QueryStats::default()
        };
        let last = FragmentBatch { batch: Bytes::new(), stats: Some(stats) };
        let each = batches.iter().map(|b| FragmentBatch { batch: b.encode().into(), stats: None });
        Ok(each.chain([last]).collect())
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[async_trait]
impl ExecutorRpc for FakeMember {
    type ExecuteStream = Answers<FragmentBatch>;

    async fn execute(
        &self,
        request: Request<FragmentRequest>,
    ) -> Result<Response<Self::ExecuteStream>, Status> {
        let request = request.into_inner();
        self.calls.lock().push(request.sources.clone().expect("sources"));
        let act = self.script.lock().pop_front();
        let answer = self.answer(&request);
        let mut messages = answer.map_err(|error| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            pando_rpc::status(error.kind(), error)
        })?;
        match act {
            Some(Act::Refuse(kind, message)) => return Err(pando_rpc::status(kind, message)),
            Some(Act::CutShort) => {
                messages.pop();
            }
            Some(Act::Hang) => {
                let held = self.held.clone();
                let never = futures::stream::once(async move {
                    let _held = held;
                    std::future::pending().await
                });
                return Ok(Response::new(Box::pin(never)));
            }
            None => {}
        }
        Ok(Response::new(Box::pin(futures::stream::iter(messages.into_iter().map(Ok)))))
    }

    type LookupStream = Answers<LookupBatch>;

    async fn lookup(
        &self,
        request: Request<LookupRequest>,
    ) -> Result<Response<Self::LookupStream>, Status> {
        let (sources, lookup) = wire::lookup_from_proto(request.into_inner()).expect("a lookup");
        let mut found = Found::default();
        for set in lookup.sets() {
            for series in self.selected(sources.keys, set) {
                match lookup.kind {
                    LookupKind::LabelNames => {
                        found.texts.extend(series.labels.iter().map(|(name, _)| name.to_string()));
                    }
                    LookupKind::LabelValues => {
                        found.texts.extend(series.labels.get(&lookup.label).map(str::to_string));
                    }
                    LookupKind::Series => {
                        found.series.insert(series.labels);
                    }
                    LookupKind::Exemplars => {
                        let here = |e: &Exemplar| lookup.time.contains(e.timestamp_ms);
                        let exemplars = exemplars().into_iter().filter(here).collect();
                        found.add_exemplars(series.labels, exemplars);
                    }
                }
            }
        }
        found.truncate(lookup.limit());
        let batches = wire::found_to_proto(found).into_iter().map(Ok);
        Ok(Response::new(Box::pin(futures::stream::iter(batches))))
    }
}

#[async_trait]
impl LiveRpc for FakeMember {
    type FetchStream = Answers<FetchBatch>;

    async fn fetch(
        &self,
        request: Request<FetchRequest>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        let request = request.into_inner();
        let matchers = wire::matchers_from_proto(request.matchers).expect("matchers");
        let series = self.selected(keys(request.first_key, request.last_key), &matchers);
        let batch = wire::series_to_proto(&series);
        Ok(Response::new(Box::pin(futures::stream::iter([Ok(batch)]))))
    }

    type LookupLiveStream = Answers<LookupBatch>;

    async fn lookup_live(
        &self,
        request: Request<LookupRequest>,
    ) -> Result<Response<Self::LookupLiveStream>, Status> {
        self.lookup(request).await
    }

    async fn metadata(
        &self,
        _: Request<MetadataRequest>,
    ) -> Result<Response<MetadataResponse>, Status> {
        let one = |name: &str, help: &str| MetricMetadata {
            name: name.to_string(),
            metric_type: 1,
            unit: String::new(),
            help: help.to_string(),
        };
        Ok(Response::new(MetadataResponse { metrics: vec![one("n", "N."), one("m", "M.")] }))
    }

    async fn stats(&self, _: Request<StatsRequest>) -> Result<Response<StatsResponse>, Status> {
        Ok(Response::new(StatsResponse {
            series: 3,
            label_pairs: 4,
            max_ms: 59_000,
            series_by_metric: vec![NamedCount { name: "m".to_string(), value: 2 }],
            shards: vec![1],
            ..StatsResponse::default()
        }))
    }
}

#[async_trait]
impl AgentRpc for FakeMember {
    async fn targets(
        &self,
        request: Request<TargetsRequest>,
    ) -> Result<Response<TargetsResponse>, Status> {
        let state = request.into_inner().state;
        let json = serde_json::json!({
            "activeTargets": [{"scrapePool": state}],
            "droppedTargets": [],
            "droppedTargetCounts": {},
        });
        Ok(Response::new(TargetsResponse { json: json.to_string().into() }))
    }
}

/// A frontend over `catalog` that gives up quickly.
pub(crate) fn frontend(catalog: Arc<FakeCatalog>) -> Arc<Frontend> {
    frontend_with(catalog, &MetricsRegistry::new())
}

/// The same with its metrics.
pub(crate) fn frontend_with(catalog: Arc<FakeCatalog>, metrics: &MetricsRegistry) -> Arc<Frontend> {
    frontend_of(hasty(), catalog, metrics)
}

/// A configuration that gives up quickly.
pub(crate) fn hasty() -> FrontendConfig {
    FrontendConfig {
        members_patience: Duration::from_millis(300),
        pin_patience: Duration::from_secs(2),
        form_timeout: Duration::from_millis(300),
        ..FrontendConfig::default()
    }
}

/// A frontend with this configuration.
pub(crate) fn frontend_of(
    config: FrontendConfig,
    catalog: Arc<FakeCatalog>,
    metrics: &MetricsRegistry,
) -> Arc<Frontend> {
    frontend_stepping(config, &SubqueryStep::default(), catalog, metrics)
}

/// The same; subqueries that name no step have this one.
pub(crate) fn frontend_stepping(
    config: FrontendConfig,
    step: &SubqueryStep,
    catalog: Arc<FakeCatalog>,
    metrics: &MetricsRegistry,
) -> Arc<Frontend> {
    let identity = Identity::new(NodeId(1_000));
    identity.set_cluster(CLUSTER);
    let channels = Channels::new(identity, None);
    let clock = SystemClock::shared();
    Frontend::new(config, step.clone(), catalog, channels, clock, metrics, StatusInfo::default())
}
