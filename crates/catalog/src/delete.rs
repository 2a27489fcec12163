//! `DeleteRecord`: a tenant's order to forget what matchers and a time range say. Applied by every
//! read until no block and no generation from before it is left.

use std::collections::BTreeMap;

use pando_model::{Cut, Matcher, ShardId, TenantId, TimeRange};

/// A numbered delete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeleteRecord {
    /// Its number, from 1, never used again.
    pub number: u64,
    /// The tenant.
    pub tenant: TenantId,
    /// Series that pass all of them are meant; none: all series.
    pub matchers: Vec<Matcher>,
    /// The times that are meant.
    pub time: TimeRange,
    /// For each shard that held the tenant: the last generation that the delete reaches into. A
    /// shard that is not named was opened later and is not reached.
    pub fences: BTreeMap<ShardId, Cut>,
    /// When it was ordered, ms.
    pub created_ms: i64,
}

impl DeleteRecord {
    /// Whether the delete reaches into the generation that `cut` of `shard` ends.
    pub fn covers_generation(&self, shard: ShardId, cut: Cut) -> bool {
        self.fences.get(&shard).is_some_and(|last| cut <= *last)
    }
}
