//! `Context`: what all shards of an ingester share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pando_cluster::{CatalogFollower, Membership};
use pando_consensus::Host;
use pando_executor::BlockStore;
use pando_model::NodeId;
use pando_rpc::Channels;
use pando_runtime::{ByteGate, Rng, SharedClock, Tasks};

use crate::config::IngesterConfig;
use crate::metrics::IngesterMetrics;

/// What all shards of an ingester share.
pub(crate) struct Context {
    pub(crate) config: IngesterConfig,
    pub(crate) host: Host,
    pub(crate) follower: CatalogFollower,
    pub(crate) membership: Membership,
    pub(crate) channels: Channels,
    pub(crate) blocks: BlockStore,
    pub(crate) clock: SharedClock,
    pub(crate) rng: Rng,
    /// Whose children the tasks of each shard are.
    pub(crate) tasks: Tasks,
    pub(crate) metrics: IngesterMetrics,
    /// Write blocks that wait for their outcome.
    pub(crate) gate: ByteGate,
    /// Series, streams and samples of all shards in memory, bytes: estimated now and then.
    pub(crate) memory_bytes: AtomicU64,
    /// Checkpoints of all groups on disk, bytes: looked at now and then.
    pub(crate) checkpoint_bytes: AtomicU64,
    /// Whether writes are refused now: each change is logged.
    pub(crate) refuses: AtomicBool,
}

impl Context {
    /// Where a node listens, as the catalog says.
    pub(crate) fn address(&self, node: NodeId) -> Option<String> {
        self.follower.routing().node(node).map(|node| node.grpc_address.clone())
    }

    /// How far this member's clock is off the leading controller's, where that is too far, ms.
    pub(crate) fn skew(&self) -> Option<i64> {
        let skew_ms = self.membership.skew_ms();
        (skew_ms.abs() > self.config.clock_skew_ms_max).then_some(skew_ms)
    }

    /// Why no write can be taken now, if so.
    pub(crate) fn refuses_writes(&self) -> Option<String> {
        let why = self.shortage();
        match (&why, self.refuses.swap(why.is_some(), Ordering::Relaxed)) {
            (Some(why), false) => tracing::warn!(why, "writes are refused"),
            (None, true) => tracing::info!("writes are taken again"),
            _ => {}
        }
        why
    }

    fn shortage(&self) -> Option<String> {
        if let Some(skew_ms) = self.skew() {
            let max = self.config.clock_skew_ms_max;
            return Some(format!("clock of this member is off: skew_ms={skew_ms} limit={max}"));
        }
        let (memory, max) = (self.memory_bytes.load(Ordering::Relaxed), self.config.memory_bytes);
        if memory > max {
            let text = "heads take too much memory";
            return Some(format!("{text}: limit=memory_bytes found={memory} max={max}"));
        }
        let checkpoints = self.checkpoint_bytes.load(Ordering::Relaxed);
        let (disk, max) =
            (self.host.log_bytes().saturating_add(checkpoints), self.config.disk_bytes);
        if disk > max {
            let text = "log and checkpoints take too much of the disk";
            return Some(format!("{text}: limit=disk_bytes found={disk} max={max}"));
        }
        // A disk that does not answer fails the log, which is louder than a refusal.
        let (free, min) = (self.host.free_bytes().ok().flatten(), self.config.disk_reserve_bytes);
        let free = free.filter(|free| *free < min)?;
        let text = "disk is almost full";
        Some(format!("{text}: limit=disk_reserve_bytes free={free} min={min}"))
    }
}

/// A context that is shared.
pub(crate) type SharedContext = Arc<Context>;
