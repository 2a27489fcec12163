//! `FragmentExecution`: runs a plan over batches of whole series. Memory is one batch and the partial states.

use pando_model::SeriesSamples;

use super::partial::{LabelHash, NoteSite, PartialBatch, PartialGroup};
use super::plan::{Aggregation, FragmentPlan, Read};
use super::tally::{Tally, hash_bytes};
use crate::annotations::Note;
use crate::budget::{Budget, CancelFlag, Ledger, Pool};
use crate::engine::aggregate::Aggregator;
use crate::engine::histogram::drop_buckets;
use crate::engine::names::{drop_metadata_labels, is_metadata_label};
use crate::engine::queryable;
use crate::engine::range::{Names, RangeArgs, RangeCall};
use crate::engine::samples::Course;
use crate::engine::vector::{
    StepVector, held_column, histogram_bytes, join_same_labels, require_distinct,
};
use crate::engine::window::WindowCache;
use crate::engine::{select, smoothed};
use crate::error::QueryError;

/// How many bytes of state one batch carries at most, unless a single group is larger.
const BATCH_BYTES: usize = 1 << 20;
const HASHES_PER_BATCH: usize = BATCH_BYTES / size_of::<LabelHash>();

/// What a fragment has read and held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentStats {
    /// Series that were pushed.
    pub series: u64,
    /// Samples that were pushed.
    pub samples: u64,
    /// The most samples and step values held at one moment.
    pub peak_samples: u64,
}

/// A fragment in execution.
///
/// ```text
/// new(plan) -> push_batch(series)* -> finish() -> batches, in the order of their labels
/// ```
pub struct FragmentExecution {
    plan: FragmentPlan,
    windows: WindowCache,
    ledger: Ledger,
    output: Output,
    /// Whether series must stay apart when they have lost their names.
    compares: bool,
    names: Names,
    function_notes: Vec<Note>,
    tally: Tally,
    stats: FragmentStats,
}

enum Output {
    Aggregated(Vec<Aggregator>),
    Series(Vec<StepVector>),
    Raw(Vec<SeriesSamples>),
}

impl FragmentExecution {
    /// Begins to execute `plan` under `budget`.
    pub fn new(plan: FragmentPlan, budget: Budget, cancel: CancelFlag) -> Self {
        let output = match (&plan.read, &plan.aggregations[..]) {
            (Read::Raw { .. }, _) => Output::Raw(Vec::new()),
            (_, []) => Output::Series(Vec::new()),
            (_, all) => Output::Aggregated(Aggregator::all(all, plan.steps.len())),
        };
        let compares = plan.may_collide();
        FragmentExecution {
            tally: Tally::new(&plan),
            windows: WindowCache::default(),
            ledger: Ledger::new(budget, cancel),
            output,
            names: names(&plan, compares),
            plan,
            compares,
            function_notes: Vec::new(),
            stats: FragmentStats::default(),
        }
    }

    /// The same, with its budget shared by all that is in `pool`.
    pub(super) fn in_pool(self, pool: &Pool) -> Self {
        FragmentExecution { ledger: self.ledger.in_pool(pool), ..self }
    }

    /// The plan in execution.
    pub fn plan(&self) -> &FragmentPlan {
        &self.plan
    }

    /// What was read so far.
    pub fn stats(&self) -> FragmentStats {
        FragmentStats { peak_samples: self.ledger.peak_samples, ..self.stats }
    }

    /// Takes in whole series that match the plan's matchers: each with all its samples of
    /// [`FragmentPlan::window`] (more do no harm), each at most once. Axes shared between series of one
    /// batch are worked out once.
    ///
    /// # Errors
    /// A budget, cancellation, or data that the function cannot be executed on.
    pub fn push_batch(&mut self, batch: Vec<SeriesSamples>) -> Result<(), QueryError> {
        let samples: usize = batch.iter().map(SeriesSamples::len).sum();
        let bytes: usize = batch.iter().map(series_bytes).sum();
        self.read_more(batch.len(), samples, bytes)?;
        for series in batch {
            self.push_series(series, Course::Unknown)?;
        }
        self.ledger.release(samples, bytes);
        Ok(())
    }

    /// [`FragmentExecution::push_batch`] of one series, of which `course` is known.
    ///
    /// # Errors
    /// As there.
    pub fn push(&mut self, series: SeriesSamples, course: Course) -> Result<(), QueryError> {
        let (samples, bytes) = (series.len(), series_bytes(&series));
        self.read_more(1, samples, bytes)?;
        self.push_series(series, course)?;
        self.ledger.release(samples, bytes);
        Ok(())
    }

    fn read_more(&mut self, series: usize, samples: usize, bytes: usize) -> Result<(), QueryError> {
        self.stats.series += series as u64;
        self.stats.samples += samples as u64;
        self.ledger.check_series(self.stats.series)?;
        self.ledger.hold(samples, bytes)
    }

    fn push_series(&mut self, mut series: SeriesSamples, course: Course) -> Result<(), QueryError> {
        self.ledger.check_cancel()?;
        if self.plan.statistics {
            let within_ms = Some(self.plan.hints_back_ms).filter(|back_ms| *back_ms > 0);
            drop_buckets(&mut series, within_ms);
        }
        if let Output::Raw(kept) = &mut self.output {
            if let Some(part) = within(series, &self.plan) {
                self.ledger.hold(part.len(), series_bytes(&part))?;
                kept.push(part);
            }
            return Ok(());
        }
        let vector = self.read(&series, course)?;
        if self.plan.count_samples {
            self.count(&series);
        }
        for note in self.function_notes.drain(..) {
            self.tally.note(NoteSite::Function, note);
        }
        let held = (vector.samples(), vector.bytes());
        if vector.is_empty() {
            self.ledger.release(held.0, held.1);
            return Ok(());
        }
        if self.compares {
            self.tally.labels(&series.labels, &vector.labels, &mut self.ledger)?;
        }
        match &mut self.output {
            Output::Aggregated(aggregators) => {
                for aggregator in aggregators {
                    aggregator.add(&vector, &mut self.ledger)?;
                }
                self.ledger.release(held.0, held.1);
                Ok(())
            }
            Output::Series(kept) => {
                kept.push(vector);
                Ok(())
            }
            Output::Raw(_) => Ok(()),
        }
    }

    /// What is read of `series` at every step: a column that is held in the ledger.
    fn read(&mut self, series: &SeriesSamples, course: Course) -> Result<StepVector, QueryError> {
        let FragmentPlan { steps, read, delayed_name_removal, .. } = &self.plan;
        let (windows, notes, names) = (&mut self.windows, &mut self.function_notes, self.names);
        let delayed = *delayed_name_removal;
        if let Read::Range { range_ms, rules, function, args } = read {
            let call = RangeCall {
                function: *function,
                range_ms: *range_ms,
                rules: *rules,
                steps,
                args: RangeArgs::Constant(args),
                names,
                course,
            };
            return call.run(series, windows, notes, &mut self.ledger);
        }
        held_column(&mut self.ledger, steps.len(), |ledger| match read {
            Read::Instant { lookback_ms, timestamp } => {
                let vector = select::instant(series, steps, *lookback_ms, *timestamp, windows);
                Ok(if *timestamp { nameless(vector, delayed) } else { vector })
            }
            Read::StartTimestamp { lookback_ms } => {
                let vector = select::start_timestamp(series, steps, *lookback_ms, windows);
                Ok(nameless(vector, delayed))
            }
            Read::SampleTime { lookback_ms } => {
                Ok(select::sample_time(series, steps, *lookback_ms, windows))
            }
            Read::Smoothed { lookback_ms } => {
                smoothed::values(series, steps, *lookback_ms, windows, notes, ledger)
            }
            Read::Range { .. } | Read::Raw { .. } => {
                Err(QueryError::Internal("a read of no columns".into()))
            }
        })
    }

    /// Counts what each step sees of `series`.
    fn count(&mut self, series: &SeriesSamples) {
        let FragmentPlan { steps, read, .. } = &self.plan;
        let (counted, windows) = (&mut self.tally.step_samples, &mut self.windows);
        match read {
            Read::Instant { lookback_ms, .. }
            | Read::StartTimestamp { lookback_ms }
            | Read::SampleTime { lookback_ms }
            | Read::Smoothed { lookback_ms } => {
                let values = select::instant(series, steps, *lookback_ms, false, windows);
                queryable::add_values(counted, &values);
            }
            Read::Range { range_ms, .. } => {
                queryable::add_windows(counted, series, steps, *range_ms, windows);
            }
            // Counted by whoever evaluates them.
            Read::Raw { .. } => {}
        }
    }

    /// Takes in what another execution of the plan has read: other series, later in the order of keys. That two halves
    /// come together makes an answer that neither depends on how many threads there are nor on which of them was done
    /// first. Each has a budget of its own, so that neither does what is refused.
    ///
    /// # Errors
    /// A budget, cancellation, or two series that became one by losing their names.
    pub fn absorb(&mut self, later: FragmentExecution) -> Result<(), QueryError> {
        let FragmentExecution { output, tally, stats, mut ledger, .. } = later;
        self.stats.series += stats.series;
        self.stats.samples += stats.samples;
        self.ledger.check_series(self.stats.series)?;
        let (notes, hashes, step_samples) = tally.into_parts();
        // They are held again where they are added.
        ledger.release(0, hash_bytes(&hashes));
        match (&mut self.output, output) {
            (Output::Aggregated(all), Output::Aggregated(more)) => {
                for ((number, into), mut from) in (0..).zip(all).zip(more) {
                    into.notes.append(&mut from.notes);
                    for group in from.into_partials(number, &mut ledger)? {
                        into.merge(group, &mut self.ledger)?;
                    }
                }
            }
            (Output::Series(all), Output::Series(mut more)) => {
                self.ledger.take_over(&mut ledger)?;
                all.append(&mut more);
            }
            (Output::Raw(all), Output::Raw(mut more)) => {
                self.ledger.take_over(&mut ledger)?;
                all.append(&mut more);
            }
            _ => return Err(QueryError::Internal("executions of two plans".to_string())),
        }
        self.ledger.peak_samples = self.ledger.peak_samples.max(ledger.peak_samples);
        let hashes = hashes.into_iter().map(|(nameless, series)| LabelHash { nameless, series });
        self.tally.absorb(notes, hashes, &step_samples, &mut self.ledger)
    }

    /// The result as batches of bounded size, groups in the order of their labels. Never empty: the last batch
    /// holds notes and hashes.
    ///
    /// # Errors
    /// Two series of an unaggregated plan that became one by losing their names; a budget, cancellation.
    pub fn finish(mut self) -> Result<Vec<PartialBatch>, QueryError> {
        self.ledger.check_cancel()?;
        let mut tally = self.tally;
        let mut batches = Vec::new();
        match self.output {
            Output::Aggregated(aggregators) => {
                let mut groups = Vec::new();
                for (number, mut aggregator) in (0..).zip(aggregators) {
                    for note in std::mem::take(&mut aggregator.notes) {
                        tally.note(NoteSite::Aggregation(number), note);
                    }
                    groups.extend(aggregator.into_partials(number, &mut self.ledger)?);
                }
                batches = in_batches(groups);
            }
            Output::Series(mut series) => {
                series.sort_by(|a, b| a.labels.cmp(&b.labels));
                if self.plan.refuses_equal_labels() {
                    require_distinct(&series)?;
                } else if self.plan.is_nameless() {
                    series = join_same_labels(series)?;
                }
                batches = in_batches(series.into_iter().map(PartialGroup::of_series));
            }
            Output::Raw(mut series) => {
                series.sort_by(|a, b| a.labels.cmp(&b.labels));
                let mut bytes = usize::MAX;
                for one in series {
                    let size = series_bytes(&one);
                    if bytes.saturating_add(size) > BATCH_BYTES {
                        batches.push(PartialBatch::default());
                        bytes = 0;
                    }
                    bytes += size;
                    if let Some(batch) = batches.last_mut() {
                        batch.raw.push(one);
                    }
                }
            }
        }
        let (notes, hashes, step_samples) = tally.into_parts();
        let hashes = hashes.into_iter().map(|(nameless, series)| LabelHash { nameless, series });
        let mut label_hashes: Vec<LabelHash> = hashes.collect();
        label_hashes.sort_unstable();
        while label_hashes.len() > HASHES_PER_BATCH {
            let label_hashes = label_hashes.split_off(label_hashes.len() - HASHES_PER_BATCH);
            batches.push(PartialBatch { label_hashes, ..PartialBatch::default() });
        }
        batches.push(PartialBatch { label_hashes, notes, step_samples, ..PartialBatch::default() });
        Ok(batches)
    }
}

/// What becomes of names, where label sets are `compared` or not. Groups by other labels do not see them.
fn names(plan: &FragmentPlan, compared: bool) -> Names {
    let unseen = |aggregation: &Aggregation| {
        let Aggregation { op, grouping, without, .. } = aggregation;
        !op.picks_series() && !without && !grouping.iter().any(|name| is_metadata_label(name))
    };
    let unseen = !plan.aggregations.is_empty() && plan.aggregations.iter().all(unseen);
    match unseen && !compared && !plan.delayed_name_removal {
        true => Names::Keep,
        false => Names::of(plan.delayed_name_removal),
    }
}

/// `vector` without its name, or marked to lose it when the query ends.
fn nameless(mut vector: StepVector, delayed: bool) -> StepVector {
    vector.drop_name = delayed;
    if !delayed {
        vector.labels = drop_metadata_labels(&vector.labels);
    }
    vector
}

fn in_batches(groups: impl IntoIterator<Item = PartialGroup>) -> Vec<PartialBatch> {
    let mut batches: Vec<PartialBatch> = Vec::new();
    let mut bytes = usize::MAX;
    for group in groups {
        let size = group.bytes();
        if bytes.saturating_add(size) > BATCH_BYTES {
            batches.push(PartialBatch::default());
            bytes = 0;
        }
        bytes += size;
        if let Some(batch) = batches.last_mut() {
            batch.groups.push(group);
        }
    }
    batches
}

/// Bytes that a decoded series takes; its axis is shared and not counted.
pub(crate) fn series_bytes(series: &SeriesSamples) -> usize {
    let histograms: usize = series.histograms.iter().map(|(_, h)| histogram_bytes(h)).sum();
    series.len() * 8 + series.starts.len() * 8 + histograms + series.labels.heap_bytes() + 128
}

/// The samples of `series` in the plan's window; `None` where there is none.
fn within(series: SeriesSamples, plan: &FragmentPlan) -> Option<SeriesSamples> {
    let window = plan.window();
    let lo = series.axis.partition_point(|t| *t <= window.after_ms);
    let hi = series.axis.partition_point(|t| *t <= window.upto_ms);
    if lo >= hi {
        return None;
    }
    if (lo, hi) == (0, series.len()) {
        return Some(SeriesSamples { exemplars: Vec::new(), ..series });
    }
    let inside = |(at, _): &&(u32, _)| (*at as usize) >= lo && (*at as usize) < hi;
    let histograms = series.histograms.iter().filter(inside);
    Some(SeriesSamples {
        axis: series.axis[lo..hi].into(),
        floats: series.floats[lo..hi].to_vec(),
        histograms: histograms.map(|(at, h)| (*at - lo as u32, h.clone())).collect(),
        starts: series.starts.get(lo..hi).map(<[i64]>::to_vec).unwrap_or_default(),
        exemplars: Vec::new(),
        labels: series.labels,
        key: series.key,
    })
}
