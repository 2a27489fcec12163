//! Aggregations that can be merged: one accumulator per group, columns of state over the steps. The same code
//! runs where the data is, where partial states meet, and over intermediate results of the frontend.

mod columns;
mod gathered;
mod grouping;
mod histograms;
mod limited;
pub(crate) mod local;
mod topk;

use pando_model::number::push_plain_float;
use pando_model::{Labels, SampleValue};

pub(crate) use grouping::Grouping;
pub use histograms::HistogramColumn;
pub(crate) use histograms::HistogramFlags;

use super::histogram;
use super::labelset::LabelSetIndex;
use super::vector::StepVector;
use crate::annotations::Note;
use crate::budget::Ledger;
use crate::error::QueryError;
use crate::fragment::{Aggregation, AggregationParam, PartialGroup, PartialState};
use crate::syntax::ast::AggregateOp;
use columns::Columns;
use gathered::Gathered;
use limited::Limited;
use topk::Candidates;

/// An aggregation in progress.
pub(crate) struct Aggregator {
    aggregation: Aggregation,
    grouping: Grouping,
    steps: usize,
    index: LabelSetIndex,
    groups: Vec<Group>,
    /// What there is to say, about the aggregation's argument.
    pub(crate) notes: Vec<Note>,
}

struct Group {
    labels: Labels,
    drop_name: bool,
    state: GroupState,
}

enum GroupState {
    Columns(Columns),
    Candidates(Candidates),
    Limited(Limited),
    Gathered(Gathered),
}

impl GroupState {
    /// Of no series; what it takes is held.
    fn empty(
        aggregation: &Aggregation,
        steps: usize,
        ledger: &mut Ledger,
    ) -> Result<Self, QueryError> {
        use AggregateOp as A;
        Ok(match aggregation.op {
            A::TopK | A::BottomK => {
                ledger.hold(0, Candidates::empty_bytes(steps))?;
                GroupState::Candidates(Candidates::new(aggregation, steps))
            }
            A::LimitK | A::LimitRatio => GroupState::Limited(Limited::new(aggregation, steps)),
            A::Quantile => GroupState::Gathered(Gathered::default()),
            op => {
                // Of a value few steps have any.
                let samples = if op == A::CountValues { 0 } else { steps };
                ledger.hold(samples, Columns::empty_bytes(op, steps))?;
                GroupState::Columns(Columns::new(op, steps))
            }
        })
    }
}

impl Aggregator {
    pub(crate) fn new(aggregation: Aggregation, steps: usize) -> Self {
        let mut grouping = Grouping::new(&aggregation.grouping, aggregation.without);
        if let AggregationParam::Label(label) = &aggregation.param {
            grouping = grouping.with(label);
        }
        let (index, groups, notes) = Default::default();
        Aggregator { aggregation, grouping, steps, index, groups, notes }
    }

    /// One for each of `aggregations`.
    pub(crate) fn all(aggregations: &[Aggregation], steps: usize) -> Vec<Self> {
        aggregations.iter().map(|aggregation| Aggregator::new(aggregation.clone(), steps)).collect()
    }

    /// The place of the group of `labels`. What a new one takes is held before it is made.
    fn group(&mut self, labels: Labels, ledger: &mut Ledger) -> Result<usize, QueryError> {
        let at = self.index.position(&labels);
        if at == self.groups.len() {
            // Its labels are in the index, too.
            ledger.hold(0, 2 * labels.heap_bytes() + size_of::<Group>())?;
            let state = GroupState::empty(&self.aggregation, self.steps, ledger)?;
            self.groups.push(Group { labels, drop_name: false, state });
        }
        Ok(at)
    }

    /// Adds one series of the argument. What is kept of it is held in `ledger`.
    ///
    /// # Errors
    /// A budget, or cancellation.
    pub(crate) fn add(
        &mut self,
        series: &StepVector,
        ledger: &mut Ledger,
    ) -> Result<(), QueryError> {
        if series.is_empty() {
            return Ok(());
        }
        self.note_ignored(series);
        if let AggregationParam::Label(label) = &self.aggregation.param {
            let label = label.clone();
            return self.count_values(&label, series, ledger);
        }
        let labels = self.grouping.labels_of(&series.labels);
        let at = self.group(labels, ledger)?;
        let group = &mut self.groups[at];
        match &mut group.state {
            GroupState::Columns(columns) => {
                group.drop_name |= series.drop_name;
                columns.add(series, ledger)
            }
            GroupState::Candidates(candidates) => candidates.add(series, ledger),
            GroupState::Limited(limited) => limited.add(series, ledger),
            GroupState::Gathered(gathered) => {
                let mut column = series.clone();
                column.histograms.clear();
                column.labels = group.labels.clone();
                gathered.add(column, ledger)
            }
        }
    }

    /// Counts one series under each of its values. A value becomes the label `label` before series are grouped: it may
    /// replace a label of theirs, and `by` keeps it, but `without` may take it away again.
    fn count_values(
        &mut self,
        label: &str,
        series: &StepVector,
        ledger: &mut Ledger,
    ) -> Result<(), QueryError> {
        // Values often stay as they are from step to step.
        let (mut last, mut counted): (Option<(SampleValue, usize)>, usize) = (None, 0);
        for i in series.presence().iter() {
            let Some(value) = series.value(i) else { continue };
            let at = match last.take() {
                Some((before, at)) if same_text(&before, &value) => at,
                _ => {
                    ledger.check_cancel()?;
                    let mut builder = series.labels.to_builder();
                    builder.set(label, &text_of(&value));
                    self.group(self.grouping.labels_of(&builder.build()), ledger)?
                }
            };
            let group = &mut self.groups[at];
            group.drop_name |= series.drop_name;
            if let GroupState::Columns(columns) = &mut group.state {
                counted += usize::from(columns.count(i));
            }
            last = Some((value, at));
        }
        ledger.hold(counted, 0)
    }

    /// Says that histograms are ignored, where they are.
    fn note_ignored(&mut self, series: &StepVector) {
        use AggregateOp as A;
        let op = self.aggregation.op;
        let ignores = matches!(
            op,
            A::Min | A::Max | A::TopK | A::BottomK | A::Stddev | A::Stdvar | A::Quantile
        );
        if !series.histograms.is_empty() && ignores {
            let note = Note::HistogramIgnoredInAggregation(op.as_str().to_string());
            super::range::push_note(&mut self.notes, note);
        }
    }

    /// Adds a partial state of the same aggregation from elsewhere.
    ///
    /// # Errors
    /// A budget, cancellation, or a state that is not one of this aggregation over these steps.
    pub(crate) fn merge(
        &mut self,
        partial: PartialGroup,
        ledger: &mut Ledger,
    ) -> Result<(), QueryError> {
        let wrong = || QueryError::Corrupt {
            what: "partial batch",
            why: "state does not fit the plan".to_string(),
        };
        let labels = match self.aggregation.op.picks_series() {
            true => self.grouping.labels_of(&partial.labels),
            false => partial.labels.clone(),
        };
        let at = self.group(labels, ledger)?;
        let group = &mut self.groups[at];
        match (&mut group.state, partial.state) {
            (GroupState::Columns(columns), state) => {
                group.drop_name |= partial.drop_name;
                if self.aggregation.op == AggregateOp::CountValues {
                    ledger.hold(columns.new_counts(&state), 0)?;
                }
                if !columns.merge(state, ledger)? {
                    return Err(wrong());
                }
            }
            (_, PartialState::Values(values)) if values.values.len() != self.steps => {
                return Err(wrong());
            }
            (GroupState::Candidates(candidates), PartialState::Values(values)) => {
                candidates.add(&values, ledger)?;
            }
            (GroupState::Limited(limited), PartialState::Values(values)) => {
                limited.add(&values, ledger)?;
            }
            (GroupState::Gathered(gathered), PartialState::Values(values))
                if values.histograms.is_empty() =>
            {
                gathered.add(values, ledger)?;
            }
            _ => return Err(wrong()),
        }
        Ok(())
    }

    /// Puts the groups in the order of their labels, whatever order they were seen in. Nothing can be added
    /// afterwards.
    pub(crate) fn sort_groups(&mut self) {
        self.groups.sort_by(|a, b| a.labels.cmp(&b.labels));
    }

    /// How many groups there are.
    pub(crate) fn groups(&self) -> usize {
        self.groups.len()
    }

    /// The state of every group, in the order of their labels, as those of aggregation `number` of a plan.
    ///
    /// # Errors
    /// A budget, or cancellation.
    pub(crate) fn into_partials(
        self,
        number: u32,
        ledger: &mut Ledger,
    ) -> Result<Vec<PartialGroup>, QueryError> {
        let mut out = Vec::with_capacity(self.groups.len());
        for group in self.groups {
            ledger.check_cancel()?;
            let series = match group.state {
                GroupState::Columns(columns) => {
                    let Group { labels, drop_name, .. } = group;
                    let mut state = columns.into_state(labels.clone());
                    if let PartialState::Values(vector) = &mut state {
                        vector.drop_name = drop_name;
                    }
                    out.push(PartialGroup { aggregation: number, labels, drop_name, state });
                    continue;
                }
                GroupState::Candidates(candidates) => candidates.into_series(ledger)?,
                GroupState::Limited(limited) => limited.into_series(ledger),
                GroupState::Gathered(gathered) => gathered.into_columns(),
            };
            out.extend(series.into_iter().map(|v| PartialGroup {
                aggregation: number,
                labels: v.labels.clone(),
                drop_name: v.drop_name,
                state: PartialState::Values(v),
            }));
        }
        out.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(out)
    }

    /// The final vector: groups in the order in which they were first seen. `topk` and `bottomk` give their
    /// series ordered by the value of the first step, so that an instant query's order is right. `quantile` gives all
    /// columns of a group, with equal labels. With them comes all that there is to say.
    ///
    /// # Errors
    /// A budget, or cancellation.
    pub(crate) fn finish(
        self,
        ledger: &mut Ledger,
    ) -> Result<(Vec<StepVector>, Vec<Note>), QueryError> {
        let mut notes = self.notes;
        let mut out = Vec::with_capacity(self.groups.len());
        for group in self.groups {
            ledger.check_cancel()?;
            match group.state {
                GroupState::Columns(columns) => {
                    let mut vector = columns.finish(group.labels, &mut notes);
                    vector.drop_name = group.drop_name;
                    out.push(vector);
                }
                GroupState::Candidates(candidates) => out.extend(candidates.into_ranked(ledger)?),
                GroupState::Limited(limited) => out.extend(limited.into_series(ledger)),
                GroupState::Gathered(gathered) => out.extend(gathered.into_columns()),
            }
        }
        out.retain(|v| !v.is_empty());
        Ok((out, notes))
    }
}

/// Whether two values are known to have one text.
fn same_text(a: &SampleValue, b: &SampleValue) -> bool {
    match (a, b) {
        (SampleValue::Float(a), SampleValue::Float(b)) => a.to_bits() == b.to_bits(),
        (SampleValue::Histogram(a), SampleValue::Histogram(b)) => std::sync::Arc::ptr_eq(a, b),
        _ => false,
    }
}

/// A value as `count_values` writes it: floats without exponent.
fn text_of(value: &SampleValue) -> String {
    match value {
        SampleValue::Float(v) => {
            let mut out = String::new();
            push_plain_float(&mut out, *v);
            out
        }
        SampleValue::Histogram(h) => histogram::text(h),
    }
}
