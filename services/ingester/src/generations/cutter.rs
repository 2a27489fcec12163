//! Cuts by time and size: the decider, and who does it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pando_codec::entry::CutReason;
use pando_model::Cut;

use crate::config::IngesterConfig;
use crate::context::SharedContext;
use crate::local_shard::LocalShard;

/// How often a leader looks.
const TICK: Duration = Duration::from_secs(1);

/// Whether the open generation is to be cut: at monotonic time `now`, of `samples` samples in about
/// `bytes` bytes of memory since `began`. One without samples is not cut.
pub fn cut_due(
    now: Duration,
    began: Duration,
    bytes: u64,
    samples: u64,
    config: &IngesterConfig,
) -> Option<CutReason> {
    if samples == 0 {
        None
    } else if bytes >= config.cut_bytes {
        Some(CutReason::Size)
    } else if now.saturating_sub(began) >= config.cut_interval {
        Some(CutReason::Time)
    } else {
        None
    }
}

/// Cuts the generations of a shard that this member leads.
pub(super) struct Cutter {
    shard: Arc<LocalShard>,
    context: SharedContext,
    /// The open generation, and when its first sample was seen here.
    began: (Cut, Duration),
}

/// What the open generation is like.
struct Open {
    cut: Cut,
    samples: u64,
    bytes: u64,
}

impl Cutter {
    pub(super) fn new(shard: Arc<LocalShard>, context: SharedContext) -> Self {
        let began = (Cut(0), context.clock.monotonic());
        Cutter { shard, context, began }
    }

    pub(super) async fn run(mut self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(open) = self.open() else { continue };
            let now = self.context.clock.monotonic();
            if self.began.0 != open.cut || open.samples == 0 {
                self.began = (open.cut, now);
            }
            let due = cut_due(now, self.began.1, open.bytes, open.samples, &self.context.config);
            let Some(reason) = due.filter(|_| self.shard.group.is_leader()) else { continue };
            match self.shard.queue.cut(Some(open.cut), reason).await {
                Ok(cut) => self.context.metrics.cut(reason, cut.is_some()),
                Err(error) => tracing::debug!(shard = %self.shard.id, %error, "cut is not made"),
            }
        }
    }

    /// The open generation; `None` after the seal.
    fn open(&self) -> Option<Open> {
        let (all, open) = self.shard.state.read(|shard| {
            let all: u64 = shard.generations().map(|g| g.digest.samples).sum();
            (all, shard.generations().find(|g| g.open))
        });
        let open = open?;
        // The estimate is of all generations in memory: this one has its share.
        let bytes = u128::from(self.shard.sample_bytes.load(Ordering::Relaxed));
        let share = bytes * u128::from(open.digest.samples) / u128::from(all.max(1));
        Some(Open { cut: open.cut, samples: open.digest.samples, bytes: share as u64 })
    }
}

#[cfg(test)]
mod tests {
    use pando_model::NodeId;

    use super::*;

    #[test]
    fn a_generation_is_cut_when_it_is_old_or_large_and_never_empty() {
        let config = IngesterConfig::new(NodeId(1));
        let due = |age: Duration, bytes: u64, samples: u64| {
            let began = Duration::from_secs(50);
            cut_due(began + age, began, bytes, samples, &config)
        };
        let (old, young) = (config.cut_interval, config.cut_interval - Duration::from_millis(1));
        assert_eq!(due(old, 1, 1), Some(CutReason::Time));
        assert_eq!(due(young, 1, 1), None);
        assert_eq!(due(young, config.cut_bytes, 1), Some(CutReason::Size));
        assert_eq!(due(old, config.cut_bytes, 0), None);
        assert_eq!(cut_due(Duration::ZERO, old, 0, 1, &config), None, "a clock that lags is young");
    }
}
