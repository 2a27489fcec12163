//! `PartialMerge`: the partial results of one fragment from many executors become one result.

use pando_model::{JoinedAxes, SeriesSamples};

use super::execution::{FragmentExecution, series_bytes};
use super::partial::{NoteSite, PartialBatch, PartialGroup, PartialState};
use super::plan::{FragmentPlan, Read};
use super::tally::{LabelHashes, Tally, hash_bytes};
use crate::annotations::{NOTES_MAX, Note};
use crate::budget::{Budget, CancelFlag, Ledger, Pool};
use crate::engine::aggregate::Aggregator;
use crate::engine::labelset::LabelSetIndex;
use crate::engine::queryable::StepSamples;
use crate::engine::vector::{StepVector, same_labelset, size_of_vector};
use crate::error::QueryError;

/// The merged result of one fragment: what [`crate::Query::evaluate`] takes.
#[derive(Clone, Debug, Default)]
pub struct FragmentResult {
    /// Of each aggregation of the plan one column per group, over the fragment's steps, in the order of their labels;
    /// where there is none, of all series once.
    pub(crate) series: Vec<Vec<StepVector>>,
    /// The samples of a raw fragment, in the order of their labels.
    pub(crate) raw: Vec<SeriesSamples>,
    /// What the executors said.
    pub(crate) notes: Vec<(NoteSite, Note)>,
    /// The samples that each step looked at, where the plan asks for it.
    pub(crate) step_samples: StepSamples,
    /// What the labels were that series have lost, where two of them may be refused for it: compared with those of other
    /// steps.
    pub(crate) label_hashes: LabelHashes,
}

impl FragmentResult {
    /// The result of all of a fragment's steps: nothing is left to compare it with.
    #[must_use]
    pub fn of_all_steps(self) -> Self {
        FragmentResult { label_hashes: LabelHashes::default(), ..self }
    }

    /// Its samples and bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        let columns = self.series.iter().map(|series| size_of_vector(series));
        let counts = (0, size_of_val(&self.step_samples[..]) + hash_bytes(&self.label_hashes));
        columns.chain([size_of_raw(&self.raw), counts]).fold((0, 0), plus)
    }

    /// The parts of it that the uses of each aggregation need.
    pub(crate) fn apart(self) -> Vec<FragmentOutput> {
        let FragmentResult { series, raw, notes, step_samples, label_hashes: _ } = self;
        let notes_cut = notes.len() >= NOTES_MAX;
        let of = |number: u32| {
            let own = |(site, _): &&(NoteSite, Note)| match site {
                NoteSite::Function => true,
                NoteSite::Aggregation(of) => *of == number,
            };
            notes.iter().filter(own).cloned().collect()
        };
        let mut outputs: Vec<FragmentOutput> = (0..)
            .zip(series)
            .map(|(number, series)| FragmentOutput {
                series,
                raw: Vec::new(),
                notes: of(number),
                notes_cut,
                step_samples: step_samples.clone(),
            })
            .collect();
        if let Some(first) = outputs.first_mut() {
            first.raw = raw;
        }
        outputs
    }
}

/// What one aggregation of a fragment has come to, or all that was read where there is none.
#[derive(Clone, Debug, Default)]
pub(crate) struct FragmentOutput {
    pub(crate) series: Vec<StepVector>,
    pub(crate) raw: Vec<SeriesSamples>,
    pub(crate) notes: Vec<(NoteSite, Note)>,
    /// Whether there are, or may have been, more of the fragment's.
    pub(crate) notes_cut: bool,
    pub(crate) step_samples: StepSamples,
}

impl FragmentOutput {
    /// Its samples and bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        plus(size_of_vector(&self.series), size_of_raw(&self.raw))
    }
}

fn size_of_raw(raw: &[SeriesSamples]) -> (usize, usize) {
    raw.iter().map(|series| (series.len(), series_bytes(series))).fold((0, 0), plus)
}

fn plus(a: (usize, usize), b: (usize, usize)) -> (usize, usize) {
    (a.0 + b.0, a.1 + b.1)
}

/// Merges partial results as they come. For answers that are equal to the last bit push the batches of several
/// executors in a fixed order; any order is right.
pub struct PartialMerge {
    plan: FragmentPlan,
    budget: Budget,
    cancel: CancelFlag,
    ledger: Ledger,
    output: Output,
    /// Raw series, of a raw fragment or of executors that could not run the plan.
    raw: RawSeries,
    tally: Tally,
}

/// Series in parts, as executors have sent them.
#[derive(Default)]
struct RawSeries {
    parts: Vec<Vec<SeriesSamples>>,
    index: LabelSetIndex,
    /// Their samples and bytes.
    held: (usize, usize),
}

impl RawSeries {
    fn push(&mut self, series: SeriesSamples, ledger: &mut Ledger) -> Result<(), QueryError> {
        let (samples, bytes) = (series.len(), series_bytes(&series));
        ledger.hold(samples, bytes)?;
        self.held = (self.held.0 + samples, self.held.1 + bytes);
        let at = self.index.position(&series.labels);
        if at == self.parts.len() {
            self.parts.push(Vec::new());
        }
        self.parts[at].push(series);
        Ok(())
    }

    /// Whole series, in the order of their labels.
    fn joined(self) -> Vec<SeriesSamples> {
        let mut axes = JoinedAxes::default();
        let join = |parts| SeriesSamples::join(parts, &mut axes);
        let mut series: Vec<SeriesSamples> = self.parts.into_iter().filter_map(join).collect();
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        series
    }
}

enum Output {
    Aggregated(Vec<Aggregator>),
    Series { index: LabelSetIndex, series: Vec<StepVector> },
}

impl PartialMerge {
    /// Begins to merge results of `plan`.
    pub fn new(plan: FragmentPlan, budget: Budget, cancel: CancelFlag) -> Self {
        let output = match (&plan.read, &plan.aggregations[..]) {
            (Read::Raw { .. }, _) | (_, []) => {
                Output::Series { index: LabelSetIndex::default(), series: Vec::new() }
            }
            (_, all) => Output::Aggregated(Aggregator::all(all, plan.steps.len())),
        };
        PartialMerge {
            tally: Tally::new(&plan),
            plan,
            budget,
            cancel: cancel.clone(),
            ledger: Ledger::new(budget, cancel),
            output,
            raw: RawSeries::default(),
        }
    }

    /// The same, with its budget shared by all that is in `pool`.
    #[must_use]
    pub fn in_pool(self, pool: &Pool) -> Self {
        PartialMerge { ledger: self.ledger.in_pool(pool), ..self }
    }

    /// Adds a batch of an executor that ran the whole plan (or its [`FragmentPlan::raw`] form).
    ///
    /// # Errors
    /// A budget, cancellation, "same labelset", or a batch that does not fit the plan.
    pub fn push(&mut self, batch: PartialBatch) -> Result<(), QueryError> {
        self.ledger.check_cancel()?;
        let PartialBatch { groups, raw, label_hashes, notes, step_samples } = batch;
        self.tally.absorb(notes, label_hashes, &step_samples, &mut self.ledger)?;
        for series in raw {
            self.raw.push(series, &mut self.ledger)?;
        }
        for group in groups {
            self.push_group(group)?;
        }
        Ok(())
    }

    fn push_group(&mut self, group: PartialGroup) -> Result<(), QueryError> {
        let (kept, index) = match &mut self.output {
            Output::Aggregated(aggregators) => {
                let number = group.aggregation;
                let Some(aggregator) = aggregators.get_mut(number as usize) else {
                    let why = format!("aggregation={number} aggregations={}", aggregators.len());
                    return Err(QueryError::Corrupt { what: "partial batch", why });
                };
                aggregator.merge(group, &mut self.ledger)?;
                return self.ledger.check_series(aggregator.groups() as u64);
            }
            Output::Series { index, series } => (series, index),
        };
        let PartialState::Values(vector) = group.state else {
            let why = "aggregated state for a plan without aggregation".to_string();
            return Err(QueryError::Corrupt { what: "partial batch", why });
        };
        let steps = self.plan.steps.len();
        if vector.values.len() != steps {
            let why = format!("steps={} plan_steps={steps}", vector.values.len());
            return Err(QueryError::Corrupt { what: "partial batch", why });
        }
        self.ledger.hold(vector.samples(), vector.bytes())?;
        let at = index.position(&vector.labels);
        if at == kept.len() {
            kept.push(vector);
            return Ok(());
        }
        let labels = vector.labels.clone();
        match !self.plan.refuses_equal_labels() && kept[at].absorb(vector) {
            true => Ok(()),
            false if self.plan.is_nameless() => Err(same_labelset()),
            false => {
                let message = format!("two executors answered for one series: series={labels}");
                Err(QueryError::Internal(message))
            }
        }
    }

    /// The merged result.
    ///
    /// # Errors
    /// As [`PartialMerge::push`].
    pub fn finish(mut self) -> Result<FragmentResult, QueryError> {
        let held = self.raw.held;
        let mut raw = std::mem::take(&mut self.raw).joined();
        if !raw.is_empty() && !matches!(self.plan.read, Read::Raw { .. }) {
            let mut execution =
                FragmentExecution::new(self.plan.clone(), self.budget, self.cancel.clone());
            if let Some(pool) = self.ledger.pool() {
                execution = execution.in_pool(pool);
            }
            // The execution holds the batch that it is given.
            self.ledger.release(held.0, held.1);
            execution.push_batch(std::mem::take(&mut raw))?;
            for batch in execution.finish()? {
                self.push(batch)?;
            }
        }
        let series = match self.output {
            Output::Aggregated(aggregators) => {
                let mut all = Vec::with_capacity(aggregators.len());
                for (number, mut aggregator) in (0..).zip(aggregators) {
                    aggregator.sort_groups();
                    let (series, notes) = aggregator.finish(&mut self.ledger)?;
                    for note in notes {
                        self.tally.note(NoteSite::Aggregation(number), note);
                    }
                    all.push(series);
                }
                all
            }
            Output::Series { mut series, .. } => {
                series.sort_by(|a, b| a.labels.cmp(&b.labels));
                vec![series]
            }
        };
        let (notes, label_hashes, step_samples) = self.tally.into_parts();
        Ok(FragmentResult { series, raw, notes, step_samples, label_hashes })
    }
}
