//! `Sources`: where the samples of a fragment are, at one catalog version, each sample once (INV-5).

use pando_model::{BlockRecord, CatalogVersion, Cut, KeyRange, NodeId, ShardId, TenantId};

/// The blocks of a fragment.
pub type BlockSources = Vec<BlockRecord>;

/// All generations of a shard from `first_cut` on, the open one included.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LiveSource {
    /// The shard.
    pub shard: ShardId,
    /// The first generation that is not in a block at the pinned version.
    pub first_cut: Cut,
    /// Whether the pinned version has the shard sealed.
    pub sealed: bool,
    /// The shard's members, with their gRPC addresses.
    pub members: Vec<(NodeId, String)>,
}

/// Where the samples of a fragment are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sources {
    /// Whose.
    pub tenant: TenantId,
    /// Only series with keys in this range are meant.
    pub keys: KeyRange,
    /// The pinned version.
    pub version: CatalogVersion,
    /// Blocks.
    pub blocks: BlockSources,
    /// Live generations.
    pub live: Vec<LiveSource>,
}
