//! `Committer`: makes blocks of ended generations and has the catalog name them, oldest first.
//!
//! Everything here may be done twice, by two leaders or by one that was interrupted: the first
//! commit wins, and whoever comes second learns the winner's name. An object that was uploaded and
//! never committed is an orphan, which the controllers clean up.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStoreExt as _;
use pando_block::BuiltBlock;
use pando_catalog::bucket::{self, PutOutcome, PutRetry};
use pando_catalog::layout::block_path;
use pando_catalog::{Command, CommandReply, CommitGeneration, Reason, ShardStage};
use pando_cluster::{ControllerClient, ProposeError};
use pando_codec::entry::Entry;
use pando_model::{BlockId, BlockRecord, Cut, Digest};

use crate::context::SharedContext;
use crate::error::IngesterError;
use crate::generations::build::build_block;
use crate::generations::reports;
use crate::local_shard::LocalShard;
use crate::state::NO_BLOCK;

/// Pause before what failed is tried again: doubled up to the second value.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How often the leader of a sealed shard looks whether the catalog knows.
const SEALED_TICK: Duration = Duration::from_secs(2);
/// A controller that had a shard sealed is given so long to tell the catalog; then the shard asks
/// for it.
const SEAL_PATIENCE: Duration = Duration::from_secs(10);

/// The block of a generation, on its way.
struct Prepared {
    cut: Cut,
    built: BuiltBlock,
    uploaded: bool,
}

/// Commits the generations of a shard that this member leads.
pub(super) struct Committer {
    shard: Arc<LocalShard>,
    context: SharedContext,
    prepared: Option<Prepared>,
    /// The term in which the catalog was asked whether it has the next generation already.
    asked: Option<u64>,
    /// Since when the catalog has not known of the seal, monotonic.
    unknown_seal: Option<Duration>,
}

impl Committer {
    pub(super) fn new(shard: Arc<LocalShard>, context: SharedContext) -> Self {
        Committer { shard, context, prepared: None, asked: None, unknown_seal: None }
    }

    pub(super) async fn run(mut self) {
        let mut progress = self.shard.state.watch();
        let mut leadership = self.shard.group.watch();
        let mut pause = PAUSE_MIN;
        loop {
            let sealed = progress.borrow_and_update().sealed;
            leadership.borrow_and_update();
            let wait = match self.round().await {
                Ok(()) => {
                    pause = PAUSE_MIN;
                    sealed.then_some(SEALED_TICK)
                }
                Err(error) => {
                    self.context.metrics.commit_failures.inc();
                    let retry_ms = pause.as_millis() as u64;
                    tracing::warn!(shard = %self.shard.id, %error, retry_ms, "commit failed");
                    let jitter = self.context.rng.range(0, retry_ms / 2);
                    let wait = pause + Duration::from_millis(jitter);
                    pause = (pause * 2).min(PAUSE_MAX);
                    // Another cut heals nothing: wait it out.
                    tokio::time::sleep(wait).await;
                    continue;
                }
            };
            let tick = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = progress.changed() => if changed.is_err() { return },
                changed = leadership.changed() => if changed.is_err() { return },
                () = tick => {}
            }
        }
    }

    /// Commits all that has ended, as long as this member leads.
    async fn round(&mut self) -> Result<(), IngesterError> {
        while self.shard.group.is_leader() {
            let uncommitted = || self.shard.state.progress().uncommitted.first().copied();
            if uncommitted().is_none() {
                return self.end_sealed().await;
            }
            // The log may say already that it is committed: after a restart it is read anew.
            self.shard.group.read_index().await?;
            let Some(cut) = uncommitted() else { continue };
            let began = self.context.clock.monotonic();
            let asked = self.ask(cut).await?;
            if !asked {
                self.commit(cut).await?;
            }
            if self.shard.state.progress().waits(cut) {
                let text = format!("commit changed nothing: shard={} cut={cut}", self.shard.id);
                return Err(IngesterError::Unexpected(text));
            }
            if !asked {
                let took = self.context.clock.monotonic().saturating_sub(began);
                self.context.metrics.committed(took);
            }
        }
        // Another leader builds its own block.
        self.prepared = None;
        Ok(())
    }

    /// Whether the catalog has a block of the generation already, which the log is told then: the leader before
    /// this one, or this one before a restart, may have ended in between. A block is not built to learn that.
    async fn ask(&mut self, cut: Cut) -> Result<bool, IngesterError> {
        let (shard, term) = (self.shard.id, self.shard.group.term());
        let known = self.context.follower.blocks().next_cut(shard).is_some_and(|next| next > cut);
        // With a block at hand the commit itself is the question, and withdraws the block where it has to.
        let at_hand = self.prepared.as_ref().is_some_and(|prepared| prepared.cut == cut);
        if at_hand || (self.asked == Some(term) && !known) {
            return Ok(false);
        }
        // Without a report this is a question: no majority is behind it.
        let commit = CommitGeneration { shard, cut, term, record: None, reports: Vec::new() };
        let question = Command::CommitGeneration(Box::new(commit));
        match self.client().propose(&question).await {
            Ok((CommandReply::Committed { winner, digest, .. }, _)) => {
                let block = winner.unwrap_or(NO_BLOCK);
                tracing::info!(%shard, %cut, %block, "generation was committed before");
                self.shard.queue.committed(Entry::Committed { cut, block, digest }).await?;
                Ok(true)
            }
            Ok((other, _)) => Err(IngesterError::Unexpected(format!("{other:?}"))),
            Err(ProposeError::Refused(refused)) if refused.reason == Reason::NoMajority => {
                self.asked = Some(term);
                Ok(false)
            }
            // The block can be built meanwhile.
            Err(ProposeError::Call(_)) => Ok(false),
            Err(refused) => Err(refused.into()),
        }
    }

    async fn commit(&mut self, cut: Cut) -> Result<(), IngesterError> {
        let digest = self.shard.state.read(|shard| {
            shard.generations().find(|g| g.cut == cut).map(|generation| generation.digest)
        });
        // Committed and dropped a moment ago.
        let Some(digest) = digest else { return Ok(()) };
        let record = match digest.samples {
            0 => None,
            _ => Some(self.block(cut, digest).await?),
        };
        let own = record.as_ref().map(|record| record.id);
        let reports = reports::gather(&self.context, &self.shard, cut, digest).await?;
        let (shard, term) = (self.shard.id, self.shard.group.term());
        let commit = CommitGeneration { shard, cut, term, record, reports };
        let command = Command::CommitGeneration(Box::new(commit));
        let (winner, digest, won) = match self.client().propose(&command).await {
            Ok((CommandReply::Committed { winner, digest, won }, _)) => (winner, digest, won),
            Ok((other, _)) => return Err(IngesterError::Unexpected(format!("{other:?}"))),
            Err(error) => {
                if let ProposeError::Refused(refused) = &error
                    && refused.reason == Reason::BlockRefused
                {
                    // It was taken for an orphan: the next try has another name.
                    self.prepared = None;
                }
                return Err(error.into());
            }
        };
        let prepared = self.prepared.take().filter(|prepared| prepared.cut == cut);
        match (won, own, prepared) {
            (true, _, Some(prepared)) => self.keep(prepared.built).await,
            (false, Some(own), _) => self.withdraw(own).await,
            _ => {}
        }
        let samples = digest.samples;
        let block = winner.unwrap_or(NO_BLOCK);
        tracing::info!(%shard, %cut, %block, samples, "generation is committed");
        self.shard.queue.committed(Entry::Committed { cut, block, digest }).await?;
        Ok(())
    }

    /// The record of the generation's block, which is in the object store when this returns.
    async fn block(&mut self, cut: Cut, digest: Digest) -> Result<BlockRecord, IngesterError> {
        let prepared = match self.prepared.take() {
            Some(prepared) if prepared.cut == cut => prepared,
            _ => Prepared { cut, built: self.build(cut, digest).await?, uploaded: false },
        };
        let prepared = self.prepared.insert(prepared);
        let record = prepared.built.record.clone();
        if prepared.uploaded {
            return Ok(record);
        }
        let (path, bytes) = (block_path(record.id), prepared.built.bytes.clone());
        let store = self.context.blocks.object_store().clone();
        let put =
            bucket::put_once(store.as_ref(), &path, bytes.clone(), PutRetry::default()).await?;
        let found = match put {
            PutOutcome::Won => bucket::read(store.as_ref(), &path).await?,
            PutOutcome::Lost(found) => found,
        };
        if found != bytes {
            // Whatever is there now, nothing will ever name it.
            self.prepared = None;
            let (found, expected) = (found.len(), bytes.len());
            return Err(IngesterError::ObjectDiffers { block: record.id, bytes: found, expected });
        }
        prepared.uploaded = true;
        self.context.metrics.uploaded(bytes.len());
        Ok(record)
    }

    async fn build(&self, cut: Cut, digest: Digest) -> Result<BuiltBlock, IngesterError> {
        let (state, shard) = (self.shard.state.clone(), self.shard.id);
        let now_ms = self.context.clock.now_ms();
        let id = BlockId::new(now_ms, self.context.rng.u128());
        let build = move || build_block(&state, shard, cut, id, now_ms);
        let panicked =
            |error| IngesterError::Unexpected(format!("block is not built: block={id}: {error}"));
        let built = tokio::task::spawn_blocking(build).await.map_err(panicked)??;
        if built.record.digest != digest {
            let (samples, expected) = (built.record.digest.samples, digest.samples);
            return Err(IngesterError::BlockDiffers { shard, cut, block: id, samples, expected });
        }
        Ok(built)
    }

    /// Keeps the own block in the local folder.
    async fn keep(&self, built: BuiltBlock) {
        let (blocks, id) = (self.context.blocks.clone(), built.record.id);
        let keep = move || blocks.keep(id, &built.bytes);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(keep).await {
            tracing::warn!(block = %id, %error, "block is not kept in the local folder");
        }
    }

    /// Another leader was faster: the own object goes, once nobody can name it any more. What fails
    /// here is left to the controllers, which look for orphans.
    async fn withdraw(&self, own: BlockId) {
        // The leading controller sets its own clock.
        let refuse = Command::RefuseBlock { block: own, now_ms: 0 };
        if let Err(error) = self.client().propose(&refuse).await {
            tracing::warn!(block = %own, %error, "own block is not refused");
            return;
        }
        let store = self.context.blocks.object_store();
        if let Err(error) = store.delete(&block_path(own)).await {
            tracing::warn!(block = %own, %error, "own block is not deleted");
        }
    }

    /// Brings a sealed shard to its end: the catalog learns of the seal, and that all is in blocks.
    async fn end_sealed(&mut self) -> Result<(), IngesterError> {
        if !self.shard.state.progress().sealed {
            return Ok(());
        }
        let (shard, now) = (self.shard.id, self.context.clock.monotonic());
        let stage = self.context.follower.routing().shard(shard).map(|info| info.stage);
        match stage {
            Some(ShardStage::Open) => {
                // Whoever had it sealed is at it, or died in between.
                let since = *self.unknown_seal.get_or_insert(now);
                if now.saturating_sub(since) >= SEAL_PATIENCE {
                    let asked = self.client().recover_seal(shard).await;
                    asked.map_err(ProposeError::Call)?;
                    self.unknown_seal = None;
                }
            }
            Some(ShardStage::Sealed) => {
                self.unknown_seal = None;
                let now_ms = self.context.clock.now_ms();
                match self.client().propose(&Command::CloseShard { shard, now_ms }).await {
                    // The controllers close drained shards too.
                    Err(ProposeError::Refused(refused)) if refused.reason == Reason::ShardStage => {
                    }
                    closed => drop(closed?),
                }
            }
            Some(ShardStage::Closed) | None => {}
        }
        Ok(())
    }

    fn client(&self) -> &ControllerClient {
        self.context.follower.client()
    }
}
