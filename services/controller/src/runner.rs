//! The leader's rounds: what deciders decide, carried out.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use pando_catalog::{Catalog, Command, Node, Role};
use pando_cluster::{closable_shards, heal, initial_shards};
use pando_model::NodeId;
use pando_runtime::Rng;

use crate::FEATURE_LEVEL;
use crate::controller::Controller;
use crate::housekeeping;

/// How often the leader looks around.
const ROUND: Duration = Duration::from_millis(500);
/// Entries after which the Raft log is exchanged for a checkpoint.
const CHECKPOINT_ENTRIES: u64 = 1000;

/// How often a controller makes sure that it reaches a majority, and how soon it tries again.
const CONTACT: Duration = Duration::from_secs(2);
/// Roles whose work the living share by a ring.
const SHARED_ROLES: [Role; 2] = [Role::Agent, Role::StoreGateway];
const CONTACT_AGAIN: Duration = Duration::from_millis(200);

/// Runs the leader's rounds until the tasks end. A controller that does not lead only watches.
pub async fn run(controller: Arc<Controller>, store: Arc<dyn ObjectStore>, rng: Rng) {
    housekeeping::start(&controller, &store, &rng);
    let contact = controller.clone();
    controller.tasks().spawn_until_stopped("majority", async move {
        loop {
            let pause = match contact.read_index().await {
                Ok(()) => CONTACT,
                Err(_) => CONTACT_AGAIN,
            };
            tokio::time::sleep(pause).await;
        }
    });
    let mut runner = Runner { controller, led: false, checkpoint_at: 0 };
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        runner.round().await;
    }
}

struct Runner {
    controller: Arc<Controller>,
    led: bool,
    checkpoint_at: u64,
}

impl Runner {
    async fn round(&mut self) {
        self.publish();
        self.checkpoint().await;
        if !self.controller.is_leader() {
            self.led = false;
            return;
        }
        let now = self.controller.monotonic();
        if !std::mem::replace(&mut self.led, true) {
            tracing::info!("this controller leads");
            self.controller.liveness().begin(now);
        }
        if let Err(status) = self.lead().await {
            tracing::warn!(status = status.message(), "round of the controller is cut short");
        }
    }

    /// What only the leader does.
    async fn lead(&self) -> Result<(), tonic::Status> {
        let controller = self.controller.clone();
        self.found().await?;
        self.forget_dead_members().await?;
        let (presence, settings) = (controller.presence(), controller.config().placement());
        let now_ms = controller.now_ms();
        let opened = controller.state().read(|catalog| {
            let fresh = catalog.open_shards_iter().next().is_none();
            let settings = controller.config().placement_of(catalog, &presence, fresh)?;
            Some(initial_shards(catalog, &presence, &settings, now_ms))
        });
        match opened {
            Some(Ok(commands)) => controller.carry_out(commands).await?,
            Some(Err(error)) => tracing::debug!(%error, "no shard can be opened yet"),
            None => {}
        }
        let plan = controller.state().read(|catalog| heal(catalog, &presence, &settings));
        controller.metrics().stuck_shards.set(plan.stuck.len() as u64);
        for seal in plan.seals {
            if let Err(status) = controller.seal_by_plan(&seal).await {
                tracing::warn!(shards = ?seal.shards, status = status.message(), "shard is not healed");
            }
        }
        let closable = controller.state().read(|catalog| closable_shards(catalog, now_ms));
        controller.carry_out(closable).await
    }

    /// The first command of a cluster, and the settings that this controller was started with.
    async fn found(&self) -> Result<(), tonic::Status> {
        let controller = &self.controller;
        let Some(cluster) = controller.identity().cluster() else { return Ok(()) };
        let known = controller.state().read(Catalog::cluster);
        if known.is_none() {
            let command = Command::InitCluster { cluster, feature_level: FEATURE_LEVEL };
            controller.command(&command).await?;
        }
        let config = controller.config();
        let mut commands = Vec::new();
        controller.state().read(|catalog| {
            let (limits, retention_ms) = (config.limits, config.retention_ms);
            if catalog.default_limits() != limits {
                commands.push(Command::SetTenantLimits { tenant: None, limits: Some(limits) });
            }
            if catalog.default_retention_ms() != retention_ms {
                let retention_ms = Some(retention_ms);
                commands.push(Command::SetRetention { tenant: None, retention_ms });
            }
            if catalog.retention_bytes() != config.retention_bytes {
                let bytes = config.retention_bytes;
                commands.push(Command::SetRetentionSize { bytes });
            }
        });
        controller.carry_out(commands).await
    }

    /// Agents and store gateways share their work among the living. Members that are silent, and hold nothing, are
    /// members no more; those that hold a shard keep what else they are, and have these roles again when they are
    /// heard of.
    async fn forget_dead_members(&self) -> Result<(), tonic::Status> {
        let controller = &self.controller;
        let now = controller.monotonic();
        let (holders, dead): (Vec<Node>, Vec<Node>) = controller.state().read(|catalog| {
            let holds = |node: NodeId| {
                let shards = catalog.shards().values();
                shards.filter(|s| s.info.closed_ms == 0).any(|s| s.info.members.contains(&node))
            };
            let nodes = catalog.nodes().values().map(|node| Node::clone(node));
            let silent = nodes.filter(|node| !controller.liveness().is_alive(node.id, now));
            silent.partition(|node| holds(node.id))
        });
        for mut node in holders {
            let roles = node.roles.len();
            node.roles.retain(|role| !SHARED_ROLES.contains(role));
            if node.roles.len() < roles {
                tracing::info!(node = %node.id, "member is silent: others scrape its targets");
                let now_ms = controller.now_ms();
                controller.carry_out(vec![Command::RegisterNode { node, now_ms }]).await?;
            }
        }
        for Node { id: node, .. } in dead {
            tracing::info!(%node, "member is silent and is forgotten");
            controller.carry_out(vec![Command::RemoveNode { node }]).await?;
            controller.liveness().forget(node);
        }
        Ok(())
    }

    async fn checkpoint(&mut self) {
        let Some(group) = self.controller.group() else { return };
        let applied = group.applied_index();
        if applied < self.checkpoint_at + CHECKPOINT_ENTRIES {
            return;
        }
        self.checkpoint_at = applied;
        if let Err(error) = group.checkpoint().await {
            tracing::error!(%error, "catalog checkpoint is not written");
        }
    }

    fn publish(&self) {
        let metrics = self.controller.metrics();
        metrics.leader.set(u64::from(self.controller.is_leader()));
        self.controller.state().read(|catalog| {
            metrics.catalog_version.set(catalog.version().0);
            metrics.blocks.set(catalog.blocks().len() as u64);
            metrics.nodes.set(catalog.nodes().len() as u64);
            metrics.shards_open.set(catalog.open_shards_iter().count() as u64);
            metrics.tenants.set(catalog.tenants().len() as u64);
            metrics.pending_objects.set(catalog.pending().len() as u64);
        });
    }
}
