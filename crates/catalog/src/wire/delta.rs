//! Deltas as they are sent, and views as a member keeps them on its disk: a full delta in an
//! envelope.

use std::sync::Arc;

use bytes::Bytes;
use pando_model::{CatalogVersion, ClusterId};
use pando_proto::v1;
use prost::Message;

use super::envelope::{Kind, unwrap, wrap};
use super::records::{
    block_from, block_to, cuts_from, delete_from, delete_to, limits_from, limits_to, node_from,
    node_to, shard_from, shard_to, tenant_record_from, tenant_to,
};
use super::{
    MESSAGE_VERSION, Result, all, blocks_from, blocks_to, check_version, nodes_from, nodes_to,
    parse, required, shards_from, shards_to,
};
use crate::blocks_view::BlocksView;
use crate::delta::{BlockDelta, RoutingDelta};
use crate::routing_view::RoutingView;

/// The bytes of `delta`.
pub fn encode_routing_delta(delta: &RoutingDelta) -> Vec<u8> {
    v1::RoutingDelta {
        version: MESSAGE_VERSION,
        from: delta.from.map(|version| version.0),
        to: delta.to.0,
        changed: delta.changed.0,
        cluster: delta.cluster.map_or(0, |cluster| cluster.0),
        feature_level: delta.feature_level,
        default_limits: Some(limits_to(&delta.default_limits)),
        default_retention_ms: delta.default_retention_ms,
        nodes: delta.nodes.iter().map(|node| node_to(node)).collect(),
        removed_nodes: nodes_to(&delta.removed_nodes),
        shards: delta.shards.iter().map(|shard| shard_to(shard)).collect(),
        removed_shards: shards_to(&delta.removed_shards),
        tenants: delta.tenants.iter().map(|tenant| tenant_to(tenant)).collect(),
    }
    .encode_to_vec()
}

/// Reads what [`encode_routing_delta`] wrote.
pub fn decode_routing_delta(bytes: &[u8]) -> Result<RoutingDelta> {
    let message: v1::RoutingDelta = parse("routing delta", bytes)?;
    check_version("routing delta", message.version)?;
    let default_limits = required("routing delta", message.default_limits.as_ref())?;
    Ok(RoutingDelta {
        from: message.from.map(CatalogVersion),
        to: CatalogVersion(message.to),
        changed: CatalogVersion(message.changed),
        cluster: (message.cluster != 0).then_some(ClusterId(message.cluster)),
        feature_level: message.feature_level,
        default_limits: limits_from(default_limits),
        default_retention_ms: message.default_retention_ms,
        nodes: all(&message.nodes, |node| node_from(node).map(Arc::new))?,
        removed_nodes: nodes_from(&message.removed_nodes),
        shards: all(&message.shards, |shard| shard_from(shard).map(Arc::new))?,
        removed_shards: shards_from(&message.removed_shards),
        tenants: all(&message.tenants, |tenant| tenant_record_from(tenant).map(Arc::new))?,
    })
}

/// The bytes of `delta`.
pub fn encode_block_delta(delta: &BlockDelta) -> Vec<u8> {
    let cuts = delta.next_cuts.iter();
    v1::BlockDelta {
        version: MESSAGE_VERSION,
        from: delta.from.map(|version| version.0),
        to: delta.to.0,
        changed: delta.changed.0,
        blocks: delta.blocks.iter().map(|entry| block_to(entry)).collect(),
        removed_blocks: blocks_to(&delta.removed_blocks),
        next_cuts: cuts.map(|(s, c)| v1::ShardCut { shard: s.0, cut: c.0 }).collect(),
        removed_shards: shards_to(&delta.removed_shards),
        deletes: delta.deletes.iter().map(|delete| delete_to(delete)).collect(),
        removed_deletes: delta.removed_deletes.clone(),
    }
    .encode_to_vec()
}

/// Reads what [`encode_block_delta`] wrote.
pub fn decode_block_delta(bytes: &[u8]) -> Result<BlockDelta> {
    let message: v1::BlockDelta = parse("block delta", bytes)?;
    check_version("block delta", message.version)?;
    Ok(BlockDelta {
        from: message.from.map(CatalogVersion),
        to: CatalogVersion(message.to),
        changed: CatalogVersion(message.changed),
        blocks: all(&message.blocks, |entry| block_from(entry).map(Arc::new))?,
        removed_blocks: blocks_from(&message.removed_blocks)?,
        next_cuts: cuts_from(&message.next_cuts),
        removed_shards: shards_from(&message.removed_shards),
        deletes: all(&message.deletes, |delete| delete_from(delete).map(Arc::new))?,
        removed_deletes: message.removed_deletes,
    })
}

/// A view that follows a stream of deltas, and that a member keeps on its disk.
pub trait StreamedView: Default + Clone + Send + Sync + 'static {
    /// The stream's name, and the file's.
    const NAME: &'static str;

    /// The file's kind.
    const KIND: Kind;

    /// The version that the view is at.
    fn version(&self) -> CatalogVersion;

    /// Applies the bytes of a delta. The view stays as it was when that is an error.
    fn advance(&mut self, delta: &[u8]) -> Result<()>;

    /// The delta that makes this view out of an empty one.
    fn full_delta(&self) -> Vec<u8>;

    /// The view as a file, checksummed.
    fn to_bytes(&self) -> Bytes {
        wrap(Self::KIND, &self.full_delta())
    }

    /// Reads what [`StreamedView::to_bytes`] wrote; damage of any kind is an error.
    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut view = Self::default();
        view.advance(unwrap(Self::KIND, bytes)?)?;
        Ok(view)
    }
}

impl StreamedView for RoutingView {
    const NAME: &'static str = "routing";
    const KIND: Kind = Kind::Routing;

    fn version(&self) -> CatalogVersion {
        RoutingView::version(self)
    }

    fn advance(&mut self, delta: &[u8]) -> Result<()> {
        self.apply(&decode_routing_delta(delta)?)
    }

    fn full_delta(&self) -> Vec<u8> {
        encode_routing_delta(&self.to_delta())
    }
}

impl StreamedView for BlocksView {
    const NAME: &'static str = "blocks";
    const KIND: Kind = Kind::Blocks;

    fn version(&self) -> CatalogVersion {
        BlocksView::version(self)
    }

    fn advance(&mut self, delta: &[u8]) -> Result<()> {
        self.apply(&decode_block_delta(delta)?)
    }

    fn full_delta(&self) -> Vec<u8> {
        encode_block_delta(&self.to_delta())
    }
}
