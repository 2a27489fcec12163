//! `QueryBudget`: the limits of one query, and what all its fragments have used of them.

use std::sync::atomic::{AtomicU64, Ordering};

use pando_promql::{Budget, Pool, QueryError};
use tokio::sync::Semaphore;

/// The limits of a query, and what it has used of them.
pub(crate) struct QueryBudget {
    /// The limits. Executors apply them to what they are asked for, each for itself.
    pub(crate) limits: Budget,
    /// Samples and bytes that merges hold, and what they have come to.
    pub(crate) held: Pool,
    /// One for each call that may be under way.
    pub(crate) turns: Semaphore,
    /// Encoded bytes that have been received.
    received: AtomicU64,
    /// Series that have been read, of all fragments.
    series: AtomicU64,
}

impl QueryBudget {
    /// Nothing is used yet.
    pub(crate) fn new(limits: Budget, calls_max: usize) -> Self {
        QueryBudget {
            limits,
            held: Pool::new(),
            turns: Semaphore::new(calls_max),
            received: AtomicU64::new(0),
            series: AtomicU64::new(0),
        }
    }

    /// Bytes of one try to get an answer.
    pub(crate) fn receive(&self) -> Received<'_> {
        Received { bytes: 0, budget: self }
    }
}

/// Encoded bytes of one try: they are given back unless its answer is kept.
pub(crate) struct Received<'a> {
    bytes: u64,
    budget: &'a QueryBudget,
}

impl Received<'_> {
    /// Receives more, or refuses.
    pub(crate) fn add(&mut self, bytes: u64) -> Result<(), QueryError> {
        self.bytes += bytes;
        let QueryBudget { received, limits, .. } = self.budget;
        let all = received.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        within("bytes", all, limits.bytes_max)
    }

    /// The answer is whole.
    pub(crate) fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Received<'_> {
    fn drop(&mut self) {
        self.budget.received.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The series of one fragment: those of the part by steps that has read the most of them. Parts read the same series at
/// other times, so that a query does not come closer to its limit by being asked for in more of them.
#[derive(Debug, Default)]
pub(crate) struct FragmentSeries(AtomicU64);

/// The series of one part by steps of a fragment.
pub(crate) struct PartSeries<'a> {
    budget: &'a QueryBudget,
    fragment: &'a FragmentSeries,
    read: AtomicU64,
}

impl<'a> PartSeries<'a> {
    /// None is read yet.
    pub(crate) fn new(budget: &'a QueryBudget, fragment: &'a FragmentSeries) -> Self {
        PartSeries { budget, fragment, read: AtomicU64::new(0) }
    }

    /// A range of keys has been read whole, with `series` in it; refuses where the query has read too many.
    pub(crate) fn add(&self, series: u64) -> Result<(), QueryError> {
        let own = self.read.fetch_add(series, Ordering::Relaxed).saturating_add(series);
        let before = self.fragment.0.fetch_max(own, Ordering::Relaxed);
        let more = own.saturating_sub(before);
        let all = self.budget.series.fetch_add(more, Ordering::Relaxed).saturating_add(more);
        within("series", all, self.budget.limits.series_max)
    }
}

fn within(what: &'static str, used: u64, limit: u64) -> Result<(), QueryError> {
    if used > limit { Err(QueryError::Budget { what, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series_max(series_max: u64) -> QueryBudget {
        QueryBudget::new(Budget { series_max, ..Budget::default() }, 1)
    }

    #[test]
    fn series_of_ranges_and_fragments_add_up_and_those_of_parts_do_not() {
        let budget = series_max(10);
        let [one, other] = [FragmentSeries::default(), FragmentSeries::default()];
        for _ in 0..3 {
            let part = PartSeries::new(&budget, &one);
            part.add(2).expect("within");
            part.add(4).expect("the same series at other times");
        }
        let part = PartSeries::new(&budget, &other);
        part.add(4).expect("as many as there may be");
        let error = part.add(1).expect_err("more than that");
        assert_eq!(error.to_string(), "query exceeds its budget: series_max=10");
        // A part with more of them counts for what it has more.
        let budget = series_max(7);
        PartSeries::new(&budget, &one).add(6).expect("nothing that is new");
        PartSeries::new(&budget, &one).add(13).expect("as many as there may be");
        assert!(PartSeries::new(&budget, &one).add(14).is_err());
    }

    #[test]
    fn bytes_of_a_try_that_failed_are_given_back() {
        let limits = Budget { bytes_max: 10, ..Budget::default() };
        let budget = QueryBudget::new(limits, 1);
        let mut failed = budget.receive();
        failed.add(10).expect("within");
        let error = budget.receive().add(1).expect_err("too many at once");
        assert_eq!(error.to_string(), "query exceeds its budget: bytes_max=10");
        drop(failed);
        let mut kept = budget.receive();
        kept.add(9).expect("within");
        kept.keep();
        budget.receive().add(1).expect("as many as there may be");
        assert!(budget.receive().add(2).is_err(), "what is kept counts");
    }
}
