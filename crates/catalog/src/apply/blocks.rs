//! Commands that replace and forget blocks.

use std::collections::BTreeSet;

use pando_model::{BlockId, BlockRecord, BlockSource, Digest, TenantSpan};

use super::{Applied, refuse, within};
use crate::block_entry::{BlockEntry, PendingObject};
use crate::catalog::Catalog;
use crate::command::{CommandReply, ReplaceBlocks};
use crate::error::CommandRefused;
use crate::limits::{BLOCKS_MAX, BLOCKS_PER_COMMAND_MAX, PENDING_MAX, REFUSED_MAX};
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
        for id in blocks {
            let Some(entry) = self.blocks.get(id) else {
                refuse!(UnknownBlock, "no such block: block={id}");
            };
            if !self.is_expired(entry, now_ms) {
                refuse!(NotExpired, "a tenant keeps the block: block={id}");
            }
        }
        self.unname_blocks(blocks, now_ms);
        Ok(CommandReply::Done)
    }

    pub(crate) fn refuse_block(&mut self, block: BlockId) -> Applied {
        if self.blocks.contains_key(&block) || self.pending.contains_key(&block) {
            refuse!(BlockNamed, "block is no orphan: block={block}");
        }
        within("refused blocks", self.refused.len() + 1, REFUSED_MAX)?;
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

    /// Whether every tenant of the block is done with it.
    pub fn is_expired(&self, entry: &BlockEntry, now_ms: i64) -> bool {
        entry.record.tenants.iter().all(|span| self.is_done_with(entry, span, now_ms))
    }

    /// Whether the tenant of `span` is done with its part of the block. What was written with old
    /// times, by a clock that was wrong or on purpose, is kept as long as if it had been of the
    /// time when it was stored.
    pub fn is_done_with(&self, entry: &BlockEntry, span: &TenantSpan, now_ms: i64) -> bool {
        let retention_ms = i64::try_from(self.retention_ms(&span.tenant)).unwrap_or(i64::MAX);
        let newest_ms = span.time.max_ms.max(entry.stored_ms);
        retention_ms > 0 && newest_ms.saturating_add(retention_ms) <= now_ms
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
