//! The commit of a generation: the moment when its samples move from "live" to "in a block" (INV-4,
//! INV-5).

use std::collections::BTreeMap;
use std::sync::Arc;

use pando_model::{
    BlockId, BlockRecord, BlockSource, Digest, GenerationId, KeyRange, NodeId, TenantId,
};

use super::{Applied, refuse, within};
use crate::block_entry::BlockEntry;
use crate::catalog::Catalog;
use crate::command::{CommandReply, CommitGeneration};
use crate::error::CommandRefused;
use crate::limits::BLOCKS_MAX;
use crate::shard::{Commit, Shard};

impl Catalog {
    pub(crate) fn commit_generation(&mut self, commit: &CommitGeneration) -> Applied {
        let shard = self.expect_shard(commit.shard)?;
        if commit.cut < shard.next_cut {
            return repeated(shard, commit);
        }
        let digest = self.check_commit(shard, commit)?;
        let block = commit.record.as_ref().map(|record| record.id);
        if let Some(record) = &commit.record {
            let mut entry = BlockEntry {
                record: record.clone(),
                added: self.version(),
                deletes_upto: 0,
                stored_ms: record.created_ms,
            };
            entry.deletes_upto = self.deletes_not_concerning(&entry);
            self.name_block(entry);
        }
        let shard = self.shards.get_mut(&commit.shard).expect("it was found above");
        shard.term = commit.term;
        shard.remember(Commit { cut: commit.cut, block, digest });
        self.block_changes.open.cuts.insert(commit.shard);
        Ok(CommandReply::Committed { winner: block, digest, won: true })
    }

    fn check_commit(
        &self,
        shard: &Shard,
        commit: &CommitGeneration,
    ) -> Result<Digest, CommandRefused> {
        let (id, cut, next) = (commit.shard, commit.cut, shard.next_cut);
        if cut > next {
            refuse!(NotNextCut, "not the next cut: shard={id} cut={cut} next={next}");
        }
        if let Some(seal) = shard.info.seal.as_ref().filter(|seal| cut > seal.last_cut) {
            let last = seal.last_cut;
            refuse!(NotNextCut, "shard has no such cut: shard={id} cut={cut} last={last}");
        }
        if commit.term < shard.term {
            let (term, known) = (commit.term, shard.term);
            refuse!(OldTerm, "a later leader has spoken: shard={id} term={term} known={known}");
        }
        let digest = commit.record.as_ref().map_or(Digest::default(), |record| record.digest);
        let agree = agreeing(&shard.info.members, &commit.reports, digest);
        let need = shard.info.majority();
        if agree < need {
            refuse!(
                NoMajority,
                "replicas do not agree: shard={id} cut={cut} agree={agree} need={need}"
            );
        }
        if let Some(record) = &commit.record {
            within("blocks", self.blocks.len() + 1, BLOCKS_MAX)?;
            self.check_new_block(record)?;
            if record.source != BlockSource::Generation(GenerationId { shard: id, cut }) {
                refuse!(
                    BadRecord,
                    "record of something else: shard={id} cut={cut} block={}",
                    record.id
                );
            }
            if record.resolution_ms != 0 || record.digest.samples == 0 {
                refuse!(BadRecord, "record of no raw samples: shard={id} block={}", record.id);
            }
            self.check_spans_are_of(record, commit)?;
        }
        Ok(digest)
    }

    /// A shard's block holds rows of its own ranges only (INV-9: no tenant gets into a shard
    /// unseen).
    fn check_spans_are_of(
        &self,
        record: &BlockRecord,
        commit: &CommitGeneration,
    ) -> Result<(), CommandRefused> {
        let sealed: Option<&BTreeMap<TenantId, Vec<KeyRange>>> =
            self.shards[&commit.shard].info.seal.as_ref().map(|seal| &seal.ranges);
        for span in &record.tenants {
            let ends = [span.keys.first, span.keys.last];
            let fits = match sealed {
                Some(ranges) => ranges.get(&span.tenant).is_some_and(|ranges| {
                    ends.iter().all(|key| ranges.iter().any(|range| range.contains(*key)))
                }),
                None => self.tenants.get(&span.tenant).and_then(|t| t.route.as_ref()).is_some_and(
                    |route| ends.iter().all(|key| route.shard_of(*key) == commit.shard),
                ),
            };
            if !fits {
                let (shard, tenant) = (commit.shard, &span.tenant);
                refuse!(
                    BadRecord,
                    "keys outside the shard's ranges: shard={shard} tenant={tenant}"
                );
            }
        }
        Ok(())
    }

    /// What any new block must be: unknown, not refused, and in itself right.
    pub(crate) fn check_new_block(&self, record: &BlockRecord) -> Result<(), CommandRefused> {
        let id = record.id;
        if self.refused.contains(&id) {
            refuse!(BlockRefused, "block is refused: block={id}");
        }
        if self.blocks.contains_key(&id) || self.pending.contains_key(&id) {
            refuse!(BlockNamed, "block is known already: block={id}");
        }
        let sorted = record.tenants.windows(2).all(|pair| pair[0].tenant < pair[1].tenant);
        let samples = record.tenants.iter().try_fold(0u64, |sum, s| sum.checked_add(s.samples));
        if record.tenants.is_empty() || !sorted || samples != Some(record.digest.samples) {
            refuse!(BadRecord, "tenants and samples do not add up: block={id}");
        }
        let inside = |t: pando_model::TimeRange| {
            record.time.min_ms <= t.min_ms && t.min_ms <= t.max_ms && t.max_ms <= record.time.max_ms
        };
        if !record.tenants.iter().all(|s| inside(s.time) && s.keys.first <= s.keys.last) {
            refuse!(BadRecord, "ranges are inside out: block={id}");
        }
        if record.footer_offset >= record.object_bytes {
            let (offset, bytes) = (record.footer_offset, record.object_bytes);
            refuse!(BadRecord, "footer is outside: block={id} offset={offset} bytes={bytes}");
        }
        Ok(())
    }

    pub(crate) fn name_block(&mut self, entry: BlockEntry) {
        let id = entry.record.id;
        self.blocks.insert(Arc::new(entry));
        self.block_changes.open.blocks.insert(id);
    }

    /// The highest number such that no delete up to it concerns `entry`.
    fn deletes_not_concerning(&self, entry: &BlockEntry) -> u64 {
        let first = self.deletes.values().find(|delete| entry.concerned_by(delete));
        first.map_or(self.next_delete, |delete| delete.number) - 1
    }
}

/// What a repeat learns: the winner, be it its own or another's.
fn repeated(shard: &Shard, commit: &CommitGeneration) -> Applied {
    let (id, cut) = (commit.shard, commit.cut);
    let Some(known) = shard.commits.iter().find(|known| known.cut == cut) else {
        refuse!(
            CutForgotten,
            "the winner is forgotten: shard={id} cut={cut} next={}",
            shard.next_cut
        );
    };
    let own: Option<BlockId> = commit.record.as_ref().map(|record| record.id);
    Ok(CommandReply::Committed {
        winner: known.block,
        digest: known.digest,
        won: known.block == own,
    })
}

/// How many members report `digest`, each counted once.
fn agreeing(members: &[NodeId], reports: &[(NodeId, Digest)], digest: Digest) -> usize {
    let says = |member: &&NodeId| {
        let mut own = reports.iter().filter(|(node, _)| node == *member);
        own.next().is_some_and(|(_, first)| *first == digest && own.all(|(_, d)| *d == digest))
    };
    members.iter().filter(says).count()
}

#[cfg(test)]
mod tests;
