//! `PartialMerge`: the partial results of one fragment from many executors become one result.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use pando_model::{JoinedAxes, Labels, SeriesSamples};
use rapidhash::RapidHashSet;

use super::execution::{FragmentExecution, HASH_BYTES, add_note, series_bytes};
use super::partial::{NoteSite, PartialBatch, PartialGroup, PartialState};
use super::plan::{FragmentPlan, Read};
use crate::annotations::Note;
use crate::budget::{Budget, CancelFlag, Ledger};
use crate::engine::aggregate::Aggregator;
use crate::engine::labelset::LabelSetIndex;
use crate::engine::queryable::StepSamples;
use crate::engine::vector::{StepVector, same_labelset};
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
}

impl FragmentResult {
    /// The parts of it that the uses of each aggregation need.
    pub(crate) fn apart(self) -> Vec<FragmentOutput> {
        let FragmentResult { series, raw, notes, step_samples } = self;
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
    pub(crate) step_samples: StepSamples,
}

/// Merges partial results as they come. For answers that are equal to the last bit push the batches of several
/// executors in a fixed order; any order is right.
pub struct PartialMerge {
    plan: FragmentPlan,
    budget: Budget,
    cancel: CancelFlag,
    ledger: Ledger,
    output: Output,
    /// Raw series, of a raw fragment or of executors that could not run the plan: those of each part of the steps, by its
    /// first one and their number.
    raw: BTreeMap<(usize, usize), RawSeries>,
    hashes: RapidHashSet<(usize, u64)>,
    notes: BTreeSet<(NoteSite, Note)>,
    step_samples: StepSamples,
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
    Series { index: LabelSetIndex, series: Vec<StepVector>, seen: RapidHashSet<(usize, Labels)> },
}

impl PartialMerge {
    /// Begins to merge results of `plan`.
    pub fn new(plan: FragmentPlan, budget: Budget, cancel: CancelFlag) -> Self {
        let output = match (&plan.read, &plan.aggregations[..]) {
            (Read::Raw { .. }, _) | (_, []) => Output::Series {
                index: LabelSetIndex::default(),
                series: Vec::new(),
                seen: RapidHashSet::default(),
            },
            (_, all) => Output::Aggregated(Aggregator::all(all, plan.steps.len())),
        };
        let counted = if plan.count_samples { plan.steps.len() } else { 0 };
        PartialMerge {
            step_samples: vec![0; counted],
            plan,
            budget,
            cancel: cancel.clone(),
            ledger: Ledger::new(budget, cancel),
            output,
            raw: BTreeMap::new(),
            hashes: RapidHashSet::default(),
            notes: BTreeSet::new(),
        }
    }

    /// Adds a batch of an executor that ran the whole plan (or its [`FragmentPlan::raw`] form).
    ///
    /// # Errors
    /// A budget, cancellation, "same labelset", or a batch that does not fit the plan.
    pub fn push(&mut self, batch: PartialBatch) -> Result<(), QueryError> {
        self.push_part(0..self.plan.steps.len(), batch)
    }

    /// Adds a batch of an executor that ran the plan with the part `steps` of its steps alone
    /// ([`FragmentPlan::with_steps`]), or the raw form of that. All executors are asked for the same parts.
    ///
    /// # Errors
    /// As [`PartialMerge::push`].
    pub fn push_part(
        &mut self,
        steps: Range<usize>,
        batch: PartialBatch,
    ) -> Result<(), QueryError> {
        let first_step = steps.start;
        self.ledger.check_cancel()?;
        for (site, note) in batch.notes {
            add_note(&mut self.notes, site, note);
        }
        let counted = self.step_samples.iter_mut().skip(first_step);
        counted.zip(&batch.step_samples).for_each(|(all, more)| *all = all.saturating_add(*more));
        self.ledger.hold(0, batch.label_hashes.len().saturating_mul(HASH_BYTES))?;
        for hash in batch.label_hashes {
            if !self.hashes.insert((first_step, hash)) {
                return Err(same_labelset());
            }
        }
        if !batch.raw.is_empty() {
            // Samples that are asked for are one result; what stands for a part's result is evaluated part by part.
            let part = match self.plan.read {
                Read::Raw { .. } => (0, self.plan.steps.len()),
                _ => (first_step, steps.len()),
            };
            let raw = self.raw.entry(part).or_default();
            for series in batch.raw {
                raw.push(series, &mut self.ledger)?;
            }
        }
        for group in batch.groups {
            let group = group.widened(first_step, self.plan.steps.len())?;
            self.push_group(first_step, group)?;
        }
        Ok(())
    }

    fn push_group(&mut self, first_step: usize, group: PartialGroup) -> Result<(), QueryError> {
        let (kept, index, seen) = match &mut self.output {
            Output::Aggregated(aggregators) => {
                let number = group.aggregation;
                let Some(aggregator) = aggregators.get_mut(number as usize) else {
                    let why = format!("aggregation={number} aggregations={}", aggregators.len());
                    return Err(QueryError::Corrupt { what: "partial batch", why });
                };
                aggregator.merge(group, &mut self.ledger)?;
                return self.ledger.check_series(aggregator.groups() as u64);
            }
            Output::Series { index, series, seen } => (series, index, seen),
        };
        let PartialState::Values(vector) = group.state else {
            let why = "aggregated state for a plan without aggregation".to_string();
            return Err(QueryError::Corrupt { what: "partial batch", why });
        };
        self.ledger.hold(vector.samples(), vector.bytes())?;
        let named = !self.plan.drops_name() || self.plan.delayed_name_removal;
        if !named && !seen.insert((first_step, vector.labels.clone())) {
            return Err(same_labelset());
        }
        let at = index.position(&vector.labels);
        if at == kept.len() {
            kept.push(vector);
        } else {
            let labels = vector.labels.clone();
            if !kept[at].absorb(vector) {
                let message = format!("two executors answered for one series: series={labels}");
                return Err(QueryError::Internal(message));
            }
        }
        Ok(())
    }

    /// The merged result.
    ///
    /// # Errors
    /// As [`PartialMerge::push`].
    pub fn finish(mut self) -> Result<FragmentResult, QueryError> {
        let mut raw = Vec::new();
        for ((first, count), series) in std::mem::take(&mut self.raw) {
            if matches!(self.plan.read, Read::Raw { .. }) {
                raw = series.joined();
                continue;
            }
            let plan = self.plan.with_steps(first, count).ok_or_else(|| QueryError::Corrupt {
                what: "partial batch",
                why: format!("steps={first}+{count} plan_steps={}", self.plan.steps.len()),
            })?;
            let held = series.held;
            let mut execution = FragmentExecution::new(plan, self.budget, self.cancel.clone());
            execution.push_batch(series.joined())?;
            self.ledger.release(held.0, held.1);
            for batch in execution.finish()? {
                self.push_part(first..first + count, batch)?;
            }
        }
        let series = match self.output {
            Output::Aggregated(aggregators) => {
                let mut all = Vec::with_capacity(aggregators.len());
                for (number, mut aggregator) in (0..).zip(aggregators) {
                    aggregator.sort_groups();
                    let (series, notes) = aggregator.finish(&mut self.ledger)?;
                    for note in notes {
                        add_note(&mut self.notes, NoteSite::Aggregation(number), note);
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
        let notes = self.notes.into_iter().collect();
        Ok(FragmentResult { series, raw, notes, step_samples: self.step_samples })
    }
}

impl PartialGroup {
    /// The group with its state moved to `first_step` of `steps` steps.
    fn widened(self, first_step: usize, steps: usize) -> Result<PartialGroup, QueryError> {
        let len = match &self.state {
            PartialState::Values(v) => v.values.len(),
            PartialState::Sum { sum, .. } => sum.len(),
            PartialState::Avg { value, .. } => value.len(),
            PartialState::Count { count } | PartialState::Spread { count, .. } => count.len(),
        };
        if (first_step, len) == (0, steps) {
            return Ok(self);
        }
        if first_step.checked_add(len).is_none_or(|end| end > steps) {
            let why = format!("steps={len} first_step={first_step} plan_steps={steps}");
            return Err(QueryError::Corrupt { what: "partial batch", why });
        }
        let column = |values: Vec<f64>| {
            let mut out = vec![0.0; steps];
            out[first_step..first_step + values.len().min(len)]
                .copy_from_slice(&values[..values.len().min(len)]);
            out
        };
        let bits = |map: &crate::engine::bitmap::Bitmap| {
            let mut out = crate::engine::bitmap::Bitmap::zeros(steps);
            map.iter().for_each(|i| out.set(first_step + i));
            out
        };
        let state = match self.state {
            PartialState::Values(v) => {
                let shift = |(i, h)| (i + first_step as u32, h);
                PartialState::Values(StepVector {
                    present: bits(&v.present),
                    values: column(v.values),
                    histograms: v.histograms.into_iter().map(shift).collect(),
                    labels: v.labels,
                    drop_name: v.drop_name,
                })
            }
            PartialState::Sum { sum, compensation, present, histograms } => PartialState::Sum {
                sum: column(sum),
                compensation: column(compensation),
                present: bits(&present),
                histograms: histograms.shifted(first_step as u32),
            },
            PartialState::Avg { value, compensation, count, incremental, histograms } => {
                PartialState::Avg {
                    value: column(value),
                    compensation: column(compensation),
                    count: column(count),
                    incremental: bits(&incremental),
                    histograms: histograms.shifted(first_step as u32),
                }
            }
            PartialState::Count { count } => PartialState::Count { count: column(count) },
            PartialState::Spread { mean, squares, count } => PartialState::Spread {
                mean: column(mean),
                squares: column(squares),
                count: column(count),
            },
        };
        Ok(PartialGroup { state, ..self })
    }
}
