//! `NamedBlocks`: the blocks that a catalog names, and what is asked of all of them under its lock.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use pando_model::BlockId;

use crate::block_entry::BlockEntry;

/// Blocks by id. The sums follow from the blocks alone: a catalog that is restored has the same.
#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct NamedBlocks {
    blocks: BTreeMap<BlockId, Arc<BlockEntry>>,
    object_bytes: u128,
    /// How many blocks were stored at a time.
    stored_ms: BTreeMap<i64, u32>,
}

impl NamedBlocks {
    pub(crate) fn insert(&mut self, entry: Arc<BlockEntry>) {
        let id = entry.record.id;
        self.remove(&id);
        self.object_bytes += u128::from(entry.record.object_bytes);
        *self.stored_ms.entry(entry.stored_ms).or_default() += 1;
        self.blocks.insert(id, entry);
    }

    pub(crate) fn remove(&mut self, id: &BlockId) {
        let Some(entry) = self.blocks.remove(id) else { return };
        self.object_bytes -= u128::from(entry.record.object_bytes);
        if let Some(count) = self.stored_ms.get_mut(&entry.stored_ms) {
            *count -= 1;
            if *count == 0 {
                self.stored_ms.remove(&entry.stored_ms);
            }
        }
    }

    /// Bytes of all objects.
    pub(crate) fn object_bytes(&self) -> u128 {
        self.object_bytes
    }

    /// When the newest samples came into their block.
    pub(crate) fn newest_stored_ms(&self) -> Option<i64> {
        self.stored_ms.keys().next_back().copied()
    }
}

impl Deref for NamedBlocks {
    type Target = BTreeMap<BlockId, Arc<BlockEntry>>;

    fn deref(&self) -> &Self::Target {
        &self.blocks
    }
}

impl FromIterator<BlockEntry> for NamedBlocks {
    fn from_iter<I: IntoIterator<Item = BlockEntry>>(entries: I) -> Self {
        let mut blocks = NamedBlocks::default();
        entries.into_iter().for_each(|entry| blocks.insert(Arc::new(entry)));
        blocks
    }
}
