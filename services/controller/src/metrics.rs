//! Metrics of the controller.

use std::sync::atomic::AtomicU64;

use pando_runtime::MetricsRegistry;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

type UnsignedGauge = Gauge<u64, AtomicU64>;

/// Metrics of the controller.
#[derive(Clone, Debug, Default)]
pub struct ControllerMetrics {
    pub(crate) leader: UnsignedGauge,
    pub(crate) catalog_version: UnsignedGauge,
    pub(crate) blocks: UnsignedGauge,
    pub(crate) nodes: UnsignedGauge,
    pub(crate) shards_open: UnsignedGauge,
    pub(crate) tenants: UnsignedGauge,
    pub(crate) pending_objects: UnsignedGauge,
    pub(crate) snapshots: Counter,
    pub(crate) objects_deleted: Counter,
    pub(crate) stuck_shards: UnsignedGauge,
    pub(crate) orphans_deleted: Counter,
    pub(crate) orphans_suspicious: UnsignedGauge,
}

impl ControllerMetrics {
    /// Registers the metrics as `pando_controller_...`.
    pub fn new(registry: &MetricsRegistry) -> Self {
        let metrics = Self::default();
        registry.with_prefix("pando_controller", |r| {
            let m = &metrics;
            r.register("leader", "Whether this controller leads", m.leader.clone());
            r.register("catalog_version", "Version of the catalog", m.catalog_version.clone());
            r.register("blocks", "Blocks that the catalog names", m.blocks.clone());
            r.register("nodes", "Members that the catalog names", m.nodes.clone());
            r.register("shards_open", "Shards that take writes", m.shards_open.clone());
            r.register("shards_stuck", "Shards whose majority is silent", m.stuck_shards.clone());
            r.register("tenants", "Tenants", m.tenants.clone());
            let text = "Replaced objects that wait for their grace to end";
            r.register("pending_objects", text, m.pending_objects.clone());
            r.register("snapshots", "Snapshots written to the bucket", m.snapshots.clone());
            r.register(
                "objects_deleted",
                "Objects deleted from the bucket",
                m.objects_deleted.clone(),
            );
            let text = "Objects that nobody named, deleted from the bucket";
            r.register("orphans_deleted", text, m.orphans_deleted.clone());
            let text = "Objects that the catalog does not name, too many to be believed orphans";
            r.register("orphans_suspicious", text, m.orphans_suspicious.clone());
        });
        metrics
    }
}
