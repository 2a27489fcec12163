//! Starting the roles of a process, in the order in which they need each other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use pando_agent::{Agent, AgentConfig, AgentHandle, AgentParts, AgentService, ClusterRoster};
use pando_catalog::{Node, Role};
use pando_cluster::{CatalogFollower, Membership, Streams};
use pando_compactor::{Compactor, CompactorConfig};
use pando_consensus::{GrpcTransport, Host, Member};
use pando_controller::{
    CATALOG_GROUP, Controller, ControllerConfig, ControllerMetrics, ControllerService,
    FEATURE_LEVEL,
};
use pando_executor::{BlockStore, BlockStoreConfig, Executor, ExecutorService, NoLiveShards};
use pando_ingester::Ingester;
use pando_model::{ClusterId, ProducerId, TenantId};
use pando_proto::v1::agent_server::AgentServer;
use pando_proto::v1::controller_server::ControllerServer;
use pando_proto::v1::executor_server::ExecutorServer;
use pando_query_frontend::{Frontend, FrontendConfig};
use pando_receiver::{Receiver, ReceiverConfig};
use pando_rpc::limited;
use pando_shipper::{BufferConfig, Shipper, ShipperConfig};

use crate::args::{AgentArgs, ControllerArgs, IngesterArgs, QueryArgs};
use crate::run::base::Base;
use crate::run::features::features;
use crate::run::join;
use crate::run::plan::Plan;
use crate::run::ready::{self, Condition};
use crate::run::serve::{self, Reloading};
use crate::run::settings;
use crate::run::timeouts;

/// How long a request of a remote writer may wait for its shards: less than the 30 s that Prometheus waits.
const RECEIVER_TIMEOUT: Duration = Duration::from_secs(20);
/// How long one batch of an agent may be under way before it waits on disk.
const AGENT_TIMEOUT: Duration = Duration::from_secs(15);

/// What has to be ended in order.
pub(crate) struct Running {
    pub(crate) agent: Option<AgentHandle>,
    pub(crate) ingester: Option<Arc<Ingester>>,
    pub(crate) reload: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

/// Starts the roles of `plan`.
pub(crate) async fn start(base: &Base, plan: &Plan) -> Result<Running> {
    timeouts::mismatches(plan)?.iter().for_each(|what| tracing::warn!("{what}"));
    let reloading = Reloading::read(plan.agent.as_ref(), base)?;
    let mut ready: Vec<Condition> = Vec::new();
    serve::begin(base, plan, &reloading)?;
    let controller = match &plan.controller {
        Some(args) => Some(begin_controller(base, plan, args)?),
        None => None,
    };
    let host = match &controller {
        Some((controller, config)) => Some(found(base, controller, config).await?),
        None => {
            let cluster = join::learn_cluster(base).await?;
            if base.store.is_some() {
                watch_bucket(base, base.store()?, cluster);
            }
            match plan.ingester {
                Some(_) => Some(join::open_host(base)?),
                None => None,
            }
        }
    };
    if let Some((controller, _)) = &controller {
        let (controller, store) = (controller.clone(), base.store()?);
        let leads = controller.clone();
        ready.push(("a leading controller", Arc::new(move || leads.has_leader())));
        let running = pando_controller::run(controller, store, base.rng.clone());
        base.tasks.spawn_until_stopped("controller", running);
    }
    let (follower, streams) = follow(base, plan, host.as_ref().map(|(_, transport)| transport))?;
    reloading.show(follower.clone(), streams);
    let known = follower.clone();
    // One that names its cluster: before it is founded, no call of an operator or a writer is taken.
    ready.push(("the catalog", Arc::new(move || known.routing().cluster().is_some())));
    let membership =
        Membership::start(base.client.clone(), node(base, plan), base.clock.clone(), &base.tasks);
    let roles = Roles { base, plan, follower, membership };
    let ingester = match (&plan.ingester, host) {
        (Some(args), Some((host, _))) => Some(roles.ingester(args, host, &mut ready)?),
        _ => None,
    };
    roles.executor(ingester.as_deref())?;
    let (agent, router) = roles.others(&reloading)?;
    reloading.serve(router);
    let reload = reloading.hook(agent.clone());
    ready::when(ready, base.lifecycle.clone(), &base.tasks);
    Ok(Running { agent, ingester, reload })
}

/// Follows the catalog, as far as the roles of `plan` need it.
fn follow(
    base: &Base,
    plan: &Plan,
    transport: Option<&GrpcTransport>,
) -> Result<(CatalogFollower, Streams)> {
    let streams = match plan.ingester.is_some() || plan.query.is_some() || plan.compactor {
        true => Streams::RoutingAndBlocks,
        false => Streams::Routing,
    };
    let folder = base.data.folder(&*base.disk, "catalog")?;
    let follower = CatalogFollower::start(
        base.client.clone(),
        streams,
        base.disk.clone(),
        folder,
        &base.tasks,
    );
    join::follow_feature_level(FEATURE_LEVEL, &follower, &base.tasks);
    if let Some(transport) = transport {
        // Members may have moved since their groups were founded.
        let book = follower.clone();
        transport.use_book(Arc::new(move |node| {
            book.routing().node(node).map(|node| node.grpc_address.clone())
        }));
    }
    Ok((follower, streams))
}

/// The agents with whom this one shares its targets: those of its tenant, unless a flag says otherwise.
fn agent_group(args: &AgentArgs) -> String {
    args.group.clone().unwrap_or_else(|| args.tenant.clone())
}

/// This process as the catalog knows it.
fn node(base: &Base, plan: &Plan) -> Node {
    let roles = [
        (plan.agent.is_some(), Role::Agent),
        (plan.receiver, Role::Receiver),
        (plan.ingester.is_some(), Role::Ingester),
        (plan.store_gateway, Role::StoreGateway),
        (plan.query.is_some(), Role::QueryFrontend),
        (plan.compactor, Role::Compactor),
        (plan.controller.is_some(), Role::Controller),
    ];
    let roles: BTreeSet<Role> = roles.into_iter().filter(|(has, _)| *has).map(|(_, r)| r).collect();
    Node {
        id: base.identity.node(),
        roles,
        grpc_address: plan.advertised(),
        http_address: plan.web.listen_address.first().cloned().unwrap_or_default(),
        zone: plan.cluster.zone.clone(),
        feature_level: FEATURE_LEVEL,
        joined_ms: 0,
        agent_group: plan.agent.as_ref().map_or_else(String::new, agent_group),
    }
}

fn begin_controller(
    base: &Base,
    plan: &Plan,
    args: &ControllerArgs,
) -> Result<(Arc<Controller>, ControllerConfig)> {
    let config = settings::controller_config(plan, args)?;
    let faults = config.validate();
    if !faults.is_empty() {
        bail!("controller: {}", faults.join("; "));
    }
    let metrics = ControllerMetrics::new(&base.metrics);
    let controller = Arc::new(Controller::new(
        config.clone(),
        base.identity.clone(),
        base.channels.clone(),
        base.clock.clone(),
        base.tasks.clone(),
        metrics,
    ));
    base.grpc.add(limited!(ControllerServer::new(ControllerService::new(controller.clone()))));
    Ok((controller, config))
}

/// Founds or finds the cluster and opens the catalog's group.
async fn found(
    base: &Base,
    controller: &Arc<Controller>,
    config: &ControllerConfig,
) -> Result<(Host, GrpcTransport)> {
    if let Some(known) = join::known_cluster(base)? {
        base.identity.set_cluster(known);
    }
    let store = base.store()?;
    let (clock, rng) = (&base.clock, &base.rng);
    let (identity, client) = (&base.identity, &base.client);
    let kept = join::kept_file(base)?;
    let is_kept = kept.is_some();
    let file = pando_controller::found(config, identity, kept, &store, client, clock, rng).await?;
    join::belong_to(base, file.cluster)?;
    if is_kept {
        watch_bucket(base, store, file.cluster);
    } else {
        join::keep_file(base, &file)?;
    }
    let (host, transport) = join::open_host(base)?;
    let voters = file.voters.iter();
    let members = voters.map(|v| Member { node: v.node, address: v.address.clone() }).collect();
    let group = host.create_group(CATALOG_GROUP, members, controller.state().clone()).await?;
    controller.join(group);
    Ok((host, transport))
}

/// Ends the process where its bucket turns out not to be the cluster's.
fn watch_bucket(base: &Base, store: Arc<dyn object_store::ObjectStore>, cluster: ClusterId) {
    let tasks = base.tasks.clone();
    base.tasks.spawn_until_stopped("cluster.json", async move {
        if let Err(error) = pando_controller::watch_bucket(&store, cluster).await {
            tasks.fail(error.to_string());
        }
    });
}

/// What the roles beyond controller and log need.
struct Roles<'a> {
    base: &'a Base,
    plan: &'a Plan,
    follower: CatalogFollower,
    membership: Membership,
}

impl Roles<'_> {
    /// Starts all roles but controller, ingester and store gateway; the routes are of those that have some.
    fn others(&self, reloading: &Reloading) -> Result<(Option<AgentHandle>, axum::Router)> {
        let plan = self.plan;
        if plan.compactor {
            self.compactor()?;
        }
        let agent = match &plan.agent {
            Some(args) => Some(self.agent(args, reloading)?),
            None => None,
        };
        let mut router = axum::Router::new();
        if plan.receiver {
            router = router.merge(self.receiver()?);
        }
        if let Some(args) = &plan.query {
            router = router.merge(self.frontend(args, reloading)?);
        }
        Ok((agent, router))
    }

    fn blocks(&self, keep: bool) -> Result<BlockStore> {
        let folder =
            if keep { Some(self.base.data.folder(&*self.base.disk, "blocks")?) } else { None };
        let config = BlockStoreConfig { folder, ..BlockStoreConfig::default() };
        Ok(BlockStore::new(self.base.store()?, &config))
    }

    /// Agent and receiver of one process are two producers: each numbers its own streams.
    fn shipper(&self, role: Role, timeout: Duration) -> Shipper {
        let producer = self.base.data.producer.0 ^ u64::from(role == Role::Receiver);
        let config =
            ShipperConfig { producer: ProducerId(producer), epoch: self.base.data.epoch, timeout };
        let (follower, channels) = (self.follower.clone(), self.base.channels.clone());
        Shipper::new(config, follower, channels, self.base.tasks.clone())
    }

    fn ingester(
        &self,
        args: &IngesterArgs,
        host: Host,
        ready: &mut Vec<Condition>,
    ) -> Result<Arc<Ingester>> {
        let base = self.base;
        let config = settings::ingester_config(self.plan, args, base.identity.node())?;
        let ingester = Ingester::start(
            config,
            host,
            self.follower.clone(),
            self.membership.clone(),
            base.channels.clone(),
            self.blocks(true)?,
            base.clock.clone(),
            base.rng.clone(),
            &base.tasks,
            &base.metrics,
        );
        ingester.services(&base.grpc);
        let waits = ingester.clone();
        ready.push(("shards", Arc::new(move || waits.ready())));
        Ok(ingester)
    }

    /// Serves fragments: over blocks, and over live generations where the process has an ingester. A store gateway is
    /// no more than this: it has no state but caches, reads nothing at start, and is ready at once, however many blocks
    /// there are. A fragment names its blocks with their records, and the ingesters that have its live generations.
    fn executor(&self, ingester: Option<&Ingester>) -> Result<()> {
        let base = self.base;
        let executor = match (ingester, self.plan.store_gateway) {
            (Some(ingester), _) => ingester.executor(),
            (None, true) => {
                let (channels, clock) = (base.channels.clone(), base.clock.clone());
                Executor::new(self.blocks(false)?, Arc::new(NoLiveShards), channels, clock)
            }
            (None, false) => return Ok(()),
        };
        let service = ExecutorService::new(executor, base.tasks.clone(), &base.metrics);
        base.grpc.add(limited!(ExecutorServer::new(service)));
        Ok(())
    }

    fn compactor(&self) -> Result<()> {
        let base = self.base;
        Compactor::start(
            CompactorConfig::default(),
            base.client.clone(),
            self.follower.clone(),
            base.store()?,
            self.blocks(false)?,
            base.identity.node(),
            base.clock.clone(),
            base.rng.clone(),
            &base.tasks,
            &base.metrics,
        );
        Ok(())
    }

    fn receiver(&self) -> Result<axum::Router> {
        let base = self.base;
        let config = ReceiverConfig::default();
        let faults = config.validate();
        if !faults.is_empty() {
            bail!("receiver: {}", faults.join("; "));
        }
        let receiver = Receiver::new(
            config,
            self.shipper(Role::Receiver, RECEIVER_TIMEOUT),
            self.follower.clone(),
            base.clock.clone(),
            &base.metrics,
        );
        Ok(receiver.router())
    }

    fn agent(&self, args: &AgentArgs, reloading: &Reloading) -> Result<AgentHandle> {
        let base = self.base;
        let tenant = TenantId::parse(&args.tenant).context("--agent.tenant")?;
        let folder = base.data.folder(&*base.disk, "buffer")?;
        let buffer = BufferConfig { folder, bytes_max: args.buffer_bytes };
        let roster = ClusterRoster::new(
            base.identity.node(),
            agent_group(args),
            self.follower.clone(),
            self.membership.clone(),
        );
        let handle = Agent::start(
            AgentConfig {
                external: serve::external_url(self.plan),
                ..AgentConfig::new(tenant, buffer)
            },
            &reloading.config(),
            AgentParts {
                sink: Arc::new(self.shipper(Role::Agent, AGENT_TIMEOUT)),
                roster: Arc::new(roster),
                clock: base.clock.clone(),
                tasks: base.tasks.clone(),
                metrics: base.metrics.clone(),
                disk: base.disk.clone(),
            },
        )?;
        base.grpc.add(limited!(AgentServer::new(AgentService::new(handle.clone()))));
        Ok(handle)
    }

    fn frontend(&self, args: &QueryArgs, reloading: &Reloading) -> Result<axum::Router> {
        let base = self.base;
        let config = FrontendConfig {
            features: features(&args.features),
            ..settings::frontend_config(args)?
        };
        let subquery_step = settings::subquery_step(args, reloading.subquery_step())?;
        let frontend = Frontend::new(
            config,
            subquery_step,
            Arc::new(self.follower.clone()),
            base.channels.clone(),
            base.clock.clone(),
            &base.metrics,
            serve::status_info(base, self.plan, reloading),
        );
        Ok(frontend.router())
    }
}
