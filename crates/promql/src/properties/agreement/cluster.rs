//! A cluster in one process: the series of each key range are with one executor, which has them in parts, as blocks
//! and live generations; plans and batches go over the wire; the frontend merges.

use std::collections::BTreeMap;

use crate::{
    Budget, CancelFlag, Course, FragmentExecution, FragmentPlan, FragmentResult, FragmentSpec,
    PartialBatch, PartialMerge, Query, QueryError, QueryOutput, Read, SeriesSource, StepParts,
};
use pando_model::{ErrorKind, Matcher, STALE_NAN, SeriesSamples, TimeRange, is_stale_nan};

use crate::testing::Chance;

/// All series in one place.
pub(crate) struct Whole<'a>(pub(crate) &'a [SeriesSamples]);

impl SeriesSource for Whole<'_> {
    fn select(&self, matchers: &[Matcher], _: TimeRange) -> Result<Vec<SeriesSamples>, QueryError> {
        let pass = |s: &&SeriesSamples| Matcher::all_match(matchers, &s.labels);
        Ok(self.0.iter().filter(pass).cloned().collect())
    }
}

/// The executors of a cluster, and how they were asked.
pub(super) struct Cluster {
    executors: Vec<Executor>,
    /// Whether each fragment is asked for in two halves of its steps.
    halves: bool,
    chance: Chance,
}

/// When an executor is asked for raw series.
#[derive(Clone, Copy, PartialEq)]
enum Old {
    Never,
    Always,
    /// For the first part of the steps alone: another member answers for the rest.
    First,
}

/// One executor.
struct Executor {
    /// The parts of its sources: every series is in some of them.
    sources: Vec<Vec<SeriesSamples>>,
    /// How it knows no node of a plan but raw reads.
    old: Old,
    /// How many series are executed together.
    batch: usize,
    /// Whether it says what it knows of series, as blocks' row headers tell it.
    knows_courses: bool,
}

impl Cluster {
    /// Spreads `all` over some executors.
    pub(super) fn new(seed: u64, all: &[SeriesSamples]) -> Self {
        let mut chance = Chance::new(seed, "cluster");
        let count = 1 + chance.below(4);
        let (all_old, one_old) = (chance.one_in(8), chance.one_in(4));
        // Where a range ends between two targets, or within each of them.
        let place: fn(u64) -> u64 = if chance.one_in(2) { |key| key } else { |key| key << 32 };
        let executors = (0..count).map(|at| {
            let mine = |s: &&SeriesSamples| {
                (u128::from(place(s.key.0)) * count as u128) >> 64 == at as u128
            };
            let mut series: Vec<SeriesSamples> = all.iter().filter(mine).cloned().collect();
            series.sort_by(|a, b| {
                let names = a.labels.metric_name().cmp(b.labels.metric_name());
                names.then(a.key.cmp(&b.key))
            });
            let old = match all_old || (one_old && at == 0) {
                true if chance.one_in(2) => Old::First,
                true => Old::Always,
                false => Old::Never,
            };
            let batch = 1 + chance.below(6);
            let sources = sources(&series, &mut chance);
            Executor { sources, old, batch, knows_courses: chance.one_in(2) }
        });
        let executors = executors.collect();
        Cluster { executors, halves: chance.one_in(3), chance }
    }

    /// Answers `query` as the frontend does.
    pub(super) fn evaluate(&mut self, query: &Query) -> Result<QueryOutput, QueryError> {
        let mut results = BTreeMap::new();
        for spec in query.fragments() {
            results.insert(spec.id, self.fragment(spec)?);
        }
        query.evaluate(results, Budget::default(), CancelFlag::new())
    }

    fn fragment(&mut self, spec: &FragmentSpec) -> Result<FragmentResult, QueryError> {
        let plan = &spec.plan;
        let steps = plan.steps.len();
        // Samples are asked for as a whole.
        let whole = !self.halves || steps == 1 || matches!(plan.read, Read::Raw { .. });
        let cut = if whole { steps } else { 1 + self.chance.below(steps - 1) };
        let mut parts = StepParts::new(plan, Budget::default(), CancelFlag::new());
        for (first, count) in [(0, cut), (cut, steps - cut)] {
            let Some(part) = plan.with_steps(first, count) else { continue };
            let mut merge = PartialMerge::new(part.clone(), Budget::default(), CancelFlag::new());
            for executor in &self.executors {
                for bytes in executor.answer(&part, first == 0)? {
                    merge.push(PartialBatch::decode(&bytes)?)?;
                }
            }
            let result = merge.finish()?;
            if whole {
                return Ok(result);
            }
            parts.push(first, result)?;
        }
        Ok(parts.finish())
    }
}

impl Executor {
    /// Asks for the plan, and for raw series where it is not known.
    fn answer(&self, plan: &FragmentPlan, first: bool) -> Result<Vec<Vec<u8>>, QueryError> {
        let old = self.old == Old::Always || (self.old == Old::First && first);
        match self.execute(&plan.encode(), old) {
            Err(e) if e.kind() == ErrorKind::Unsupported => self.execute(&plan.raw().encode(), old),
            answered => answered,
        }
    }

    fn execute(&self, bytes: &[u8], old: bool) -> Result<Vec<Vec<u8>>, QueryError> {
        let plan = FragmentPlan::decode(bytes)?;
        if old && plan != plan.raw() {
            return Err(QueryError::Unsupported { what: "fragment read", got: 2, known: 1 });
        }
        let series = self.select(&plan);
        let begin = || FragmentExecution::new(plan.clone(), Budget::default(), CancelFlag::new());
        let mut joined: Option<FragmentExecution> = None;
        for batch in series.chunks(self.batch) {
            // Each batch is executed by itself, as on a thread of its own.
            let mut execution = begin();
            for one in batch {
                let course = if self.knows_courses { course(one) } else { Course::Unknown };
                execution.push(one.clone(), course)?;
            }
            match &mut joined {
                None => joined = Some(execution),
                Some(all) => all.absorb(execution)?,
            }
        }
        let execution = joined.unwrap_or_else(begin);
        Ok(execution.finish()?.iter().map(PartialBatch::encode).collect())
    }

    /// The series of the plan, merged over all sources, with the samples that it asks for and no other.
    fn select(&self, plan: &FragmentPlan) -> Vec<SeriesSamples> {
        let range = plan.time_range();
        let mut parts: Vec<(SeriesSamples, Vec<SeriesSamples>)> = Vec::new();
        for series in self.sources.iter().flatten() {
            if !Matcher::all_match(&plan.matchers, &series.labels) {
                continue;
            }
            let within = part(series, |t| t >= range.min_ms && t < range.max_ms);
            match parts.iter_mut().find(|(first, _)| first.labels == series.labels) {
                Some((_, parts)) => parts.push(within),
                None => parts.push((series.clone(), vec![within])),
            }
        }
        parts.into_iter().filter_map(|(_, parts)| SeriesSamples::merge(parts)).collect()
    }
}

/// What is known of `series`.
fn course(series: &SeriesSamples) -> Course {
    let floats = &series.floats;
    let first = floats.first().filter(|first| first.is_finite());
    match first {
        _ if !series.histograms.is_empty() || floats.iter().any(|v| is_stale_nan(*v)) => {
            Course::Unknown
        }
        Some(first) if floats.iter().all(|v| v == first) => Course::Constant,
        _ if floats.windows(2).any(|pair| pair[1] < pair[0]) => Course::Unknown,
        _ => Course::Steady,
    }
}

/// The samples of `series` at the times that `wanted` says.
fn part(series: &SeriesSamples, wanted: impl Fn(i64) -> bool) -> SeriesSamples {
    let at: Vec<usize> = (0..series.len()).filter(|i| wanted(series.axis[*i])).collect();
    if at.len() == series.len() {
        return series.clone();
    }
    let samples = at.iter().map(|i| (series.axis[*i], series.value(*i)));
    let mut out = SeriesSamples::from_values(series.labels.clone(), series.key, samples);
    if !series.starts.is_empty() {
        out.starts = at.iter().map(|i| series.starts[*i]).collect();
    }
    out
}

/// `all` in a block, a later one and a live generation, which overlap. Where two have a sample, one may have a stale
/// marker instead: the other counts.
fn sources(all: &[SeriesSamples], chance: &mut Chance) -> Vec<Vec<SeriesSamples>> {
    let times: Vec<i64> = all.iter().flat_map(|s| s.axis.iter().copied()).collect();
    let Some((first, last)) = times.iter().min().zip(times.iter().max()) else { return Vec::new() };
    let mut cuts = [chance.within(*first, *last), chance.within(*first, *last)];
    cuts.sort_unstable();
    let overlap = chance.within(0, 120_000);
    let block: Vec<SeriesSamples> = all.iter().map(|s| part(s, |t| t < cuts[0])).collect();
    let later = |s| part(s, |t| t >= cuts[0] - overlap && t < cuts[1]);
    let mut later: Vec<SeriesSamples> = all.iter().map(later).collect();
    for series in later.iter_mut().filter(|s| s.histograms.is_empty()) {
        for (t, v) in series.axis.iter().zip(&mut series.floats) {
            if *t < cuts[0] && chance.one_in(4) {
                *v = STALE_NAN;
            }
        }
    }
    let live = all.iter().map(|s| part(s, |t| t >= cuts[1] - overlap)).collect();
    let mut out = vec![live, block, later];
    out.iter_mut().for_each(|source: &mut Vec<SeriesSamples>| source.retain(|s| !s.is_empty()));
    out
}
