//! `Budget`: what one query or fragment may use, and the flag that ends it early.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::QueryError;

/// Prometheus' default for samples in memory.
pub const SAMPLES_MAX: u64 = 50_000_000;

/// Limits of one query or fragment. Each is on what is held in memory at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Samples and step values. Default 50 million, as in Prometheus.
    pub samples_max: u64,
    /// Series read by one fragment. Default 10 million.
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
    pub(crate) peak_samples: u64,
}

impl Ledger {
    pub(crate) fn new(budget: Budget, cancel: CancelFlag) -> Self {
        let (held, inputs) = Default::default();
        Ledger { budget, cancel, held, inputs, peak_samples: 0 }
    }

    /// Takes `samples` of `bytes` into memory, or refuses.
    pub(crate) fn hold(&mut self, samples: usize, bytes: usize) -> Result<(), QueryError> {
        self.held.add(samples, bytes);
        self.check()
    }

    /// Gives back what was held.
    pub(crate) fn release(&mut self, samples: usize, bytes: usize) {
        self.held.subtract(samples, bytes);
    }

    /// Takes what `other` holds, too, or refuses.
    pub(crate) fn take_over(&mut self, other: &Ledger) -> Result<(), QueryError> {
        self.hold(other.held.samples as usize, other.held.bytes as usize)
    }

    /// Takes in what waits for its use, or refuses.
    pub(crate) fn hold_input(&mut self, samples: usize, bytes: usize) -> Result<(), QueryError> {
        self.inputs.add(samples, bytes);
        self.check()
    }

    /// Gives back what waited for its use.
    pub(crate) fn release_input(&mut self, samples: usize, bytes: usize) {
        self.inputs.subtract(samples, bytes);
    }

    /// What the work in progress holds, for [`Ledger::back_to`].
    pub(crate) fn mark(&self) -> Held {
        self.held
    }

    /// Gives back whatever was held since `mark`.
    pub(crate) fn back_to(&mut self, mark: Held) {
        self.held = mark;
    }

    fn check(&mut self) -> Result<(), QueryError> {
        self.cancel.check()?;
        let samples = self.held.samples.saturating_add(self.inputs.samples);
        let bytes = self.held.bytes.saturating_add(self.inputs.bytes);
        self.peak_samples = self.peak_samples.max(samples);
        if samples > self.budget.samples_max {
            return Err(QueryError::Samples { samples_max: self.budget.samples_max });
        }
        if bytes > self.budget.bytes_max {
            return Err(QueryError::Budget { what: "bytes", limit: self.budget.bytes_max });
        }
        Ok(())
    }

    /// Refuses where one fragment has read more series than it may.
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
}
