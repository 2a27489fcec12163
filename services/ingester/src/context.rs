//! `Context`: what all shards of an ingester share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pando_cluster::{CatalogFollower, Membership};
use pando_consensus::Host;
use pando_executor::BlockStore;
use pando_model::NodeId;
use pando_rpc::Channels;
use pando_runtime::{ByteGate, Rng, SharedClock};

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
    pub(crate) metrics: IngesterMetrics,
    /// Write blocks that wait for their outcome.
    pub(crate) gate: ByteGate,
    /// Samples of all shards in memory, bytes: estimated now and then.
    pub(crate) sample_bytes: AtomicU64,
}

impl Context {
    /// Where a node listens, as the catalog says.
    pub(crate) fn address(&self, node: NodeId) -> Option<String> {
        self.follower.routing().node(node).map(|node| node.grpc_address.clone())
    }

    /// Why no write can be taken now, if so.
    pub(crate) fn refuses_writes(&self) -> Option<String> {
        let (skew_ms, max) = (self.membership.skew_ms(), self.config.clock_skew_ms_max);
        if skew_ms.abs() > max {
            return Some(format!("clock of this member is off: skew_ms={skew_ms} limit={max}"));
        }
        let (bytes, max) = (self.sample_bytes.load(Ordering::Relaxed), self.config.disk_bytes);
        (bytes > max)
            .then(|| format!("samples wait for the object store: disk_bytes={bytes} limit={max}"))
    }
}

/// A context that is shared.
pub(crate) type SharedContext = Arc<Context>;
