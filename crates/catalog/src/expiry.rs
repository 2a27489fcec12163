//! `Expiry`: which blocks retention takes at one moment. The decider and the state machine judge by the
//! same rule, so that a block which the one proposes the other gives up.

use std::collections::BTreeSet;

use pando_model::{BlockId, TenantSpan};

use crate::block_entry::BlockEntry;
use crate::catalog::Catalog;

/// How far ahead of the newest block a clock is believed when it judges retention, ms: a clock that
/// has gone mad must not destroy what only retention protects.
const CLOCK_AHEAD_MAX_MS: i64 = 86_400_000;

/// `now_ms`, unless it is far ahead of all that was ever stored: `stored_ms` is when the samples of
/// each block came into it.
pub fn believable_ms(now_ms: i64, stored_ms: impl Iterator<Item = i64>) -> i64 {
    not_far_ahead(now_ms, stored_ms.max())
}

fn not_far_ahead(now_ms: i64, newest_ms: Option<i64>) -> i64 {
    now_ms.min(newest_ms.unwrap_or(i64::MIN).saturating_add(CLOCK_AHEAD_MAX_MS))
}

/// What retention takes of a catalog at one moment.
#[derive(Clone, Debug)]
pub struct Expiry<'a> {
    catalog: &'a Catalog,
    now_ms: i64,
    /// The oldest blocks, without which the others take no more than they may.
    over_size: BTreeSet<BlockId>,
}

impl Catalog {
    /// What retention takes at `now_ms`, as far as that is believable.
    pub fn expiry(&self, now_ms: i64) -> Expiry<'_> {
        Expiry {
            catalog: self,
            now_ms: self.believable_ms(now_ms),
            over_size: self.blocks_over_size(),
        }
    }

    /// `now_ms`, unless it is far ahead of all that was ever stored.
    pub fn believable_ms(&self, now_ms: i64) -> i64 {
        not_far_ahead(now_ms, self.blocks.newest_stored_ms())
    }

    /// The oldest blocks, by their last sample, without which all others fit.
    fn blocks_over_size(&self) -> BTreeSet<BlockId> {
        let (max, mut total) = (u128::from(self.retention_bytes), self.blocks.object_bytes());
        if max == 0 || total <= max {
            return BTreeSet::new();
        }
        let mut oldest: Vec<(i64, BlockId, u64)> = self
            .blocks
            .values()
            .map(|e| (e.record.time.max_ms, e.record.id, e.record.object_bytes))
            .collect();
        oldest.sort_unstable();
        let mut over = BTreeSet::new();
        for (_, id, bytes) in oldest {
            if total <= max {
                break;
            }
            total -= u128::from(bytes);
            over.insert(id);
        }
        over
    }
}

impl Expiry<'_> {
    /// Whether retention takes the block: every tenant is done with it, or it is among the oldest
    /// where all blocks together take too much.
    pub fn takes(&self, entry: &BlockEntry) -> bool {
        let done = |span: &TenantSpan| self.is_done_with(entry, span);
        self.over_size.contains(&entry.record.id) || entry.record.tenants.iter().all(done)
    }

    /// Whether the tenant of `span` is done with its part of the block. What was written with old
    /// times, by a clock that was wrong or on purpose, is kept as long as if it had been of the
    /// time when it was stored.
    pub fn is_done_with(&self, entry: &BlockEntry, span: &TenantSpan) -> bool {
        let retention_ms = self.catalog.retention_ms(&span.tenant);
        let retention_ms = i64::try_from(retention_ms).unwrap_or(i64::MAX);
        let newest_ms = span.time.max_ms.max(entry.stored_ms);
        retention_ms > 0 && newest_ms.saturating_add(retention_ms) <= self.now_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::error::Reason;
    use crate::testdata::Bench;

    /// Blocks 1 to 3 of 1,000 bytes each, with samples up to 1 s and stored at 1 s.
    fn bench() -> Bench {
        let mut bench = Bench::with_tenant();
        for cut in 1..=3 {
            bench.commit(u128::from(cut), 1, cut, "a");
        }
        bench
    }

    fn taken(bench: &Bench, now_ms: i64) -> Vec<u128> {
        let expiry = bench.catalog.expiry(now_ms);
        let blocks = bench.catalog.blocks().values();
        blocks.filter(|entry| expiry.takes(entry)).map(|entry| entry.record.id.0).collect()
    }

    #[test]
    fn a_clock_far_ahead_of_all_blocks_is_not_believed() {
        let mut bench = bench();
        let retention_ms = Some(2 * CLOCK_AHEAD_MAX_MS as u64);
        bench.ok(Command::SetRetention { tenant: None, retention_ms });
        assert_eq!(taken(&bench, i64::MAX), [] as [u128; 0], "no block is newer than a day");
        let all = Command::ExpireBlocks { blocks: vec![BlockId(1)], now_ms: i64::MAX };
        assert_eq!(bench.refused(all), Reason::NotExpired, "whoever proposes it");
        bench.ok(Command::SetRetention { tenant: None, retention_ms: Some(1) });
        assert_eq!(taken(&bench, i64::MAX), [1, 2, 3]);
    }

    #[test]
    fn the_oldest_go_until_the_rest_fits() {
        let mut bench = bench();
        let size = |bytes| Command::SetRetentionSize { bytes };
        assert!(taken(&bench, 0).is_empty(), "no limit");
        bench.ok(size(3_000));
        assert!(taken(&bench, 0).is_empty(), "they just fit");
        bench.ok(size(2_999));
        assert_eq!(taken(&bench, 0), [1]);
        let expire = |id| Command::ExpireBlocks { blocks: vec![BlockId(id)], now_ms: 0 };
        assert_eq!(bench.refused(expire(2)), Reason::NotExpired, "one less is enough");
        bench.ok(expire(1));
        assert!(taken(&bench, 0).is_empty());
        bench.ok(size(1));
        assert_eq!(taken(&bench, 0), [2, 3], "not even one fits");
        let restored = Catalog::restore(&bench.catalog.snapshot()).expect("whole");
        assert_eq!(restored.retention_bytes(), 1, "the limit is part of the state");
    }
}
