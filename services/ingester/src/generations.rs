//! What happens to the generations of a shard: each of three tasks does one thing.
//!
//! ```text
//! Cutter     leader   open -> ended       by time or size (on demand: the Cut call)
//! Committer  leader   ended -> committed  builds and uploads the block, has the catalog name it,
//!                                         tells the log; afterwards ends a sealed shard
//! Keeper     members  committed -> gone   keeps the block in the local folder, drops the samples,
//!                                         checkpoints
//! ```

mod build;
mod committer;
mod cutter;
mod keeper;
mod reports;

use std::sync::Arc;

use pando_runtime::Tasks;

use crate::context::SharedContext;
use crate::local_shard::LocalShard;

pub use cutter::cut_due;
pub(crate) use keeper::forget_old_blocks;

/// A block of a generation, for tests that act as another leader.
#[cfg(test)]
pub(crate) fn build_for_test(
    state: &crate::state::HeadState,
    shard: pando_model::ShardId,
    cut: pando_model::Cut,
    block: pando_model::BlockId,
    now_ms: i64,
) -> pando_block::BuiltBlock {
    build::build_block(state, shard, cut, block, now_ms).expect("it builds")
}

/// Starts the tasks of a shard; they end with `tasks`, and the process with one that panics: samples would
/// pile up. `unsaved`: it began with what its predecessors left, and that is in no checkpoint yet.
pub(crate) fn start(
    shard: &Arc<LocalShard>,
    context: &SharedContext,
    unsaved: bool,
    tasks: &Tasks,
) {
    let cutter = cutter::Cutter::new(shard.clone(), context.clone());
    tasks.spawn_vital("cutter", cutter.run());
    let committer = committer::Committer::new(shard.clone(), context.clone());
    tasks.spawn_vital("committer", committer.run());
    let keeper = keeper::Keeper::new(shard.clone(), context.clone(), unsaved);
    tasks.spawn_vital("keeper", keeper.run());
}
