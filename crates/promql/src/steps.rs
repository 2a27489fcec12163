//! `Steps`: the times at which an expression is evaluated.

use crate::error::QueryError;

/// The most steps a range query may have (Prometheus' limit of points per series).
pub const STEPS_MAX: usize = 11_000;

/// Evaluation times `start, start + step, ... <= end`, ms. An instant query has one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Steps {
    start_ms: i64,
    step_ms: i64,
    count: u32,
}

impl Steps {
    /// One step at `t_ms`.
    pub fn instant(t_ms: i64) -> Self {
        Steps { start_ms: t_ms, step_ms: 1, count: 1 }
    }

    /// The steps of a range query.
    ///
    /// # Errors
    /// `Invalid` where the step is not positive, the end is before the start, or there would be more than
    /// [`STEPS_MAX`] steps.
    pub fn range(start_ms: i64, end_ms: i64, step_ms: i64) -> Result<Self, QueryError> {
        if step_ms <= 0 {
            return Err(QueryError::invalid(
                "zero or negative query resolution step widths are not accepted. Try a positive integer",
            ));
        }
        if end_ms < start_ms {
            return Err(QueryError::invalid("end timestamp must not be before start time"));
        }
        let steps = Self::grid(start_ms, end_ms, step_ms);
        match steps {
            // The span counts, so that 11,000 whole steps (11,001 points) still pass, as in Prometheus.
            Some(steps) if steps.len() <= STEPS_MAX + 1 => Ok(steps),
            _ => Err(QueryError::invalid(
                "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
            )),
        }
    }

    /// Steps without Prometheus' limit on their number; `None` where they cannot be counted or there is none.
    pub(crate) fn grid(start_ms: i64, end_ms: i64, step_ms: i64) -> Option<Self> {
        let span = end_ms.checked_sub(start_ms).filter(|s| *s >= 0)?;
        let count = u32::try_from(span.checked_div(step_ms)?.checked_add(1)?).ok()?;
        Some(Steps { start_ms, step_ms, count })
    }

    /// The first step, ms.
    pub fn start_ms(&self) -> i64 {
        self.start_ms
    }

    /// The first step alone.
    pub fn first(&self) -> Self {
        Steps::instant(self.start_ms)
    }

    /// The last step, ms: the query's end or before it.
    pub fn last_ms(&self) -> i64 {
        self.at(self.len() - 1)
    }

    /// The distance of two steps, ms.
    pub fn step_ms(&self) -> i64 {
        self.step_ms
    }

    /// The number of steps, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "there is always a step")]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// The time of step `i`, ms.
    pub fn at(&self, i: usize) -> i64 {
        self.start_ms.saturating_add(self.step_ms.saturating_mul(i as i64))
    }

    /// All times in order, ms.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = i64> + '_ {
        (0..self.len()).map(|i| self.at(i))
    }

    /// The steps moved into the past by `offset_ms`.
    pub fn shifted(self, offset_ms: i64) -> Self {
        Steps { start_ms: self.start_ms.saturating_sub(offset_ms), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_whole_steps_and_refuses_what_prometheus_refuses() {
        let steps = Steps::range(0, 95, 10).expect("ten steps");
        assert_eq!((steps.len(), steps.last_ms()), (10, 90));
        assert!(Steps::range(0, 11_000, 1).is_ok());
        for (start, end, step) in [(0, 11_001, 1), (0, 1, 0), (1, 0, 1), (i64::MIN, i64::MAX, 1)] {
            assert!(Steps::range(start, end, step).is_err(), "{start} {end} {step}");
        }
    }
}
