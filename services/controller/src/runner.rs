//! The leader's rounds: what deciders decide, carried out.

use std::sync::Arc;
use std::time::Duration;

use object_store::{ObjectStore, ObjectStoreExt as _};
use pando_catalog::{Catalog, Command, bucket::PutRetry, layout, snapshots};
use pando_cluster::{
    closable_shards, expired_objects, forgettable_deletes, forgettable_shards, heal,
    initial_shards, retention,
};
use pando_model::{CatalogVersion, NodeId};

use crate::FEATURE_LEVEL;
use crate::controller::Controller;

/// How often the leader looks around.
const ROUND: Duration = Duration::from_millis(500);
/// How often the catalog goes to the bucket, when it has changed.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(60);
/// How often retention and clean-up look at all blocks.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(15);
/// Entries after which the Raft log is exchanged for a checkpoint.
const CHECKPOINT_ENTRIES: u64 = 1000;
/// Snapshots that the bucket keeps.
const SNAPSHOTS_KEPT: usize = 3;
/// Closed shards are forgotten after this time: producers and successors have long asked by then.
const CLOSED_KEPT_MS: i64 = 3_600_000;

/// Runs the leader's rounds until the tasks end. A controller that does not lead only watches.
pub async fn run(controller: Arc<Controller>, store: Arc<dyn ObjectStore>) {
    let mut runner = Runner {
        controller,
        store,
        led: false,
        checkpoint_at: 0,
        snapshot: None,
        snapshot_at: None,
        cleanup_at: None,
    };
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        runner.round().await;
    }
}

struct Runner {
    controller: Arc<Controller>,
    store: Arc<dyn ObjectStore>,
    led: bool,
    checkpoint_at: u64,
    snapshot: Option<CatalogVersion>,
    snapshot_at: Option<Duration>,
    cleanup_at: Option<Duration>,
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
            (self.snapshot, self.snapshot_at) = (None, None);
        }
        if let Err(status) = self.lead(now).await {
            tracing::warn!(status = status.message(), "round of the controller is cut short");
        }
    }

    /// What only the leader does.
    async fn lead(&mut self, now: Duration) -> Result<(), tonic::Status> {
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
            Some(Ok(commands)) => self.carry_out(commands).await?,
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
        self.carry_out(closable).await?;
        if self.cleanup_at.is_none_or(|at| now >= at) {
            self.cleanup_at = Some(now + CLEANUP_INTERVAL);
            self.clean_up(now_ms).await?;
        }
        if self.snapshot_at.is_none_or(|at| now >= at) {
            self.snapshot_at = Some(now + SNAPSHOT_INTERVAL);
            self.write_snapshot().await;
        }
        Ok(())
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
            let nobody = pando_model::TenantId::default_tenant();
            let own = catalog.tenants().get(&nobody);
            let (limits, retention_ms) = (config.limits, config.retention_ms);
            if own.is_none_or(|t| t.limits.is_none()) && catalog.limits(&nobody) != limits {
                commands.push(Command::SetTenantLimits { tenant: None, limits: Some(limits) });
            }
            if own.is_none_or(|t| t.retention_ms.is_none())
                && catalog.retention_ms(&nobody) != retention_ms
            {
                let retention_ms = Some(retention_ms);
                commands.push(Command::SetRetention { tenant: None, retention_ms });
            }
        });
        self.carry_out(commands).await
    }

    /// Members that are silent, and hold nothing, are members no more: agents share targets among the living.
    async fn forget_dead_members(&self) -> Result<(), tonic::Status> {
        let controller = &self.controller;
        let now = controller.monotonic();
        let dead: Vec<NodeId> = controller.state().read(|catalog| {
            let holds = |node: NodeId| {
                let shards = catalog.shards().values();
                shards.filter(|s| s.info.closed_ms == 0).any(|s| s.info.members.contains(&node))
            };
            let ids = catalog.nodes().keys().copied();
            ids.filter(|id| !controller.liveness().is_alive(*id, now) && !holds(*id)).collect()
        });
        for node in dead {
            tracing::info!(%node, "member is silent and is forgotten");
            self.carry_out(vec![Command::RemoveNode { node }]).await?;
            controller.liveness().forget(node);
        }
        Ok(())
    }

    /// Retention, deletion of replaced objects after their grace, and what is not needed any more.
    async fn clean_up(&mut self, now_ms: i64) -> Result<(), tonic::Status> {
        let controller = self.controller.clone();
        let grace_ms = controller.config().delete_delay_ms;
        let (mut commands, over) = controller.state().read(|catalog| {
            let mut commands = retention(catalog, now_ms);
            commands.extend(forgettable_shards(catalog, now_ms, CLOSED_KEPT_MS));
            commands.extend(forgettable_deletes(catalog));
            (commands, expired_objects(catalog, now_ms, grace_ms, self.snapshot))
        });
        let mut deleted = Vec::new();
        for block in over {
            match self.store.delete(&layout::block_path(block)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => deleted.push(block),
                Err(error) => tracing::warn!(%block, %error, "replaced object is not deleted"),
            }
        }
        if !deleted.is_empty() {
            controller.metrics().objects_deleted.inc_by(deleted.len() as u64);
            commands.push(Command::ForgetObjects { blocks: deleted });
        }
        self.carry_out(commands).await
    }

    async fn write_snapshot(&mut self) {
        let catalog = self.controller.state().read(Catalog::clone);
        if catalog.cluster().is_none() || self.snapshot == Some(catalog.version()) {
            return;
        }
        match snapshots::write(self.store.as_ref(), &catalog, PutRetry::default()).await {
            Ok(version) => {
                self.snapshot = Some(version);
                self.controller.metrics().snapshots.inc();
                if let Err(error) = snapshots::prune(self.store.as_ref(), SNAPSHOTS_KEPT).await {
                    tracing::warn!(%error, "old catalog snapshots are not removed");
                }
            }
            Err(error) => tracing::warn!(%error, "catalog snapshot is not in the bucket"),
        }
    }

    async fn carry_out(&self, commands: Vec<Command>) -> Result<(), tonic::Status> {
        for command in commands {
            if let Err(refused) = self.controller.propose(&command).await? {
                tracing::warn!(%refused, ?command, "catalog refuses what was decided");
            }
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
