//! When things are read: `offset`, `@` and durations are worked out for the query's steps.

use super::build::Builder;
use crate::error::QueryError;
use crate::steps::Steps;
use crate::syntax::ast::{AtModifier, Duration, VectorSelector};
use crate::syntax::durations::{DurationContext, fold, fold_positive};

/// When a selector is read: the steps with its `offset` and `@` applied.
pub(super) struct When {
    pub(super) steps: Steps,
    pub(super) offset_ms: i64,
    pub(super) fixed: bool,
}

impl Builder<'_> {
    pub(super) fn context(&self) -> DurationContext {
        let start_ms = self.params.steps.start_ms();
        let step_ms = if self.params.instant { 0 } else { self.params.steps.step_ms() };
        DurationContext { step_ms, range_ms: self.params.end_ms.saturating_sub(start_ms) }
    }

    pub(super) fn positive(&self, duration: &Duration) -> Result<i64, QueryError> {
        let folded = fold_positive(duration, self.context());
        folded.map_err(QueryError::invalid)
    }

    pub(super) fn when(&self, selector: &VectorSelector, steps: Steps) -> Result<When, QueryError> {
        self.resolve(selector.at, selector.offset.as_ref(), steps)
    }

    pub(super) fn offset_ms(&self, offset: Option<&Duration>) -> Result<i64, QueryError> {
        match offset {
            Some(duration) => fold(duration, self.context()).map_err(QueryError::invalid),
            None => Ok(0),
        }
    }

    /// The time that `@` names. `start()` and `end()` are the query's, inside of subqueries too.
    pub(super) fn fixed_ms(&self, at: Option<AtModifier>) -> Option<i64> {
        match at {
            Some(AtModifier::Time(t)) => Some(t),
            Some(AtModifier::Start) => Some(self.params.steps.start_ms()),
            Some(AtModifier::End) => Some(self.params.end_ms),
            None => None,
        }
    }

    pub(super) fn resolve(
        &self,
        at: Option<AtModifier>,
        offset: Option<&Duration>,
        steps: Steps,
    ) -> Result<When, QueryError> {
        let offset_ms = self.offset_ms(offset)?;
        let fixed = self.fixed_ms(at);
        let steps = fixed.map_or(steps, Steps::instant).shifted(offset_ms);
        Ok(When { steps, offset_ms, fixed: fixed.is_some() })
    }
}
