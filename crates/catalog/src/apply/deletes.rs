//! Commands about deletes.

use std::collections::BTreeMap;
use std::sync::Arc;

use pando_model::{BlockSource, Cut, ShardId};

use super::{Applied, refuse, within};
use crate::catalog::Catalog;
use crate::command::{CommandReply, NewDelete};
use crate::delete::DeleteRecord;
use crate::limits::{DELETES_MAX, MATCHER_BYTES_MAX, MATCHERS_PER_DELETE_MAX};
use crate::shard::{Shard, ShardStage};

impl Catalog {
    pub(crate) fn add_delete(&mut self, delete: &NewDelete) -> Applied {
        let tenant = &delete.tenant;
        if !self.tenants.contains_key(tenant) {
            refuse!(UnknownTenant, "no such tenant: tenant={tenant}");
        }
        if delete.time.min_ms >= delete.time.max_ms {
            refuse!(BadCommand, "delete of no time: tenant={tenant}");
        }
        within("deletes", self.deletes.len() + 1, DELETES_MAX)?;
        within("matchers of a delete", delete.matchers.len(), MATCHERS_PER_DELETE_MAX)?;
        for matcher in &delete.matchers {
            let bytes = matcher.name().len().max(matcher.value().len());
            within("bytes of a delete's matcher", bytes, MATCHER_BYTES_MAX)?;
        }
        let number = self.next_delete;
        self.next_delete += 1;
        let record = DeleteRecord {
            number,
            tenant: tenant.clone(),
            matchers: delete.matchers.clone(),
            time: delete.time,
            fences: self.fences(delete),
            created_ms: delete.now_ms,
        };
        self.deletes.insert(number, Arc::new(record));
        self.block_changes.open.deletes.insert(number);
        Ok(CommandReply::DeleteAdded(number))
    }

    pub(crate) fn forget_deletes(&mut self, numbers: &[u64]) -> Applied {
        within("deletes of one command", numbers.len(), DELETES_MAX)?;
        for number in numbers {
            match self.deletes.get(number) {
                None => refuse!(UnknownDelete, "no such delete: number={number}"),
                Some(delete) if self.is_needed(delete) => {
                    refuse!(DeleteNeeded, "something from before it is left: number={number}")
                }
                Some(_) => {}
            }
        }
        for number in numbers {
            self.deletes.remove(number);
            self.block_changes.open.deletes.insert(*number);
        }
        Ok(CommandReply::Done)
    }

    /// Whether a block, or a generation that will be one, still holds samples that `delete` hides.
    pub fn is_needed(&self, delete: &DeleteRecord) -> bool {
        let live = delete.fences.iter().any(|(id, last)| {
            self.shards.get(id).is_some_and(|shard| {
                shard.info.stage != ShardStage::Closed && shard.next_cut <= *last
            })
        });
        live || self.blocks.values().any(|entry| entry.concerned_by(delete))
    }

    /// For each shard that may hold the tenant: the last generation that the delete reaches into.
    /// What is committed already is always reached.
    fn fences(&self, delete: &NewDelete) -> BTreeMap<ShardId, Cut> {
        let tenant = &delete.tenant;
        let told: BTreeMap<ShardId, Cut> = delete.fences.iter().copied().collect();
        let route = self.tenants.get(tenant).and_then(|t| t.route.as_ref());
        let open = route.iter().flat_map(|r| r.entries()).filter_map(|(_, id)| self.shards.get(id));
        let ended = self.shards.values().filter(|s| !s.info.sealed_ranges(tenant).is_empty());
        let last_of = |shard: &Shard| match (&shard.info.seal, told.get(&shard.info.id)) {
            (Some(seal), _) => seal.last_cut,
            (None, Some(cut)) => (*cut).max(Cut(shard.next_cut.0.saturating_sub(1))),
            (None, None) => Cut(u64::MAX),
        };
        let mut fences: BTreeMap<ShardId, Cut> =
            open.chain(ended).map(|shard| (shard.info.id, last_of(shard))).collect();
        // Shards that are forgotten may have left blocks that were never compacted.
        for entry in self.blocks.values().filter(|e| e.record.tenant(tenant).is_some()) {
            if let BlockSource::Generation(generation) = entry.record.source {
                fences.entry(generation.shard).or_insert(Cut(u64::MAX));
            }
        }
        fences
    }
}

#[cfg(test)]
mod tests;
