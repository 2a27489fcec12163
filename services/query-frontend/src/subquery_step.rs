//! `SubqueryStep`: the step of subqueries that name none, which follows the configuration.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// The step of subqueries that name none, in ms. Clones share it: it may be set while queries run, each of which keeps
/// the one that it was planned with.
#[derive(Clone, Debug)]
pub struct SubqueryStep(Arc<AtomicI64>);

impl SubqueryStep {
    /// A step of `ms`.
    pub fn of_ms(ms: i64) -> Self {
        SubqueryStep(Arc::new(AtomicI64::new(ms)))
    }

    /// The step, ms.
    pub fn ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// From now on it is `ms`.
    pub fn set_ms(&self, ms: i64) {
        self.0.store(ms, Ordering::Relaxed);
    }
}

impl Default for SubqueryStep {
    /// Prometheus' default evaluation interval.
    fn default() -> Self {
        SubqueryStep::of_ms(pando_promql::query::SUBQUERY_STEP_MS)
    }
}
