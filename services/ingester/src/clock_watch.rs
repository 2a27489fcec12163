//! Keeps the lead of shards away from a member whose clock is off: it takes no writes ([`Context::refuses_writes`]),
//! and a leader that takes none is none.
//!
//! Clocks are compared with the leading controller's. Where that one is off, most members seem to be: then whoever
//! is left leads, and reads go on, since a member that is unfit leads where nobody else comes.
//!
//! [`Context::refuses_writes`]: crate::context::Context::refuses_writes

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pando_model::ShardId;

use crate::shards::Shards;

/// How often the clock is looked at; heartbeats tell of it every 2 s.
const INTERVAL: Duration = Duration::from_secs(1);
/// Where nobody could take the lead over, it is offered again after this time: each offer costs reads some seconds.
const AGAIN: Duration = Duration::from_secs(600);

/// Looks until it is dropped.
pub(crate) async fn run(shards: Arc<Shards>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // When the lead of each shard was offered last, monotonic.
    let mut offered: BTreeMap<ShardId, Duration> = BTreeMap::new();
    loop {
        ticks.tick().await;
        let context = shards.context();
        let off = context.skew().is_some();
        if !off {
            offered.clear();
        }
        let now = context.clock.monotonic();
        for shard in shards.all() {
            shard.group.set_unfit(off);
            let due = offered.get(&shard.id).is_none_or(|at| now.saturating_sub(*at) >= AGAIN);
            if off && due && shard.group.is_leader() {
                offered.insert(shard.id, now);
                shard.group.give_up_lead();
            }
        }
    }
}
