//! A query over a source in the same process: tests, rule unit tests, and the base that the distributed path
//! must agree with.

use std::collections::BTreeMap;

use pando_model::{Matcher, SeriesSamples, TimeRange};

use crate::budget::{Budget, CancelFlag};
use crate::error::QueryError;
use crate::fragment::{FragmentExecution, FragmentResult, FragmentSpec, PartialMerge};
use crate::query::{Query, QueryOutput};

/// Where samples come from.
pub trait SeriesSource {
    /// The series that pass all of `matchers`, each once, with all its samples in `range` (more do no harm).
    ///
    /// # Errors
    /// [`QueryError::Source`] with the source's own kind and message.
    fn select(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<Vec<SeriesSamples>, QueryError>;
}

/// Executes all fragments of `query` over `source`, then the query.
///
/// # Errors
/// Whatever the source, a fragment or the query says.
pub fn evaluate_local(
    query: &Query,
    source: &dyn SeriesSource,
    budget: Budget,
) -> Result<QueryOutput, QueryError> {
    let mut results = BTreeMap::new();
    for spec in query.fragments() {
        results.insert(spec.id, execute_local(spec, &[source], budget)?);
    }
    query.evaluate(results, budget, CancelFlag::new())
}

/// Executes one fragment over several sources, each with its own series, and merges the parts.
///
/// # Errors
/// As [`evaluate_local`].
pub fn execute_local(
    spec: &FragmentSpec,
    sources: &[&dyn SeriesSource],
    budget: Budget,
) -> Result<FragmentResult, QueryError> {
    let mut merge = PartialMerge::new(spec.plan.clone(), budget, CancelFlag::new());
    for source in sources {
        let mut execution = FragmentExecution::new(spec.plan.clone(), budget, CancelFlag::new());
        execution.push_batch(source.select(&spec.plan.matchers, spec.range)?)?;
        for batch in execution.finish()? {
            merge.push(batch)?;
        }
    }
    merge.finish()
}
