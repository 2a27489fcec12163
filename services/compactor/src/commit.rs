//! From a built block to its place in the catalog: upload, read back, verify, replace; and the way
//! back, which never deletes an object that the catalog may still come to name.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use object_store::{ObjectStore, ObjectStoreExt as _};
use pando_catalog::bucket::{self, PutOutcome, PutRetry};
use pando_catalog::layout::block_path;
use pando_catalog::{CatalogError, Command, Reason, ReplaceBlocks};
use pando_cluster::{ControllerClient, ProposeError};
use pando_model::BlockId;

use crate::error::CompactError;
use crate::lease::Held;
use crate::merge::{Merged, verify};

/// Tries of a command whose outcome is unknown, and the pause after the first one; it doubles.
const PROPOSE_TRIES: u32 = 5;
const PROPOSE_PAUSE: Duration = Duration::from_millis(300);

/// The output of one work item on its way into the catalog.
pub(crate) struct Output {
    pub(crate) block: BlockId,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) client: ControllerClient,
    pub(crate) put: PutRetry,
    /// Whether the object may exist.
    started: AtomicBool,
    /// Whether the catalog may name it.
    proposed: AtomicBool,
}

impl Output {
    pub(crate) fn new(
        block: BlockId,
        store: Arc<dyn ObjectStore>,
        client: ControllerClient,
        put: PutRetry,
    ) -> Self {
        let (started, proposed) = (AtomicBool::new(false), AtomicBool::new(false));
        Output { block, store, client, put, started, proposed }
    }

    /// Brings what was merged into the catalog, in place of the inputs.
    pub(crate) async fn commit(&self, held: &Held, merged: Merged) -> Result<(), CompactError> {
        let mut added = Vec::new();
        if let Some(built) = merged.output {
            self.upload(&built).await?;
            added.push(built.record);
        }
        let replace = Command::ReplaceBlocks(Box::new(ReplaceBlocks {
            work: held.item.id,
            holder: held.holder,
            epoch: held.epoch,
            removed: held.item.spec.inputs.clone(),
            added,
            kept: merged.kept,
            // The leader puts its own clock into the command.
            now_ms: 0,
        }));
        self.proposed.store(true, Ordering::SeqCst);
        match self.propose(&replace).await {
            Ok(()) => Ok(()),
            // A repeat of what was applied before is refused, since the work has ended: whether the
            // catalog names the output says which of the two it is.
            Err(ProposeError::Refused(_)) if self.is_named().await => Ok(()),
            Err(source) => Err(CompactError::Propose { what: "blocks are not replaced", source }),
        }
    }

    async fn upload(&self, built: &pando_block::BuiltBlock) -> Result<(), CompactError> {
        let path = block_path(self.block);
        self.started.store(true, Ordering::SeqCst);
        let put = bucket::put_once(self.store.as_ref(), &path, built.bytes.clone(), self.put);
        if let PutOutcome::Lost(_) = put.await? {
            // The id is random: a store that has it already is not to be trusted with it.
            let what = format!("a fresh name is taken: path={path}");
            return Err(CatalogError::BadStore { what }.into());
        }
        verify(&built.record, self.store.clone()).await
    }

    /// Proposes until the outcome is known, or patience ends.
    async fn propose(&self, command: &Command) -> Result<(), ProposeError> {
        let mut pause = PROPOSE_PAUSE;
        let mut tries = 1;
        loop {
            match self.client.propose(command).await {
                Ok(_) => return Ok(()),
                Err(error @ ProposeError::Refused(_)) => return Err(error),
                Err(error) if tries >= PROPOSE_TRIES => return Err(error),
                Err(error) => {
                    tracing::debug!(%error, tries, "command is proposed again");
                    tokio::time::sleep(pause).await;
                    (pause, tries) = (pause * 2, tries + 1);
                }
            }
        }
    }

    /// Whether the catalog names the output. Where it does not, it never will from here on, and the
    /// object is removed.
    async fn is_named(&self) -> bool {
        if !self.started.load(Ordering::SeqCst) {
            return false;
        }
        let refuse = Command::RefuseBlock { block: self.block, now_ms: 0 };
        match self.propose(&refuse).await {
            Ok(()) => {
                let path = block_path(self.block);
                match self.store.delete(&path).await {
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => tracing::warn!(%error, %path, "refused block is not removed"),
                }
                self.started.store(false, Ordering::SeqCst);
                false
            }
            Err(ProposeError::Refused(refused)) => refused.reason == Reason::BlockNamed,
            Err(error) => {
                // The controllers find the orphan later.
                tracing::debug!(%error, block = %self.block, "own block is not refused");
                false
            }
        }
    }

    /// Removes what was uploaded for nothing. Says whether it was not for nothing after all.
    pub(crate) async fn abandon(&self) -> bool {
        let named = self.is_named().await;
        named && self.proposed.load(Ordering::SeqCst)
    }
}
