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
/// Where nobody took the lead over, it is offered again after this time, then after twice as long, and so on. Each
/// offer costs reads some seconds; but the others may have had a busy moment only, and writes wait.
const AGAIN: Duration = Duration::from_secs(20);
/// The longest time between two offers.
const AGAIN_MAX: Duration = Duration::from_secs(600);

/// Looks until it is dropped.
pub(crate) async fn run(shards: Arc<Shards>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut offers: BTreeMap<ShardId, Offer> = BTreeMap::new();
    loop {
        ticks.tick().await;
        let context = shards.context();
        let off = context.skew().is_some();
        if !off {
            offers.clear();
        }
        let now = context.clock.monotonic();
        for shard in shards.all() {
            shard.group.set_unfit(off);
            if off && shard.group.is_leader() {
                let last = offers.get(&shard.id);
                if let Some(offer) = Offer::after(last, now) {
                    offers.insert(shard.id, offer);
                    shard.group.give_up_lead();
                }
            }
        }
    }
}

/// A lead that was offered to the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Offer {
    /// When, monotonic.
    at: Duration,
    /// How long to wait before the next.
    pause: Duration,
}

impl Offer {
    /// The offer to make at `now`, where it is time for one after `last`.
    fn after(last: Option<&Offer>, now: Duration) -> Option<Offer> {
        let pause = match last {
            None => AGAIN,
            Some(last) if now.saturating_sub(last.at) < last.pause => return None,
            Some(last) => (last.pause * 2).min(AGAIN_MAX),
        };
        Some(Offer { at: now, pause })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lead_is_offered_at_once_and_then_less_and_less_often() {
        let mut last = None;
        let offered: Vec<u64> = (100..3_000)
            .filter(|now| {
                let offer = Offer::after(last.as_ref(), Duration::from_secs(*now));
                last = offer.or(last);
                offer.is_some()
            })
            .collect();
        assert_eq!(offered, [100, 120, 160, 240, 400, 720, 1_320, 1_920, 2_520]);
    }
}
