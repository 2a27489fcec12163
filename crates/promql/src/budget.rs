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

/// A flag that whoever waits for the answer sets when it no longer does. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// A flag that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends everything that looks at the flag.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it is set.
    pub fn is_canceled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// `Canceled` where it is set.
    pub fn check(&self) -> Result<(), QueryError> {
        if self.is_canceled() { Err(QueryError::Canceled) } else { Ok(()) }
    }
}

/// What is held at the moment, under a budget.
#[derive(Debug)]
pub(crate) struct Ledger {
    budget: Budget,
    cancel: CancelFlag,
    samples: u64,
    bytes: u64,
    pub(crate) peak_samples: u64,
}

impl Ledger {
    pub(crate) fn new(budget: Budget, cancel: CancelFlag) -> Self {
        Ledger { budget, cancel, samples: 0, bytes: 0, peak_samples: 0 }
    }

    /// Takes `samples` of `bytes` into memory, or refuses.
    pub(crate) fn hold(&mut self, samples: usize, bytes: usize) -> Result<(), QueryError> {
        self.cancel.check()?;
        self.samples = self.samples.saturating_add(samples as u64);
        self.bytes = self.bytes.saturating_add(bytes as u64);
        self.peak_samples = self.peak_samples.max(self.samples);
        if self.samples > self.budget.samples_max {
            return Err(QueryError::Samples { samples_max: self.budget.samples_max });
        }
        if self.bytes > self.budget.bytes_max {
            return Err(QueryError::Budget { what: "bytes", limit: self.budget.bytes_max });
        }
        Ok(())
    }

    /// Gives back what was held.
    pub(crate) fn release(&mut self, samples: usize, bytes: usize) {
        self.samples = self.samples.saturating_sub(samples as u64);
        self.bytes = self.bytes.saturating_sub(bytes as u64);
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
}
