//! `RoutingView`: nodes, shards, routes and tenants as a member knows them, at one version.

use std::collections::BTreeMap;
use std::sync::Arc;

use pando_model::{CatalogVersion, ClusterId, KeyRange, NodeId, ShardId, TenantId};

use crate::delta::RoutingDelta;
use crate::error::CatalogError;
use crate::node::{Node, Role};
use crate::route::Route;
use crate::shard::{ShardInfo, ShardStage};
use crate::tenant::{Tenant, TenantLimits};

/// A member's copy of one stream of the catalog. A clone shares its maps: make one, apply to it,
/// swap it in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RoutingView {
    version: CatalogVersion,
    changed: CatalogVersion,
    cluster: Option<ClusterId>,
    feature_level: u32,
    default_limits: TenantLimits,
    default_retention_ms: u64,
    nodes: Arc<BTreeMap<NodeId, Arc<Node>>>,
    shards: Arc<BTreeMap<ShardId, Arc<ShardInfo>>>,
    tenants: Arc<BTreeMap<TenantId, Arc<Tenant>>>,
}

impl RoutingView {
    /// The view before its first delta.
    pub fn new() -> Self {
        Self::default()
    }

    /// Follows the catalog. A delta that the view has passed already changes nothing; one that
    /// begins after the view's version is an error of kind `Stale`: ask for one from
    /// [`RoutingView::version`].
    pub fn apply(&mut self, delta: &RoutingDelta) -> Result<(), CatalogError> {
        if delta.to <= self.version && self.version != CatalogVersion(0) {
            return Ok(());
        }
        match delta.from {
            None => *self = RoutingView::default(),
            Some(from) if from > self.version => {
                let (have, to) = (self.version, delta.to);
                return Err(CatalogError::Gap { what: "routing", have, from, to });
            }
            Some(_) => {}
        }
        self.version = delta.to;
        self.changed = delta.changed;
        self.cluster = delta.cluster;
        self.feature_level = delta.feature_level;
        self.default_limits = delta.default_limits;
        self.default_retention_ms = delta.default_retention_ms;
        if !delta.nodes.is_empty() || !delta.removed_nodes.is_empty() {
            let nodes = Arc::make_mut(&mut self.nodes);
            nodes.extend(delta.nodes.iter().map(|node| (node.id, node.clone())));
            nodes.retain(|id, _| !delta.removed_nodes.contains(id));
        }
        if !delta.shards.is_empty() || !delta.removed_shards.is_empty() {
            let shards = Arc::make_mut(&mut self.shards);
            shards.extend(delta.shards.iter().map(|shard| (shard.id, shard.clone())));
            shards.retain(|id, _| !delta.removed_shards.contains(id));
        }
        if !delta.tenants.is_empty() {
            let tenants = Arc::make_mut(&mut self.tenants);
            tenants.extend(delta.tenants.iter().map(|t| (t.id.clone(), t.clone())));
        }
        Ok(())
    }

    /// Everything that the view knows, as one delta.
    pub fn to_delta(&self) -> RoutingDelta {
        RoutingDelta {
            from: None,
            to: self.version,
            changed: self.changed,
            cluster: self.cluster,
            feature_level: self.feature_level,
            default_limits: self.default_limits,
            default_retention_ms: self.default_retention_ms,
            nodes: self.nodes.values().cloned().collect(),
            removed_nodes: vec![],
            shards: self.shards.values().cloned().collect(),
            removed_shards: vec![],
            tenants: self.tenants.values().cloned().collect(),
        }
    }

    /// The version of the catalog that the view shows.
    pub fn version(&self) -> CatalogVersion {
        self.version
    }

    /// The first version that looked like this.
    pub fn changed(&self) -> CatalogVersion {
        self.changed
    }

    /// The cluster; `None` while it is not founded, or nothing was heard of it.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }

    /// What all members can read: nothing newer may be written.
    pub fn feature_level(&self) -> u32 {
        self.feature_level
    }

    /// The registered nodes, alive or not.
    pub fn nodes(&self) -> &BTreeMap<NodeId, Arc<Node>> {
        &self.nodes
    }

    /// The node `id`.
    pub fn node(&self, id: NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(&id)
    }

    /// The nodes with `role`, by id.
    pub fn nodes_with(&self, role: Role) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values().filter(move |node| node.has(role))
    }

    /// The shards that are not forgotten.
    pub fn shards(&self) -> &BTreeMap<ShardId, Arc<ShardInfo>> {
        &self.shards
    }

    /// The shard `id`.
    pub fn shard(&self, id: ShardId) -> Option<&Arc<ShardInfo>> {
        self.shards.get(&id)
    }

    /// The shards that have `node` as a member, by id.
    pub fn shards_of(&self, node: NodeId) -> impl Iterator<Item = &Arc<ShardInfo>> {
        self.shards.values().filter(move |shard| shard.members.contains(&node))
    }

    /// The tenants that are known.
    pub fn tenants(&self) -> &BTreeMap<TenantId, Arc<Tenant>> {
        &self.tenants
    }

    /// The route of `tenant`; `None` before its first sight (which this member may not have heard
    /// of yet).
    pub fn route(&self, tenant: &TenantId) -> Option<&Arc<Route>> {
        self.tenants.get(tenant)?.route.as_ref()
    }

    /// The limits that apply to `tenant`.
    pub fn limits(&self, tenant: &TenantId) -> TenantLimits {
        self.tenants.get(tenant).and_then(|t| t.limits).unwrap_or(self.default_limits)
    }

    /// The limits of tenants without their own.
    pub fn default_limits(&self) -> TenantLimits {
        self.default_limits
    }

    /// The retention that applies to `tenant`, ms; 0 for ever.
    pub fn retention_ms(&self, tenant: &TenantId) -> u64 {
        self.tenants.get(tenant).and_then(|t| t.retention_ms).unwrap_or(self.default_retention_ms)
    }

    /// The shards that may have live generations with keys of `tenant` in `keys`: the open ones,
    /// and sealed ones until they are closed; by id, each with its ranges within `keys`.
    pub fn live_shards(
        &self,
        tenant: &TenantId,
        keys: KeyRange,
    ) -> BTreeMap<ShardId, Vec<KeyRange>> {
        let mut live: BTreeMap<ShardId, Vec<KeyRange>> = BTreeMap::new();
        let route = self.route(tenant).into_iter().flat_map(|route| route.ranges());
        for (range, shard) in route {
            if let Some(part) = range.intersect(keys) {
                live.entry(shard).or_default().push(part);
            }
        }
        for shard in self.shards.values().filter(|s| s.stage == ShardStage::Sealed) {
            let ranges = shard.sealed_ranges(tenant).iter();
            let parts: Vec<KeyRange> = ranges.filter_map(|range| range.intersect(keys)).collect();
            if !parts.is_empty() {
                live.insert(shard.id, parts);
            }
        }
        live
    }
}
