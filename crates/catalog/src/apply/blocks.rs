//! Commands that replace and forget blocks.

use std::collections::BTreeSet;

use pando_model::{BlockId, BlockRecord, BlockSource, Digest};

use super::{Applied, refuse, within};
use crate::block_entry::{BlockEntry, PendingObject};
use crate::catalog::Catalog;
use crate::command::{CommandReply, ReplaceBlocks};
use crate::error::CommandRefused;
use crate::limits::{
    BLOCKS_MAX, BLOCKS_PER_COMMAND_MAX, PENDING_MAX, REFUSED_KEPT_MS, REFUSED_MAX,
};
use crate::work::WorkItem;

impl Catalog {
    pub(crate) fn replace_blocks(&mut self, replace: &ReplaceBlocks) -> Applied {
        let lease = self.expect_lease(replace.work, replace.holder, replace.epoch)?;
        let item = lease.item.clone();
        if replace.removed != item.spec.inputs {
            let (work, removed) = (replace.work, replace.removed.len());
            refuse!(BadCommand, "not the work item's inputs: work={work} removed={removed}");
        }
        within("outputs of a work item", replace.added.len(), BLOCKS_PER_COMMAND_MAX)?;
        within("blocks", self.blocks.len() + replace.added.len(), BLOCKS_MAX)?;
        within("replaced objects", self.pending.len() + replace.removed.len(), PENDING_MAX)?;
        let distinct: BTreeSet<BlockId> = replace.added.iter().map(|record| record.id).collect();
        if distinct.len() != replace.added.len() {
            refuse!(BadRecord, "an output is named twice: work={}", replace.work);
        }
        replace.added.iter().try_for_each(|record| self.check_output(record, &item))?;
        self.check_conserved(replace)?;

        let inputs = replace.removed.iter().filter_map(|id| self.blocks.get(id));
        let stored_ms = inputs.map(|entry| entry.stored_ms).max().unwrap_or(replace.now_ms);
        self.leases.remove(&replace.work);
        self.unname_blocks(&replace.removed, replace.now_ms);
        for record in &replace.added {
            self.name_block(BlockEntry {
                record: record.clone(),
                added: self.version(),
                deletes_upto: item.deletes_upto,
                stored_ms,
            });
        }
        Ok(CommandReply::Done)
    }

    pub(crate) fn expire_blocks(&mut self, blocks: &[BlockId], now_ms: i64) -> Applied {
        within("blocks of one command", blocks.len(), BLOCKS_PER_COMMAND_MAX)?;
        within("replaced objects", self.pending.len() + blocks.len(), PENDING_MAX)?;
        let expiry = self.expiry(now_ms);
        for id in blocks {
            let Some(entry) = self.blocks.get(id) else {
                refuse!(UnknownBlock, "no such block: block={id}");
            };
            if !expiry.takes(entry) {
                refuse!(NotExpired, "a tenant keeps the block, and there is room: block={id}");
            }
        }
        self.unname_blocks(blocks, now_ms);
        Ok(CommandReply::Done)
    }

    pub(crate) fn refuse_block(&mut self, block: BlockId, now_ms: i64) -> Applied {
        if self.blocks.contains_key(&block) || self.pending.contains_key(&block) {
            refuse!(BlockNamed, "block is no orphan: block={block}");
        }
        // Where there are too many, those that nobody can still be about to commit are forgotten. Ids
        // are sorted by their time.
        let forgotten_ms = self.believable_ms(now_ms).saturating_sub(REFUSED_KEPT_MS);
        let first_kept = BlockId::new(forgotten_ms.max(0), 0);
        let (count, is_full) = (self.refused.len() + 1, self.refused.len() >= REFUSED_MAX);
        let old = self.refused.range(..first_kept).next().is_some();
        within("refused blocks", if is_full && old { 0 } else { count }, REFUSED_MAX)?;
        if is_full {
            self.refused = self.refused.split_off(&first_kept);
        }
        self.refused.insert(block);
        Ok(CommandReply::Done)
    }

    pub(crate) fn forget_objects(&mut self, blocks: &[BlockId]) -> Applied {
        within("blocks of one command", blocks.len(), BLOCKS_PER_COMMAND_MAX)?;
        if let Some(id) = blocks.iter().find(|id| self.blocks.contains_key(id)) {
            refuse!(BlockNamed, "block is visible: block={id}");
        }
        for id in blocks {
            self.pending.remove(id);
        }
        Ok(CommandReply::Done)
    }

    /// An output names its work item, with all inputs, and is of the inputs' resolution or a rollup
    /// of it.
    fn check_output(&self, record: &BlockRecord, item: &WorkItem) -> Result<(), CommandRefused> {
        self.check_new_block(record)?;
        let (id, work) = (record.id, item.id);
        let right = match &record.source {
            BlockSource::Compaction { work, sources } => {
                *work == item.id && *sources == item.spec.inputs
            }
            BlockSource::Generation(_) => false,
        };
        if !right {
            refuse!(BadRecord, "output of other work: work={work} block={id}");
        }
        if record.resolution_ms < self.resolution_of(&item.spec.inputs) {
            refuse!(BadRecord, "output is finer than its input: work={work} block={id}");
        }
        let inputs = || item.spec.inputs.iter().filter_map(|id| self.blocks.get(id));
        let known = |tenant| inputs().any(|entry| entry.record.tenant(tenant).is_some());
        if let Some(span) = record.tenants.iter().find(|span| !known(&span.tenant)) {
            let tenant = &span.tenant;
            refuse!(BadRecord, "tenant is in no input: work={work} block={id} tenant={tenant}");
        }
        Ok(())
    }

    /// The conservation check. Outputs of the inputs' resolution hold what the worker says that it
    /// kept, to the last bit, and never more samples than went in; rollups have no such law.
    fn check_conserved(&self, replace: &ReplaceBlocks) -> Result<(), CommandRefused> {
        let work = replace.work;
        let resolution_ms = self.resolution_of(&replace.removed);
        let mut output = Digest::default();
        for record in replace.added.iter().filter(|r| r.resolution_ms == resolution_ms) {
            if output.samples.checked_add(record.digest.samples).is_none() {
                refuse!(NotConserved, "samples overflow: work={work}");
            }
            output.merge(record.digest);
        }
        if output != replace.kept {
            let (out, kept) = (output.samples, replace.kept.samples);
            refuse!(
                NotConserved,
                "output is not what was kept: work={work} output={out} kept={kept}"
            );
        }
        let input = replace.removed.iter().filter_map(|id| self.blocks.get(id));
        let input = input.fold(0u64, |sum, e| sum.saturating_add(e.record.digest.samples));
        if output.samples > input {
            let out = output.samples;
            refuse!(
                NotConserved,
                "more samples out than in: work={work} output={out} input={input}"
            );
        }
        Ok(())
    }

    pub(crate) fn resolution_of(&self, blocks: &[BlockId]) -> i64 {
        let first = blocks.first().and_then(|id| self.blocks.get(id));
        first.map_or(0, |entry| entry.record.resolution_ms)
    }

    /// Ceases to name `blocks`, and cancels the work that wanted to read them: its commit would
    /// bring samples back.
    fn unname_blocks(&mut self, blocks: &[BlockId], now_ms: i64) {
        let replaced = self.version();
        for id in blocks {
            self.blocks.remove(id);
            self.block_changes.open.blocks.insert(*id);
            let pending = PendingObject { block: *id, replaced_ms: now_ms, replaced };
            self.pending.insert(*id, pending);
        }
        let gone: BTreeSet<&BlockId> = blocks.iter().collect();
        self.leases.retain(|_, lease| !lease.item.spec.inputs.iter().any(|id| gone.contains(id)));
    }
}

#[cfg(test)]
mod tests;
