//! `RoutingDelta` and `BlockDelta`: how a view follows the catalog.

use std::sync::Arc;

use pando_model::{BlockId, CatalogVersion, ClusterId, Cut, NodeId, ShardId};

use crate::block_entry::BlockEntry;
use crate::delete::DeleteRecord;
use crate::node::Node;
use crate::shard::ShardInfo;
use crate::tenant::{Tenant, TenantLimits};

/// Nodes, shards, routes and tenants: for everyone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoutingDelta {
    /// The version that it starts from, or any later one; `None`: a full state.
    pub from: Option<CatalogVersion>,
    /// The version that it leads to.
    pub to: CatalogVersion,
    /// The last version up to `to` that changed anything of this stream.
    pub changed: CatalogVersion,
    /// The cluster; `None` while it is not founded.
    pub cluster: Option<ClusterId>,
    /// What all members can read.
    pub feature_level: u32,
    /// The limits of tenants without their own.
    pub default_limits: TenantLimits,
    /// The retention of tenants without their own, ms; 0 for ever.
    pub default_retention_ms: u64,
    /// Nodes that are new or changed.
    pub nodes: Vec<Arc<Node>>,
    /// Nodes that are gone.
    pub removed_nodes: Vec<NodeId>,
    /// Shards that are new or changed.
    pub shards: Vec<Arc<ShardInfo>>,
    /// Shards that are forgotten.
    pub removed_shards: Vec<ShardId>,
    /// Tenants that are new or changed.
    pub tenants: Vec<Arc<Tenant>>,
}

/// Blocks, deletes, and where each shard's live generations begin: for those who read or write
/// blocks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockDelta {
    /// The version that it starts from, or any later one; `None`: a full state.
    pub from: Option<CatalogVersion>,
    /// The version that it leads to.
    pub to: CatalogVersion,
    /// The last version up to `to` that changed anything of this stream.
    pub changed: CatalogVersion,
    /// Blocks that are new.
    pub blocks: Vec<Arc<BlockEntry>>,
    /// Blocks that are gone.
    pub removed_blocks: Vec<BlockId>,
    /// The next cut of shards that are new or committed something.
    pub next_cuts: Vec<(ShardId, Cut)>,
    /// Shards that are forgotten.
    pub removed_shards: Vec<ShardId>,
    /// Deletes that are new.
    pub deletes: Vec<Arc<DeleteRecord>>,
    /// Deletes that are forgotten.
    pub removed_deletes: Vec<u64>,
}
