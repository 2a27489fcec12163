//! `Budget`: what one query or fragment may use, and the flag that ends it early.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::error::QueryError;
use crate::fragment::FragmentResult;

/// Prometheus' default for samples in memory.
pub const SAMPLES_MAX: u64 = 50_000_000;

/// Limits of one query, and of each fragment at an executor. Samples and bytes are what memory holds at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Samples and step values. Default 50 million, as in Prometheus.
    pub samples_max: u64,
    /// Series that are read. Default 10 million.
    pub series_max: u64,
    /// Bytes of samples, step columns and labels. Default 2 GiB.
    pub bytes_max: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { samples_max: SAMPLES_MAX, series_max: 10_000_000, bytes_max: 2 << 30 }
    }
}

/// How many steps pass between two looks at the flag, where nothing else asks the ledger.
pub(crate) const STEPS_PER_CHECK: usize = 1024;

/// A flag that whoever waits for the answer sets when it no longer does. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct CancelFlag(Arc<Flag>);

#[derive(Debug, Default)]
struct Flag {
    set: AtomicBool,
    /// How many looks are left before it sets itself; 0 for never.
    #[cfg(test)]
    looks_left: std::sync::atomic::AtomicU64,
}

impl CancelFlag {
    /// A flag that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// A flag that is set from the look number `looks` on, counted from 1.
    #[cfg(test)]
    pub(crate) fn at_look(looks: u64) -> Self {
        let looks_left = looks.into();
        CancelFlag(Arc::new(Flag { set: AtomicBool::new(false), looks_left }))
    }

    /// Ends everything that looks at the flag.
    pub fn cancel(&self) {
        self.0.set.store(true, Ordering::Relaxed);
    }

    /// Whether it is set.
    pub fn is_canceled(&self) -> bool {
        #[cfg(test)]
        if self.0.looks_left.load(Ordering::Relaxed) > 0
            && self.0.looks_left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            self.cancel();
        }
        self.0.set.load(Ordering::Relaxed)
    }

    /// `Canceled` where it is set.
    pub fn check(&self) -> Result<(), QueryError> {
        if self.is_canceled() { Err(QueryError::Canceled) } else { Ok(()) }
    }
}

/// Samples and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) samples: u64,
    pub(crate) bytes: u64,
}

impl Held {
    fn add(&mut self, samples: usize, bytes: usize) {
        self.samples = self.samples.saturating_add(samples as u64);
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    fn subtract(&mut self, samples: usize, bytes: usize) {
        self.samples = self.samples.saturating_sub(samples as u64);
        self.bytes = self.bytes.saturating_sub(bytes as u64);
    }

    fn plus(self, other: Held) -> Held {
        let samples = self.samples.saturating_add(other.samples);
        Held { samples, bytes: self.bytes.saturating_add(other.bytes) }
    }
}

/// What one query holds in several places: in merges of its fragments, side by side, and in what they have come to.
/// Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Pool(Arc<Pooled>);

#[derive(Debug, Default)]
struct Pooled {
    samples: AtomicU64,
    bytes: AtomicU64,
}

impl Pool {
    /// A pool that nothing is held in.
    pub fn new() -> Self {
        Self::default()
    }

    /// Holds `result` for as long as the pool is there.
    pub fn keep(&self, result: &FragmentResult) {
        let mut held = Held::default();
        let (samples, bytes) = result.size();
        held.add(samples, bytes);
        self.exchange(Held::default(), held);
    }

    /// Replaces `before` by `now`: all that is held then.
    fn exchange(&self, before: Held, now: Held) -> Held {
        // Differences wrap around like the counters do.
        let exchange = |all: &AtomicU64, before: u64, now: u64| {
            let more = now.wrapping_sub(before);
            all.fetch_add(more, Ordering::Relaxed).wrapping_add(more)
        };
        Held {
            samples: exchange(&self.0.samples, before.samples, now.samples),
            bytes: exchange(&self.0.bytes, before.bytes, now.bytes),
        }
    }
}

/// What is held at the moment, under a budget. Ask it before anything is allocated that grows with the steps, the
/// series or the values of a query.
#[derive(Debug)]
pub(crate) struct Ledger {
    budget: Budget,
    cancel: CancelFlag,
    /// What the work in progress holds.
    held: Held,
    /// What came from elsewhere and waits for its use: it does not go with a [`Ledger::mark`].
    inputs: Held,
    /// Where others hold something under the same budget, and what the pool knows of this ledger.
    pool: Option<(Pool, Held)>,
    pub(crate) peak_samples: u64,
}

impl Ledger {
    pub(crate) fn new(budget: Budget, cancel: CancelFlag) -> Self {
        let (held, inputs) = Default::default();
        Ledger { budget, cancel, held, inputs, pool: None, peak_samples: 0 }
    }

    /// The same, with its budget shared by all that is in `pool`, until it is dropped.
    pub(crate) fn in_pool(mut self, pool: &Pool) -> Self {
        self.pool = Some((pool.clone(), Held::default()));
        self.tell_pool();
        self
    }

    /// The pool that it is in.
    pub(crate) fn pool(&self) -> Option<&Pool> {
        self.pool.as_ref().map(|(pool, _)| pool)
    }

    /// Takes `samples` of `bytes` into memory, or refuses.
    pub(crate) fn hold(&mut self, samples: usize, bytes: usize) -> Result<(), QueryError> {
        self.held.add(samples, bytes);
        self.check()
    }

    /// Gives back what was held.
    pub(crate) fn release(&mut self, samples: usize, bytes: usize) {
        self.held.subtract(samples, bytes);
        self.tell_pool();
    }

    /// Takes over what `other` holds, or refuses.
    pub(crate) fn take_over(&mut self, other: &mut Ledger) -> Result<(), QueryError> {
        let held = other.mark();
        other.back_to(Held::default());
        self.held = self.held.plus(held);
        self.check()
    }

    /// Takes in what waits for its use, or refuses.
    pub(crate) fn hold_input(&mut self, samples: usize, bytes: usize) -> Result<(), QueryError> {
        self.inputs.add(samples, bytes);
        self.check()
    }

    /// Gives back what waited for its use.
    pub(crate) fn release_input(&mut self, samples: usize, bytes: usize) {
        self.inputs.subtract(samples, bytes);
        self.tell_pool();
    }

    /// What the work in progress holds, for [`Ledger::back_to`].
    pub(crate) fn mark(&self) -> Held {
        self.held
    }

    /// Gives back whatever was held since `mark`.
    pub(crate) fn back_to(&mut self, mark: Held) {
        self.held = mark;
        self.tell_pool();
    }

    /// What it holds, and others with it in its pool.
    fn tell_pool(&mut self) -> Held {
        let own = self.held.plus(self.inputs);
        match &mut self.pool {
            Some((pool, known)) => pool.exchange(std::mem::replace(known, own), own),
            None => own,
        }
    }

    fn check(&mut self) -> Result<(), QueryError> {
        self.cancel.check()?;
        let Held { samples, bytes } = self.tell_pool();
        self.peak_samples = self.peak_samples.max(samples);
        if samples > self.budget.samples_max {
            return Err(QueryError::Samples { samples_max: self.budget.samples_max });
        }
        if bytes > self.budget.bytes_max {
            return Err(QueryError::Budget { what: "bytes", limit: self.budget.bytes_max });
        }
        Ok(())
    }

    /// Refuses where more series have been read than may be.
    pub(crate) fn check_series(&self, series: u64) -> Result<(), QueryError> {
        if series > self.budget.series_max {
            return Err(QueryError::Budget { what: "series", limit: self.budget.series_max });
        }
        Ok(())
    }

    pub(crate) fn check_cancel(&self) -> Result<(), QueryError> {
        self.cancel.check()
    }

    /// The flag, for loops that only end early: who called them has to check it.
    pub(crate) fn cancel_flag(&self) -> CancelFlag {
        self.cancel.clone()
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if let Some((pool, known)) = &self.pool {
            pool.exchange(*known, Held::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_named_and_what_is_released_can_be_held_again() {
        let budget = Budget { samples_max: 10, series_max: 1, bytes_max: 100 };
        let flag = CancelFlag::new();
        let mut ledger = Ledger::new(budget, flag.clone());
        ledger.hold(10, 10).expect("within");
        assert_eq!(ledger.hold(1, 0), Err(QueryError::Samples { samples_max: 10 }));
        ledger.release(11, 10);
        let bytes = ledger.hold(1, 101).expect_err("too many bytes");
        assert_eq!(bytes.to_string(), "query exceeds its budget: bytes_max=100");
        let series = ledger.check_series(2).expect_err("too many series");
        assert_eq!(series.to_string(), "query exceeds its budget: series_max=1");
        flag.cancel();
        assert_eq!(ledger.hold(0, 0), Err(QueryError::Canceled));
    }

    #[test]
    fn inputs_count_but_do_not_go_with_a_mark() {
        let budget = Budget { samples_max: 10, ..Budget::default() };
        let mut ledger = Ledger::new(budget, CancelFlag::new());
        ledger.hold_input(6, 0).expect("within");
        let mark = ledger.mark();
        ledger.hold(4, 0).expect("within");
        assert_eq!(ledger.hold(1, 0), Err(QueryError::Samples { samples_max: 10 }));
        ledger.release_input(6, 0);
        ledger.back_to(mark);
        ledger.hold(10, 0).expect("nothing else is held");
        assert_eq!(ledger.peak_samples, 11);
    }

    #[test]
    fn ledgers_of_one_pool_share_a_budget() {
        let budget = Budget { samples_max: 10, bytes_max: 100, ..Budget::default() };
        let pool = Pool::new();
        let ledger = || Ledger::new(budget, CancelFlag::new()).in_pool(&pool);
        let (mut one, mut other) = (ledger(), ledger());
        one.hold(6, 60).expect("within");
        let mark = other.mark();
        assert_eq!(other.hold(5, 0), Err(QueryError::Samples { samples_max: 10 }));
        other.back_to(mark);
        other.hold_input(4, 40).expect("within");
        let bytes = one.hold(0, 1).expect_err("too many bytes");
        assert_eq!(bytes.to_string(), "query exceeds its budget: bytes_max=100");
        one.release(6, 61);
        other.hold(6, 60).expect("what was released can be held by others");
        drop(other);
        one.hold(10, 100).expect("so can what is dropped");
        // What a result holds stays.
        drop(one);
        let kept = FragmentResult { step_samples: vec![0; 10], ..FragmentResult::default() };
        pool.keep(&kept);
        ledger().hold(10, 20).expect("within");
        assert_eq!(
            ledger().hold(0, 21),
            Err(QueryError::Budget { what: "bytes", limit: 100 }),
            "the result has 80 bytes"
        );
    }
}
