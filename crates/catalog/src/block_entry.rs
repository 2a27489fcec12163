//! `BlockEntry`: a block that the catalog names, and `PendingObject`: one that it named.

use pando_model::{BlockId, BlockRecord, BlockSource, CatalogVersion, TenantId};

use crate::delete::DeleteRecord;

/// A block that the catalog names: visible (INV-4).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockEntry {
    /// What the block says of itself.
    pub record: BlockRecord,
    /// The version that added it.
    pub added: CatalogVersion,
    /// Deletes up to this number are applied to it, or do not concern it.
    pub deletes_upto: u64,
    /// When its samples came into a block first, ms: of a compacted block the newest among its
    /// inputs, so that neither quiet nor retention begins anew.
    pub stored_ms: i64,
}

impl BlockEntry {
    /// Whether `delete` takes samples from this block: what a read must apply, and a compaction
    /// may.
    pub fn concerned_by(&self, delete: &DeleteRecord) -> bool {
        if delete.number <= self.deletes_upto {
            return false;
        }
        let overlaps = |tenant: &TenantId| {
            self.record.tenant(tenant).is_some_and(|span| span.time.overlaps(delete.time))
        };
        overlaps(&delete.tenant)
            && match self.record.source {
                BlockSource::Generation(g) => delete.covers_generation(g.shard, g.cut),
                BlockSource::Compaction { .. } => true,
            }
    }
}

/// An object that the catalog does not name any more, and that must not be deleted yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PendingObject {
    /// The block.
    pub block: BlockId,
    /// When it was replaced or had expired, ms: grace counts from here.
    pub replaced_ms: i64,
    /// The version that ceased to name it: a snapshot at least this new must be in the bucket
    /// first.
    pub replaced: CatalogVersion,
}
