//! Queries: gate, pin, fan-out, merge, evaluation.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join_all;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use pando_catalog::{CatalogView, Role};
use pando_executor::{ExecutionStats, blocking};
use pando_model::{ErrorKind, KeyRange, TenantId};
use pando_promql::{
    Budget, CancelFlag, FragmentId, FragmentPlan, FragmentResult, FragmentSpec, PartialBatch,
    PartialMerge, Pool, Query, QueryError, QueryOutput, QueryParams, StepParts, Steps,
};

use crate::error::FrontendError;
use crate::fan_out::{Answered, Scope};
use crate::fragment_question::FragmentQuestion;
use crate::frontend::Frontend;
use crate::parts::{Part, joined, parts};
use crate::planner::{PlacedFragment, Placement, raw_blocks};
use crate::query_budget::{FragmentSeries, QueryBudget};

/// The most parts of a fragment, by steps, that are under way at the same time.
const PARTS_IN_FLIGHT_MAX: usize = 16;

/// What a caller may set for one query.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueryOptions {
    /// A shorter time than the frontend's.
    pub timeout: Option<Duration>,
    /// How old the latest sample may be, ms; 0: the frontend's setting.
    pub lookback_ms: i64,
    /// Whether an answer may lack what no member answers for; warnings say what.
    pub partial_response: bool,
    /// Whether the samples that each step looks at are counted.
    pub count_samples: bool,
    /// Whether the answer says how each fragment was executed.
    pub keep_executed: bool,
}

/// Where the time of a query went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryTimings {
    /// Waiting for a turn.
    pub queue: Duration,
    /// Pinning the catalog and planning.
    pub prepare: Duration,
    /// Fragments: fan-out and merge.
    pub fragments: Duration,
    /// The evaluation at the frontend.
    pub evaluate: Duration,
}

/// The answer of a query.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The query as it was planned.
    pub query: Arc<Query>,
    /// Value and annotations.
    pub output: QueryOutput,
    /// What the cluster has to say: what a partial answer lacks.
    pub warnings: Vec<String>,
    /// Where the time went.
    pub timings: QueryTimings,
    /// The steps whose samples are counted, where that is asked for.
    pub steps: Option<Steps>,
    /// Series that members read.
    pub series_read: u64,
    /// Samples that members read.
    pub samples_read: u64,
    /// Where that is asked for, each fragment as it was executed, in the order of the query's fragments, of steps and
    /// of keys.
    pub executed: Vec<ExecutedFragment>,
}

/// One fragment over one range of keys and some of its steps, as it was executed.
#[derive(Clone, Debug)]
pub struct ExecutedFragment {
    /// Its number in the query.
    pub id: FragmentId,
    /// Which of its steps.
    pub steps: Range<usize>,
    /// Its sources, and who could execute it.
    pub placed: PlacedFragment,
    /// Who did.
    pub member: Placement,
    /// How it went.
    pub run: FragmentRun,
}

/// How the execution of a fragment went.
#[derive(Clone, Debug, Default)]
pub struct FragmentRun {
    /// Who was asked before, and what each of them said.
    pub refusals: Vec<String>,
    /// Whether the member does not know a node of the plan, so that it sent raw series.
    pub raw: bool,
    /// Bytes of its batches, encoded.
    pub bytes_received: u64,
    /// From the question to the end of the answer.
    pub took: Duration,
    /// What the member says of it.
    pub stats: ExecutionStats,
}

impl Frontend {
    /// Answers an instant query at `t_ms`.
    ///
    /// # Errors
    /// [`FrontendError`]; nothing is answered in part unless the options allow it.
    pub async fn query_instant(
        &self,
        tenant: &TenantId,
        text: &str,
        t_ms: i64,
        options: QueryOptions,
    ) -> Result<Answer, FrontendError> {
        self.query(tenant, text, QueryParams::instant(t_ms), options).await
    }

    /// Answers a range query: start, end and step in ms.
    ///
    /// # Errors
    /// As [`Frontend::query_instant`].
    pub async fn query_range(
        &self,
        tenant: &TenantId,
        text: &str,
        (start_ms, end_ms, step_ms): (i64, i64, i64),
        options: QueryOptions,
    ) -> Result<Answer, FrontendError> {
        let params = QueryParams::range(start_ms, end_ms, step_ms)?;
        self.query(tenant, text, params, options).await
    }

    /// The query `text`, parsed and planned under this frontend's settings. Its patterns may take a second.
    pub(crate) async fn parsed(
        &self,
        text: &str,
        params: QueryParams,
        options: QueryOptions,
    ) -> Result<Arc<Query>, FrontendError> {
        let config = self.config();
        let params = QueryParams {
            subquery_step_ms: self.subquery_step_ms(),
            push_down: config.push_down,
            lookback_ms: config.lookback_ms,
            count_samples: options.count_samples,
            ..params
        };
        let params = params.with_lookback(options.lookback_ms).with_features(config.features);
        let text = text.to_string();
        Ok(Arc::new(self.read(move || Query::parse(&text, params)).await??))
    }

    /// Reads a text, where it blocks no socket and within the time of a query. What is not waited for any more is read
    /// to its end; as many are read at once as there are cores.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, FrontendError> {
        self.within(self.config().timeout, self.decoding().run(move || Ok(work()))).await
    }

    /// How long a query with these options may take.
    pub(crate) fn timeout(&self, options: QueryOptions) -> Duration {
        let most = self.config().timeout;
        options.timeout.map_or(most, |asked| asked.min(most))
    }

    /// Answers the query `text`.
    pub(crate) async fn query(
        &self,
        tenant: &TenantId,
        text: &str,
        params: QueryParams,
        options: QueryOptions,
    ) -> Result<Answer, FrontendError> {
        let cancel = CancelOnDrop(CancelFlag::new());
        let begun = self.metrics().query_begun(self.clock());
        let stage = Stage::default();
        let run = self.run(tenant, (text, params), options, cancel.0.clone(), &stage);
        let timeout = self.timeout(options);
        let result = match tokio::time::timeout(timeout, run).await {
            Ok(result) => result,
            Err(_) => Err(FrontendError::Timeout { stage: stage.name(), timeout }),
        };
        begun.ended(&result);
        if let Err(error) = &result {
            log_failure(tenant, text, error);
        }
        result
    }

    async fn run(
        &self,
        tenant: &TenantId,
        (text, params): (&str, QueryParams),
        options: QueryOptions,
        cancel: CancelFlag,
        stage: &Stage,
    ) -> Result<Answer, FrontendError> {
        let mut timings = QueryTimings::default();
        let mut lap = self.clock().monotonic();
        let mut since_last = || {
            let now = self.clock().monotonic();
            now.saturating_sub(std::mem::replace(&mut lap, now))
        };
        let _turn = self.gate().enter().await;
        timings.queue = since_last();
        stage.evaluates();
        let _active = self.metrics().active_query();
        let query = self.parsed(text, params, options).await?;
        let mut answer = Execution::default();
        let view = match query.fragments().is_empty() {
            true => None,
            false => self.pin_for(tenant).await?,
        };
        timings.prepare = since_last();
        let mut budget = self.budget();
        if let Some(view) = &view {
            let own_max = view.routing.limits(tenant).query_samples_max;
            if own_max > 0 {
                budget.samples_max = budget.samples_max.min(own_max);
            }
            answer = self.execute(view, tenant, &query, budget, options, &cancel).await?;
        }
        timings.fragments = since_last();
        let Execution { results, missing, executed, series_read, samples_read } = answer;
        let steps = options.count_samples.then_some(query.params().steps);
        let evaluated = query.clone();
        let output = blocking(move || evaluated.evaluate(results, budget, cancel)).await?;
        timings.evaluate = since_last();
        let warnings = missing;
        Ok(Answer { query, output, warnings, timings, steps, series_read, samples_read, executed })
    }

    fn budget(&self) -> Budget {
        let config = self.config();
        Budget {
            samples_max: config.samples_max,
            series_max: config.series_max,
            bytes_max: config.bytes_max,
        }
    }

    /// Executes all fragments of `query`.
    async fn execute(
        &self,
        view: &CatalogView,
        tenant: &TenantId,
        query: &Query,
        budget: Budget,
        options: QueryOptions,
        cancel: &CancelFlag,
    ) -> Result<Execution, FrontendError> {
        let budget = QueryBudget::new(budget, self.config().fragments_in_flight_max);
        let each = query
            .fragments()
            .iter()
            .map(|spec| self.execute_one(view, (tenant, options), spec, &budget, cancel));
        let mut all = Execution::default();
        for (id, result, one) in try_join_all(each).await? {
            all.results.insert(id, result);
            all.missing.extend(one.missing);
            all.executed.extend(one.executed);
            all.series_read += one.series_read;
            all.samples_read += one.samples_read;
        }
        all.missing.sort();
        all.missing.dedup();
        Ok(all)
    }

    /// The parts by steps in which a fragment is asked for.
    pub(crate) fn parts(
        &self,
        view: &CatalogView,
        tenant: &TenantId,
        spec: &FragmentSpec,
    ) -> Vec<Part> {
        joined(spec, parts(spec, self.config().split_interval_ms()), |time| {
            let blocks = raw_blocks(view, tenant, KeyRange::ALL, time);
            blocks.iter().map(|entry| (entry.record.id, entry.record.object_bytes)).collect()
        })
    }

    async fn execute_one(
        &self,
        view: &CatalogView,
        (tenant, options): (&TenantId, QueryOptions),
        spec: &FragmentSpec,
        budget: &QueryBudget,
        cancel: &CancelFlag,
    ) -> Result<(FragmentId, FragmentResult, Execution), FrontendError> {
        let parts = self.parts(view, tenant, spec);
        // Each member works on two parts at a time at the most, beside other queries.
        let members = view.routing.nodes_with(Role::StoreGateway).count();
        let in_flight = (2 * members).clamp(2, PARTS_IN_FLIGHT_MAX);
        let (series, partial) = (&FragmentSeries::default(), options.partial_response);
        let each = parts.into_iter().map(|part| async move {
            let question = FragmentQuestion::new(&part.plan, budget, series);
            let scope = Scope { tenant, time: part.time, partial };
            let answers = self.fan_out(view, scope, &question).await?;
            Ok::<_, FrontendError>((part, answers))
        });
        let mut asked = stream::iter(each).buffered(in_flight);
        let (mut own, mut received) = (Execution::default(), Vec::new());
        while let Some((part, answers)) = asked.try_next().await? {
            self.metrics().fragments.inc_by(answers.answers.len() as u64);
            own.missing.extend(answers.missing);
            let mut batches = Vec::new();
            for Answered { answer, piece, member, refusals, took } in answers.answers {
                let run = FragmentRun {
                    refusals,
                    raw: answer.raw,
                    bytes_received: answer.batches.iter().map(|batch| batch.len() as u64).sum(),
                    took,
                    stats: answer.stats,
                };
                own.series_read += run.stats.series;
                own.samples_read += run.stats.samples;
                batches.extend(answer.batches);
                if options.keep_executed {
                    let (id, steps) = (spec.id, part.steps.clone());
                    own.executed.push(ExecutedFragment { id, steps, placed: piece, member, run });
                }
            }
            received.push((part, batches));
        }
        let (plan, cancel) = (spec.plan.clone(), cancel.clone());
        let (limits, pool) = (budget.limits, budget.held.clone());
        let result = blocking(move || merge(&plan, received, (limits, &pool), cancel)).await?;
        Ok((spec.id, result, own))
    }
}

/// What went wrong on our side; what the caller got wrong is the caller's to read.
fn log_failure(tenant: &TenantId, query: &str, error: &FrontendError) {
    match error.kind() {
        ErrorKind::Internal | ErrorKind::Corrupt | ErrorKind::Forbidden => {
            tracing::error!(%tenant, query, %error, "query failed");
        }
        ErrorKind::Unavailable | ErrorKind::Timeout => {
            tracing::warn!(%tenant, query, %error, "query is not answered");
        }
        _ => {}
    }
}

/// Merges the batches of all executors in the order of steps and keys, so that equal answers are equal
/// bit by bit. What it holds is held in the pool of the query, and so is what it comes to.
fn merge(
    plan: &FragmentPlan,
    received: Vec<(Part, Vec<Bytes>)>,
    (limits, pool): (Budget, &Pool),
    cancel: CancelFlag,
) -> Result<FragmentResult, QueryError> {
    let mut all = StepParts::new(plan, limits, cancel.clone()).in_pool(pool);
    let one = received.len() == 1;
    for (part, batches) in received {
        let mut merge = PartialMerge::new(part.plan, limits, cancel.clone()).in_pool(pool);
        for batch in batches {
            merge.push(PartialBatch::decode(&batch)?)?;
        }
        let result = merge.finish()?;
        if one {
            let result = result.of_all_steps();
            pool.keep(&result);
            return Ok(result);
        }
        all.push(part.steps.start, result)?;
    }
    let result = all.finish();
    pool.keep(&result);
    Ok(result)
}

/// What the fragments came to.
#[derive(Debug, Default)]
struct Execution {
    results: BTreeMap<FragmentId, FragmentResult>,
    missing: Vec<String>,
    executed: Vec<ExecutedFragment>,
    series_read: u64,
    samples_read: u64,
}

/// Where a query is, for the text of its timeout.
#[derive(Debug, Default)]
struct Stage(std::sync::atomic::AtomicBool);

impl Stage {
    fn evaluates(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn name(&self) -> &'static str {
        if self.0.load(Ordering::Relaxed) { "expression evaluation" } else { "query queue" }
    }
}

/// Tells the engine when nobody waits any more: the caller left, or time is up. Streams end by
/// being dropped.
struct CancelOnDrop(CancelFlag);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

#[cfg(test)]
mod tests;
