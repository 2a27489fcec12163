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

    fn group(&mut self, labels: Labels) -> usize {
        let at = self.index.position(&labels);
        if at == self.groups.len() {
            let state = match self.aggregation.op {
                AggregateOp::TopK | AggregateOp::BottomK => {
                    GroupState::Candidates(Candidates::new(&self.aggregation, self.steps))
                }
                op => GroupState::Columns(Columns::new(op, self.steps)),
            };
            self.groups.push(Group { labels, drop_name: false, state });
        }
        at
    }

    /// Adds one series of the argument.
    pub(crate) fn add(&mut self, series: &StepVector) {
        if series.is_empty() {
            return;
        }
        self.note_ignored(series);
        let labels = self.grouping.labels_of(&series.labels);
        let at = self.group(labels);
        let group = &mut self.groups[at];
        match &mut group.state {
            GroupState::Columns(columns) => {
                group.drop_name |= series.drop_name;
                columns.add(series);
            }
            GroupState::Candidates(candidates) => candidates.add(series),
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
    /// Where the state is not one of this aggregation over these steps.
    pub(crate) fn merge(&mut self, partial: PartialGroup) -> Result<(), QueryError> {
        let wrong = || QueryError::Corrupt {
            what: "partial batch",
            why: "state does not fit the plan".to_string(),
        };
        let picks = self.aggregation.op.picks_series();
        let labels = match picks {
            true => self.grouping.labels_of(&partial.labels),
            false => partial.labels.clone(),
        };
        let at = self.group(labels);
        let group = &mut self.groups[at];
        match (&mut group.state, partial.state) {
            (GroupState::Candidates(candidates), PartialState::Values(values)) => {
                if values.values.len() != self.steps {
                    return Err(wrong());
                }
                candidates.add(&values);
            }
            (GroupState::Columns(columns), state) => {
                group.drop_name |= partial.drop_name;
                if !columns.merge(state) {
                    return Err(wrong());
                }
            }
            _ => return Err(wrong()),
        }
        Ok(())
    }

    /// Step values held so far.
    pub(crate) fn samples(&self) -> usize {
        let held = |g: &Group| match &g.state {
            GroupState::Columns(columns) => self.steps + columns.histogram_size(),
            GroupState::Candidates(c) => c.samples(),
        };
        self.groups.iter().map(held).sum()
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
    pub(crate) fn into_partials(self) -> Vec<PartialGroup> {
        let mut out = Vec::with_capacity(self.groups.len());
        for group in self.groups {
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
                    out.extend(candidates.into_series().into_iter().map(|v| PartialGroup {
                        labels: v.labels.clone(),
                        drop_name: v.drop_name,
                        state: PartialState::Values(v),
                    }));
                }
            }
        }
        out.sort_by(|a, b| a.labels.cmp(&b.labels));
        out
    }

    /// The final vector: groups in the order in which they were first seen. `topk` and `bottomk` give their
    /// series ordered by the value of the first step, so that an instant query's order is right. With them comes
    /// all that there is to say.
    pub(crate) fn finish(self) -> (Vec<StepVector>, Vec<Note>) {
        let mut notes = self.notes;
        let mut out = Vec::with_capacity(self.groups.len());
        for group in self.groups {
            match group.state {
                GroupState::Columns(columns) => {
                    let mut vector = columns.finish(group.labels, &mut notes);
                    vector.drop_name = group.drop_name;
                    out.push(vector);
                }
                GroupState::Candidates(candidates) => out.extend(candidates.into_ranked()),
            }
        }
        out.retain(|v| !v.is_empty());
        (out, notes)
    }
}
