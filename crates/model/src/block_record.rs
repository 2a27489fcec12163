//! `BlockRecord`: what the catalog, and the block's own footer, say of a block. Never anything per series.

use crate::digest::Digest;
use crate::ids::{BlockId, GenerationId};
use crate::key::KeyRange;
use crate::tenant::TenantId;
use crate::time::TimeRange;

/// What a block was made from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BlockSource {
    /// A shard's generation.
    Generation(GenerationId),
    /// A compaction of other blocks.
    Compaction {
        /// The work item.
        work: u64,
        /// The blocks that it replaces.
        sources: Vec<BlockId>,
    },
}

/// One tenant's part of a block: its rows are neighbours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TenantSpan {
    /// The tenant.
    pub tenant: TenantId,
    /// The smallest range that holds the keys of its rows.
    pub keys: KeyRange,
    /// The times of its samples.
    pub time: TimeRange,
    /// The first row.
    pub first_row: u64,
    /// The number of rows.
    pub rows: u64,
    /// The number of distinct series.
    pub series: u64,
    /// The number of samples.
    pub samples: u64,
}

/// A block as the catalog knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockRecord {
    /// The block.
    pub id: BlockId,
    /// Version of the block format.
    pub format: u32,
    /// 0: cut from a generation; n + 1: compacted from blocks of level n and below.
    pub level: u32,
    /// 0: raw samples; else the length of a rollup's buckets.
    pub resolution_ms: i64,
    /// Where its samples come from.
    pub source: BlockSource,
    /// Its tenants, sorted by name.
    pub tenants: Vec<TenantSpan>,
    /// The times of all its samples.
    pub time: TimeRange,
    /// Number and multiset hash of its samples.
    pub digest: Digest,
    /// Size of the object. 0 in the copy in the footer, which cannot know it.
    pub object_bytes: u64,
    /// Where the footer's hash begins: one read from here to the end opens the block. 0 in the footer's copy.
    pub footer_offset: u64,
    /// When it was built, ms.
    pub created_ms: i64,
}

impl BlockRecord {
    /// The part of `tenant`, if the block has one.
    pub fn tenant(&self, tenant: &TenantId) -> Option<&TenantSpan> {
        let at = self.tenants.binary_search_by(|s| s.tenant.cmp(tenant)).ok()?;
        Some(&self.tenants[at])
    }
}
