//! The leader's rounds: what deciders decide, carried out.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use pando_catalog::{Catalog, Command};
use pando_cluster::{closable_shards, forget_silent, heal, raise_feature_level};
use pando_runtime::Rng;

use crate::FEATURE_LEVEL;
use crate::controller::Controller;
use crate::housekeeping;
use crate::told::Told;

/// How often the leader looks around.
const ROUND: Duration = Duration::from_millis(500);
/// Entries after which the Raft log is exchanged for a checkpoint.
const CHECKPOINT_ENTRIES: u64 = 1000;

/// How often a controller makes sure that it reaches a majority, and how soon it tries again.
const CONTACT: Duration = Duration::from_secs(2);
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
    let mut runner = Runner { controller, led: false, checkpoint_at: 0, told: Told::default() };
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
    /// Why no shard could be opened.
    told: Told,
}

impl Runner {
    async fn round(&mut self) {
        self.publish();
        self.checkpoint().await;
        if !self.controller.is_leader() {
            self.led = false;
            self.told.over();
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
    async fn lead(&mut self) -> Result<(), tonic::Status> {
        let controller = self.controller.clone();
        self.found().await?;
        self.settle_members().await?;
        let (presence, settings) = (controller.presence(), controller.config().placement());
        let now_ms = controller.now_ms();
        let opened = controller
            .state()
            .read(|catalog| controller.config().first_shards(catalog, &presence, now_ms));
        match opened {
            Ok(commands) => {
                self.told.over();
                controller.carry_out(commands).await?;
            }
            Err(error) if self.told.is_news(&error.to_string()) => {
                tracing::warn!(%error, "no shard can be opened yet");
            }
            Err(_) => {}
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

    /// Whoever is silent, and what the members that are left can read.
    async fn settle_members(&self) -> Result<(), tonic::Status> {
        let controller = &self.controller;
        let (now, now_ms) = (controller.monotonic(), controller.now_ms());
        let silent = |node| !controller.liveness().is_alive(node, now);
        let commands = controller.state().read(|catalog| forget_silent(catalog, silent, now_ms));
        for command in commands {
            if !controller.carried_out(&command).await? {
                continue;
            }
            match command {
                Command::RemoveNode { node } => {
                    controller.liveness().forget(node);
                    tracing::info!(%node, "member is silent and is forgotten");
                }
                Command::RegisterNode { node, .. } => {
                    let (node, left) = (node.id, &node.roles);
                    tracing::info!(%node, ?left, "member is silent: others do what they can of it");
                }
                _ => {}
            }
        }
        let raise = controller.state().read(raise_feature_level);
        if let Some(Command::RaiseFeatureLevel { level }) = &raise {
            tracing::info!(level, "every member reads it: the feature level rises");
        }
        controller.carry_out(raise.into_iter().collect()).await
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
