//! `Keeper`: every member's care for committed generations.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pando_executor::BlockStore;
use pando_model::{BlockId, Cut};

use crate::context::SharedContext;
use crate::local_shard::LocalShard;

/// Pause before what failed is tried again, and between looks at the clock.
const PAUSE: Duration = Duration::from_secs(1);

/// Keeps the blocks of committed generations in the local folder, drops their samples from memory
/// once no query can name them any more, and lets go of the log behind them.
pub(super) struct Keeper {
    shard: Arc<LocalShard>,
    context: SharedContext,
    /// Committed generations, with the monotonic time at which that was seen.
    committed: BTreeMap<Cut, Duration>,
    /// Blocks that are not in the folder yet.
    missing: BTreeMap<Cut, BlockId>,
    /// The newest commit that was seen.
    seen: Cut,
    /// What the shards before this one left is in no checkpoint yet, and the catalog will forget
    /// them.
    unsaved: bool,
}

impl Keeper {
    pub(super) fn new(shard: Arc<LocalShard>, context: SharedContext, unsaved: bool) -> Self {
        let (committed, missing) = (BTreeMap::new(), BTreeMap::new());
        Keeper { shard, context, committed, missing, seen: Cut(0), unsaved }
    }

    pub(super) async fn run(mut self) {
        let mut progress = self.shard.state.watch();
        loop {
            let now = self.context.clock.monotonic();
            {
                let progress = progress.borrow_and_update();
                let here = |cut: &Cut| progress.droppable.contains(cut);
                self.committed.retain(|cut, _| here(cut));
                for cut in &progress.droppable {
                    self.committed.entry(*cut).or_insert(now);
                }
                let seen = self.seen;
                let new = progress.committed.iter().filter(|(cut, _)| *cut > seen);
                self.missing.extend(new.copied());
                self.seen = progress.committed.iter().map(|(cut, _)| *cut).fold(seen, Cut::max);
            }
            self.drop_old(now).await;
            if self.unsaved && self.shard.group.applied_index() > 0 {
                self.unsaved = !self.checkpoint().await;
            }
            self.fetch().await;
            let idle = self.committed.is_empty() && self.missing.is_empty() && !self.unsaved;
            let pause = async {
                if idle { std::future::pending().await } else { tokio::time::sleep(PAUSE).await }
            };
            tokio::select! {
                changed = progress.changed() => if changed.is_err() { return },
                () = pause => {}
            }
        }
    }

    /// Drops generations that no query can name any more.
    async fn drop_old(&mut self, now: Duration) {
        let timeout = self.context.config.query_timeout;
        // Oldest first: a generation goes only when those before it go too.
        let due = self.committed.iter().take_while(|(_, at)| now.saturating_sub(**at) >= timeout);
        let due: Vec<Cut> = due.map(|(cut, _)| *cut).collect();
        let Some(last) = due.last().copied() else { return };
        // It waits for the head and frees much: not on a thread that serves sockets.
        let state = self.shard.state.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || state.drop_committed(last)).await {
            let shard = self.shard.id;
            tracing::error!(%shard, cut = %last, %error, "generation is not dropped");
            return;
        }
        if self.checkpoint().await {
            self.context.metrics.generations_dropped.inc_by(due.len() as u64);
        }
    }

    async fn checkpoint(&self) -> bool {
        let written = self.shard.group.checkpoint().await;
        if let Err(error) = &written {
            tracing::warn!(shard = %self.shard.id, %error, "checkpoint is not written");
        }
        written.is_ok()
    }

    async fn fetch(&mut self) {
        let oldest_ms = self.context.clock.now_ms().saturating_sub(self.context.config.keep_ms);
        self.missing.retain(|_, block| created_ms(*block) >= oldest_ms);
        for (cut, block) in std::mem::take(&mut self.missing) {
            if let Err(error) = self.context.blocks.fetch_whole(block).await {
                tracing::debug!(shard = %self.shard.id, %block, %error, "block is not kept yet");
                // A block that compaction has replaced meanwhile is not missed.
                if error.kind() != pando_model::ErrorKind::Stale {
                    self.missing.insert(cut, block);
                }
            }
        }
    }
}

/// When a block was built, ms: its id says so.
fn created_ms(block: BlockId) -> i64 {
    (block.0 >> 80) as i64
}

/// Removes blocks from the local folder that were built before `oldest_ms`.
pub(crate) fn forget_old_blocks(blocks: &BlockStore, oldest_ms: i64) {
    for block in blocks.kept().into_iter().filter(|block| created_ms(*block) < oldest_ms) {
        if let Err(error) = blocks.forget(block) {
            tracing::warn!(%block, %error, "block cannot be removed from the local folder");
        }
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use pando_executor::BlockStoreConfig;

    use super::*;

    #[test]
    fn the_folder_keeps_what_is_young() {
        let folder = tempfile::tempdir().expect("a folder");
        let config =
            BlockStoreConfig { folder: Some(folder.path().to_path_buf()), ..Default::default() };
        let blocks = BlockStore::new(Arc::new(InMemory::new()), &config);
        let (old, young) = (BlockId::new(999, u128::MAX), BlockId::new(1000, 7));
        for block in [old, young] {
            blocks.keep(block, b"block").expect("written");
        }
        forget_old_blocks(&blocks, 1000);
        assert_eq!(blocks.kept(), [young]);
    }
}
