//! `Catalog`: the state machine. Plain data in ordered maps, so that every replica is equal to the
//! last byte.
//!
//! A command is checked in full before anything is changed: a refused one leaves nothing behind but
//! the version. The code of the commands stands in `apply/`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pando_model::{BlockId, CatalogVersion, ClusterId, Cut, KeyRange, NodeId, ShardId, TenantId};

use crate::block_entry::{BlockEntry, PendingObject};
use crate::changes::{BlocksTouched, Changes, RoutingTouched};
use crate::command::{Command, CommandReply};
use crate::delete::DeleteRecord;
use crate::delta::{BlockDelta, RoutingDelta};
use crate::error::{CommandRefused, Reason};
use crate::limits::CHANGES_KEPT;
use crate::named_blocks::NamedBlocks;
use crate::node::Node;
use crate::shard::{Shard, ShardStage};
use crate::tenant::{Tenant, TenantLimits};
use crate::work::Lease;

/// The catalog at one version.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// Added to a command's index: a catalog that was rebuilt from the bucket goes on above the
    /// versions that members may still remember, though its log begins anew.
    pub(crate) base: u64,
    pub(crate) applied: u64,
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) feature_level: u32,
    pub(crate) routing_changed: CatalogVersion,
    pub(crate) blocks_changed: CatalogVersion,
    pub(crate) next_shard: u64,
    pub(crate) next_work: u64,
    pub(crate) next_delete: u64,
    pub(crate) default_limits: TenantLimits,
    pub(crate) default_retention_ms: u64,
    pub(crate) retention_bytes: u64,
    pub(crate) nodes: BTreeMap<NodeId, Arc<Node>>,
    pub(crate) shards: BTreeMap<ShardId, Shard>,
    pub(crate) tenants: BTreeMap<TenantId, Arc<Tenant>>,
    pub(crate) blocks: NamedBlocks,
    pub(crate) pending: BTreeMap<BlockId, PendingObject>,
    pub(crate) refused: BTreeSet<BlockId>,
    pub(crate) deletes: BTreeMap<u64, Arc<DeleteRecord>>,
    pub(crate) leases: BTreeMap<u64, Lease>,
    pub(crate) routing_changes: Changes<RoutingTouched>,
    pub(crate) block_changes: Changes<BlocksTouched>,
}

impl Default for Catalog {
    fn default() -> Self {
        Self::new()
    }
}

impl Catalog {
    /// The catalog before its first command.
    pub fn new() -> Self {
        Catalog {
            base: 0,
            applied: 0,
            cluster: None,
            feature_level: 0,
            routing_changed: CatalogVersion(0),
            blocks_changed: CatalogVersion(0),
            next_shard: 1,
            next_work: 1,
            next_delete: 1,
            default_limits: TenantLimits::default(),
            default_retention_ms: 0,
            retention_bytes: 0,
            nodes: BTreeMap::new(),
            shards: BTreeMap::new(),
            tenants: BTreeMap::new(),
            blocks: NamedBlocks::default(),
            pending: BTreeMap::new(),
            refused: BTreeSet::new(),
            deletes: BTreeMap::new(),
            leases: BTreeMap::new(),
            routing_changes: Changes::new(CatalogVersion(0), CHANGES_KEPT),
            block_changes: Changes::new(CatalogVersion(0), CHANGES_KEPT),
        }
    }

    /// Applies the command at `index` of the log, above the last one (gaps are the log's own
    /// entries).
    ///
    /// Time comes from inside the command alone. A refused command moves the version and nothing
    /// else.
    pub fn apply(&mut self, index: u64, command: &Command) -> Result<CommandReply, CommandRefused> {
        if index <= self.applied {
            let message = format!("already applied: index={index} applied={}", self.applied);
            return Err(CommandRefused::new(Reason::AlreadyApplied, message));
        }
        self.applied = index;
        let reply = self.dispatch(command);
        let version = self.version();
        if self.routing_changes.close(version) {
            self.routing_changed = version;
        }
        if self.block_changes.close(version) {
            self.blocks_changed = version;
        }
        reply
    }

    fn dispatch(&mut self, command: &Command) -> Result<CommandReply, CommandRefused> {
        if self.cluster.is_none() && !matches!(command, Command::InitCluster { .. }) {
            return Err(CommandRefused::new(Reason::NotFounded, "the cluster is not founded yet"));
        }
        match command {
            Command::InitCluster { cluster, feature_level } => {
                self.init_cluster(*cluster, *feature_level)
            }
            Command::RegisterNode { node, now_ms } => self.register_node(node, *now_ms),
            Command::RemoveNode { node } => self.remove_node(*node),
            Command::RaiseFeatureLevel { level } => self.raise_feature_level(*level),
            Command::OpenShards { members, now_ms } => self.open_shards(members, *now_ms),
            Command::AssignTenant { tenant, route } => self.assign_tenant(tenant, route),
            Command::SealShards { seals, successors, now_ms } => {
                self.seal_shards(seals, successors, *now_ms)
            }
            Command::CloseShard { shard, now_ms } => self.close_shard(*shard, *now_ms),
            Command::ForgetShards { shards } => self.forget_shards(shards),
            Command::CommitGeneration(commit) => self.commit_generation(commit),
            Command::ReplaceBlocks(replace) => self.replace_blocks(replace),
            Command::ExpireBlocks { blocks, now_ms } => self.expire_blocks(blocks, *now_ms),
            Command::GrantLease { grant, holder, now_ms } => {
                self.grant_lease(grant, *holder, *now_ms)
            }
            Command::RenewLease { work, holder, epoch, now_ms } => {
                self.renew_lease(*work, *holder, *epoch, *now_ms)
            }
            Command::ReleaseLease { work, holder, epoch, end } => {
                self.release_lease(*work, *holder, *epoch, *end)
            }
            Command::DropWork { work } => self.drop_work(*work),
            Command::RefuseBlock { block, now_ms } => self.refuse_block(*block, *now_ms),
            Command::ForgetObjects { blocks } => self.forget_objects(blocks),
            Command::SetTenantLimits { tenant, limits } => {
                self.set_tenant_limits(tenant.as_ref(), *limits)
            }
            Command::SetRetention { tenant, retention_ms } => {
                self.set_retention(tenant.as_ref(), *retention_ms)
            }
            Command::SetRetentionSize { bytes } => {
                self.retention_bytes = *bytes;
                Ok(CommandReply::Done)
            }
            Command::AddDelete(delete) => self.add_delete(delete),
            Command::ForgetDeletes { numbers } => self.forget_deletes(numbers),
        }
    }

    /// The version: the index of the last applied command, above the base.
    pub fn version(&self) -> CatalogVersion {
        CatalogVersion(self.base + self.applied)
    }

    /// The index of the last applied command in its log.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// The cluster; `None` while it is not founded.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }

    /// What all members can read and write.
    pub fn feature_level(&self) -> u32 {
        self.feature_level
    }

    /// The registered nodes.
    pub fn nodes(&self) -> &BTreeMap<NodeId, Arc<Node>> {
        &self.nodes
    }

    /// The shards that are not forgotten.
    pub fn shards(&self) -> &BTreeMap<ShardId, Shard> {
        &self.shards
    }

    /// The shards that take writes.
    pub fn open_shards_iter(&self) -> impl Iterator<Item = &Shard> {
        self.shards.values().filter(|shard| shard.info.stage == ShardStage::Open)
    }

    /// The tenants that are known.
    pub fn tenants(&self) -> &BTreeMap<TenantId, Arc<Tenant>> {
        &self.tenants
    }

    /// The blocks that are visible.
    pub fn blocks(&self) -> &BTreeMap<BlockId, Arc<BlockEntry>> {
        &self.blocks
    }

    /// The objects that await their deletion.
    pub fn pending(&self) -> &BTreeMap<BlockId, PendingObject> {
        &self.pending
    }

    /// Whether `block` is refused: nothing will name it.
    pub fn is_refused(&self, block: BlockId) -> bool {
        self.refused.contains(&block)
    }

    /// The deletes that are not forgotten.
    pub fn deletes(&self) -> &BTreeMap<u64, Arc<DeleteRecord>> {
        &self.deletes
    }

    /// The work items: leased, waiting and quarantined.
    pub fn leases(&self) -> &BTreeMap<u64, Lease> {
        &self.leases
    }

    /// The limits that apply to `tenant`.
    pub fn limits(&self, tenant: &TenantId) -> TenantLimits {
        self.tenants.get(tenant).and_then(|t| t.limits).unwrap_or(self.default_limits)
    }

    /// The retention that applies to `tenant`, ms; 0 for ever.
    pub fn retention_ms(&self, tenant: &TenantId) -> u64 {
        self.tenants.get(tenant).and_then(|t| t.retention_ms).unwrap_or(self.default_retention_ms)
    }

    /// The limits of tenants without their own.
    pub fn default_limits(&self) -> TenantLimits {
        self.default_limits
    }

    /// The retention of tenants without their own, ms; 0 for ever.
    pub fn default_retention_ms(&self) -> u64 {
        self.default_retention_ms
    }

    /// What all blocks together may take, bytes; 0 for no limit.
    pub fn retention_bytes(&self) -> u64 {
        self.retention_bytes
    }

    /// The key ranges that `shard` has or had: an open one by the routes, another by its seal.
    pub fn shard_ranges(&self, shard: ShardId) -> BTreeMap<TenantId, Vec<KeyRange>> {
        let Some(found) = self.shards.get(&shard) else { return BTreeMap::new() };
        if let Some(seal) = &found.info.seal {
            return seal.ranges.clone();
        }
        let mut ranges: BTreeMap<TenantId, Vec<KeyRange>> = BTreeMap::new();
        for (tenant, state) in &self.tenants {
            let route = state.route.iter().flat_map(|route| route.ranges());
            for (range, _) in route.filter(|(_, s)| *s == shard) {
                ranges.entry(tenant.clone()).or_default().push(range);
            }
        }
        ranges
    }

    /// What changed of nodes, shards, routes and tenants after `since` (0: everything); `None`
    /// where nothing is newer, or the asker has heard of a later version than this replica.
    pub fn routing_since(&self, since: CatalogVersion) -> Option<RoutingDelta> {
        if since >= self.version() {
            return None;
        }
        let known =
            if since == CatalogVersion(0) { None } else { self.routing_changes.since(since) };
        let mut delta = RoutingDelta {
            from: known.is_some().then_some(since),
            to: self.version(),
            changed: self.routing_changed,
            cluster: self.cluster,
            feature_level: self.feature_level,
            default_limits: self.default_limits,
            default_retention_ms: self.default_retention_ms,
            nodes: vec![],
            removed_nodes: vec![],
            shards: vec![],
            removed_shards: vec![],
            tenants: vec![],
        };
        match known {
            None => {
                delta.nodes = self.nodes.values().cloned().collect();
                delta.shards = self.shards.values().map(|shard| shard.info.clone()).collect();
                delta.tenants = self.tenants.values().cloned().collect();
            }
            Some(touched) => {
                (delta.nodes, delta.removed_nodes) =
                    present(touched.nodes, |id| self.nodes.get(id).cloned());
                (delta.shards, delta.removed_shards) =
                    present(touched.shards, |id| self.shards.get(id).map(|s| s.info.clone()));
                (delta.tenants, _) = present(touched.tenants, |id| self.tenants.get(id).cloned());
            }
        }
        Some(delta)
    }

    /// What changed of blocks, deletes and cuts after `since`; as [`Catalog::routing_since`].
    pub fn blocks_since(&self, since: CatalogVersion) -> Option<BlockDelta> {
        if since >= self.version() {
            return None;
        }
        let known = if since == CatalogVersion(0) { None } else { self.block_changes.since(since) };
        let mut delta = BlockDelta {
            from: known.is_some().then_some(since),
            to: self.version(),
            changed: self.blocks_changed,
            blocks: vec![],
            removed_blocks: vec![],
            next_cuts: vec![],
            removed_shards: vec![],
            deletes: vec![],
            removed_deletes: vec![],
        };
        match known {
            None => {
                delta.blocks = self.blocks.values().cloned().collect();
                delta.next_cuts = self.shards.iter().map(|(id, s)| (*id, s.next_cut)).collect();
                delta.deletes = self.deletes.values().cloned().collect();
            }
            Some(touched) => {
                (delta.blocks, delta.removed_blocks) =
                    present(touched.blocks, |id| self.blocks.get(id).cloned());
                (delta.next_cuts, delta.removed_shards) =
                    present(touched.cuts, |id| self.next_cut(*id).map(|cut| (*id, cut)));
                (delta.deletes, delta.removed_deletes) =
                    present(touched.deletes, |number| self.deletes.get(number).cloned());
            }
        }
        Some(delta)
    }

    fn next_cut(&self, shard: ShardId) -> Option<Cut> {
        self.shards.get(&shard).map(|shard| shard.next_cut)
    }
}

/// Splits touched ids into what is there now and what is gone.
fn present<I, V>(ids: BTreeSet<I>, get: impl Fn(&I) -> Option<V>) -> (Vec<V>, Vec<I>) {
    let (mut there, mut gone) = (vec![], vec![]);
    for id in ids {
        match get(&id) {
            Some(value) => there.push(value),
            None => gone.push(id),
        }
    }
    (there, gone)
}
