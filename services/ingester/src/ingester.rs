//! `Ingester`: the role, wired.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use pando_cluster::{CatalogFollower, Membership};
use pando_consensus::Host;
use pando_executor::{BlockStore, Executor, LiveShards};
use pando_proto::v1::ingester_server::IngesterServer;
use pando_proto::v1::live_server::LiveServer;
use pando_rpc::{Channels, GrpcServer, limited};
use pando_runtime::{ByteGate, MetricsRegistry, Rng, SharedClock, Tasks};

use crate::clock_watch;
use crate::config::IngesterConfig;
use crate::context::Context;
use crate::gauges;
use crate::grpc::IngesterService;
use crate::grpc_live::LiveService;
use crate::live::LocalLive;
use crate::metrics::IngesterMetrics;
use crate::shards::Shards;

/// How long a write waits for room before it is refused.
const GATE_WAIT: Duration = Duration::from_secs(2);

/// The ingester of a process.
pub struct Ingester {
    shards: Arc<Shards>,
}

impl Ingester {
    /// Opens the shards of this node as the routing view names them, from now until the tasks end.
    #[expect(
        clippy::too_many_arguments,
        reason = "components are handed in, each once, by the binary"
    )]
    pub fn start(
        config: IngesterConfig,
        host: Host,
        follower: CatalogFollower,
        membership: Membership,
        channels: Channels,
        blocks: BlockStore,
        clock: SharedClock,
        rng: Rng,
        tasks: &Tasks,
        metrics: &MetricsRegistry,
    ) -> Arc<Self> {
        let gate = ByteGate::new("write_bytes_max", config.write_bytes_max, GATE_WAIT);
        let context = Arc::new(Context {
            config,
            host,
            follower,
            membership,
            channels,
            blocks,
            clock,
            rng,
            tasks: tasks.clone(),
            metrics: IngesterMetrics::new(metrics),
            gate,
            memory_bytes: AtomicU64::new(0),
            checkpoint_bytes: AtomicU64::new(0),
            refuses: AtomicBool::new(false),
        });
        let shards = Shards::new(context);
        shards.start(tasks);
        tasks.spawn_until_stopped("ingester gauges", gauges::run(shards.clone()));
        tasks.spawn_until_stopped("ingester clock", clock_watch::run(shards.clone()));
        Arc::new(Ingester { shards })
    }

    /// The live generations of this node's shards, for an executor in this process.
    pub fn live(&self) -> Arc<dyn LiveShards> {
        Arc::new(LocalLive::new(self.shards.clone()))
    }

    /// The shards of this node.
    #[cfg(test)]
    pub(crate) fn shards(&self) -> &Arc<Shards> {
        &self.shards
    }

    /// What executes fragments here, over blocks and over this node's live generations. A process serves it once,
    /// for all of its roles.
    pub fn executor(&self) -> Executor {
        let context = self.shards.context();
        let (channels, clock) = (context.channels.clone(), context.clock.clone());
        Executor::new(context.blocks.clone(), self.live(), channels, clock)
    }

    /// Adds the services of this role alone: Ingester and Live.
    pub fn services(&self, server: &GrpcServer) {
        server
            .add(limited!(IngesterServer::new(IngesterService::new(self.shards.clone()))))
            .add(limited!(LiveServer::new(LiveService::new(self.shards.clone()))));
    }

    /// Whether every shard of this node has been opened since the start.
    pub fn ready(&self) -> bool {
        self.shards.is_ready()
    }

    /// Waits until [`Ingester::ready`].
    pub async fn wait_ready(&self) {
        let mut ready = self.shards.watch_ready();
        // The sender lives as long as the shards do.
        let _ = ready.wait_for(|ready| *ready).await;
    }

    /// Writes checkpoints of all shards, so that the next start replays little. Cuts nothing: a
    /// restart is no reason for small blocks.
    pub async fn flush(&self) {
        for shard in self.shards.all() {
            if let Err(error) = shard.group.checkpoint().await {
                tracing::warn!(shard = %shard.id, %error, "checkpoint is not written");
            }
        }
    }
}
