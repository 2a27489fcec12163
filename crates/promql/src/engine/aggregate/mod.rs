//! Aggregations that can be merged: one accumulator per group, columns of state over the steps. The same code
//! runs where the data is, where partial states meet, and over intermediate results of the frontend.

mod columns;
mod grouping;
mod histograms;
pub(crate) mod local;
mod topk;

use pando_model::Labels;

pub(crate) use grouping::Grouping;
pub use histograms::HistogramColumn;
pub(crate) use histograms::HistogramFlags;

use super::labelset::LabelSetIndex;
use super::vector::StepVector;
use crate::annotations::Note;
use crate::budget::Ledger;
use crate::error::QueryError;
use crate::fragment::{Aggregation, PartialGroup, PartialState};
use crate::syntax::ast::AggregateOp;
use columns::Columns;
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
}

impl Aggregator {
    pub(crate) fn new(aggregation: Aggregation, steps: usize) -> Self {
        let grouping = Grouping::new(&aggregation.grouping, aggregation.without);
        let (index, groups, notes) = Default::default();
        Aggregator { aggregation, grouping, steps, index, groups, notes }
    }

    /// The place of the group of `labels`. What a new one takes is held before it is made.
    fn group(&mut self, labels: Labels, ledger: &mut Ledger) -> Result<usize, QueryError> {
        let at = self.index.position(&labels);
        if at == self.groups.len() {
            let (op, steps) = (self.aggregation.op, self.steps);
            // Its labels are in the index, too.
            let own = 2 * labels.heap_bytes() + size_of::<Group>();
            let state = if op.picks_series() {
                ledger.hold(0, Candidates::empty_bytes(steps) + own)?;
                GroupState::Candidates(Candidates::new(&self.aggregation, steps))
            } else {
                ledger.hold(steps, Columns::empty_bytes(op, steps) + own)?;
                GroupState::Columns(Columns::new(op, steps))
            };
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
        let labels = self.grouping.labels_of(&series.labels);
        let at = self.group(labels, ledger)?;
        let group = &mut self.groups[at];
        match &mut group.state {
            GroupState::Columns(columns) => {
                group.drop_name |= series.drop_name;
                columns.add(series, ledger)
            }
            GroupState::Candidates(candidates) => candidates.add(series, ledger),
        }
    }

    /// Says that histograms are ignored, where they are.
    fn note_ignored(&mut self, series: &StepVector) {
        use AggregateOp as A;
        let op = self.aggregation.op;
        if !series.histograms.is_empty() && !matches!(op, A::Count | A::Group | A::Sum | A::Avg) {
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
        let picks = self.aggregation.op.picks_series();
        let labels = match picks {
            true => self.grouping.labels_of(&partial.labels),
            false => partial.labels.clone(),
        };
        let at = self.group(labels, ledger)?;
        let group = &mut self.groups[at];
        match (&mut group.state, partial.state) {
            (GroupState::Candidates(candidates), PartialState::Values(values)) => {
                if values.values.len() != self.steps {
                    return Err(wrong());
                }
                candidates.add(&values, ledger)?;
            }
            (GroupState::Columns(columns), state) => {
                group.drop_name |= partial.drop_name;
                if !columns.merge(state, ledger)? {
                    return Err(wrong());
                }
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

    /// The state of every group, in the order of their labels.
    ///
    /// # Errors
    /// A budget, or cancellation.
    pub(crate) fn into_partials(
        self,
        ledger: &mut Ledger,
    ) -> Result<Vec<PartialGroup>, QueryError> {
        let mut out = Vec::with_capacity(self.groups.len());
        for group in self.groups {
            ledger.check_cancel()?;
            match group.state {
                GroupState::Columns(columns) => {
                    let Group { labels, drop_name, .. } = group;
                    let mut state = columns.into_state(labels.clone());
                    if let PartialState::Values(vector) = &mut state {
                        vector.drop_name = drop_name;
                    }
                    out.push(PartialGroup { labels, drop_name, state });
                }
                GroupState::Candidates(candidates) => {
                    let series = candidates.into_series(ledger)?;
                    out.extend(series.into_iter().map(|v| PartialGroup {
                        labels: v.labels.clone(),
                        drop_name: v.drop_name,
                        state: PartialState::Values(v),
                    }));
                }
            }
        }
        out.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(out)
    }

    /// The final vector: groups in the order in which they were first seen. `topk` and `bottomk` give their
    /// series ordered by the value of the first step, so that an instant query's order is right. With them comes
    /// all that there is to say.
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
            }
        }
        out.retain(|v| !v.is_empty());
        Ok((out, notes))
    }
}
