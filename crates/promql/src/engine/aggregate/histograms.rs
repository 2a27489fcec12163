//! `HistogramColumn`: what `sum` and `avg` know of the histograms of one group, step by step.
//!
//! Whatever order histograms come in and however they are split over executors, the outcome is the same, up to the
//! order of float additions, as long as no step has more than [`LAYOUTS_MAX`] layouts. A state holds everything that
//! the answer and its annotations depend on, and only the last one speaks. Layouts (schema, zero bucket, custom
//! bounds) are reconciled last too, in an order of their own: how wide a zero bucket becomes depends on what it meets
//! first.

use std::collections::BTreeMap;
use std::sync::Arc;

use pando_model::{Histogram, ResetHint};

use crate::annotations::{HistogramOperation, Note};
use crate::budget::Ledger;
use crate::engine::bitmap::Bitmap;
use crate::engine::histogram::{Added, HistogramMean, Incompatible};
use crate::engine::range::push_note;
use crate::engine::vector::StepVector;
use crate::error::QueryError;

/// The histograms of one group, at the steps that have any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistogramColumn {
    /// The greatest name of the metrics that they come from, for annotations.
    pub(crate) name: String,
    pub(crate) states: BTreeMap<u32, HistogramState>,
}

/// How many layouts one step keeps apart; scraped histograms have one or two. Further ones join the last.
const LAYOUTS_MAX: usize = 8;

/// The histograms of one step: the mean of each layout, never none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct HistogramState {
    pub(crate) layouts: Vec<HistogramMean>,
    pub(crate) flags: HistogramFlags,
}

/// What happened on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HistogramFlags {
    /// Exponential and custom buckets met: there is no result.
    pub(crate) incompatible: bool,
    /// Custom bounds differed.
    pub(crate) reconciled: bool,
    /// A histogram followed a counter reset.
    pub(crate) reset: bool,
    /// A histogram is known to follow none.
    pub(crate) not_reset: bool,
}

impl HistogramFlags {
    fn of(h: &Histogram) -> Self {
        HistogramFlags {
            reset: h.reset_hint == ResetHint::Reset,
            not_reset: h.reset_hint == ResetHint::NotReset,
            ..HistogramFlags::default()
        }
    }

    fn join(&mut self, other: HistogramFlags) {
        self.incompatible |= other.incompatible;
        self.reconciled |= other.reconciled;
        self.reset |= other.reset;
        self.not_reset |= other.not_reset;
    }
}

impl HistogramState {
    fn add(&mut self, h: &Histogram, average: bool) {
        self.flags.join(HistogramFlags::of(h));
        let full = self.layouts.len() >= LAYOUTS_MAX;
        let known = self.layouts.iter().position(|mean| mean.sum.has_layout_of(h));
        let added = match known.or(full.then_some(LAYOUTS_MAX - 1)) {
            Some(at) if average => self.layouts[at].add(h),
            Some(at) => self.layouts[at].sum.add(h),
            None => return self.push(HistogramMean::of(h)),
        };
        self.settle(added);
    }

    fn merge(&mut self, other: HistogramState, average: bool) {
        self.flags.join(other.flags);
        for mean in other.layouts {
            let full = self.layouts.len() >= LAYOUTS_MAX;
            let same = |kept: &HistogramMean| kept.sum.layout_order(&mean.sum).is_eq();
            let known = self.layouts.iter().position(same);
            let added = match known.or(full.then_some(LAYOUTS_MAX - 1)) {
                Some(at) => merge(&mut self.layouts[at], mean, average),
                None => {
                    self.push(mean);
                    continue;
                }
            };
            self.settle(added);
        }
    }

    /// Mostly there is one: no room for more.
    fn push(&mut self, mean: HistogramMean) {
        self.layouts.reserve_exact(1);
        self.layouts.push(mean);
    }

    /// Bytes held, with its place among the states.
    fn bytes(&self) -> usize {
        let layouts: usize = self.layouts.iter().map(HistogramMean::bytes).sum();
        size_of::<(u32, HistogramState)>() + layouts
    }

    fn settle(&mut self, added: Result<Added, Incompatible>) {
        match added {
            Ok(added) => self.flags.reconciled |= added.reconciled,
            Err(Incompatible) => self.flags.incompatible = true,
        }
    }

    /// The result, and what happened on the way to it.
    fn finish(mut self, average: bool) -> (Option<Histogram>, HistogramFlags) {
        self.layouts.sort_by(|a, b| a.sum.layout_order(&b.sum));
        let mut layouts = std::mem::take(&mut self.layouts).into_iter();
        let mut all = layouts.next();
        for mean in layouts {
            if let Some(all) = &mut all {
                let added = merge(all, mean, average);
                self.settle(added);
            }
        }
        let finish = |all: HistogramMean| if average { all.finish() } else { all.sum.finish() };
        let result = all.filter(|_| !self.flags.incompatible).map(finish);
        (result, self.flags)
    }
}

fn merge(
    into: &mut HistogramMean,
    mean: HistogramMean,
    average: bool,
) -> Result<Added, Incompatible> {
    if average { into.merge(mean) } else { into.sum.merge(mean.sum) }
}

impl HistogramColumn {
    /// Whether no step has a histogram.
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.states.values().map(HistogramState::bytes).sum()
    }

    /// The last step that has any.
    pub(crate) fn last_step(&self) -> Option<u32> {
        self.states.keys().next_back().copied()
    }

    /// Adds the histograms of a series; `average` for a mean that never overflows.
    pub(super) fn add(
        &mut self,
        series: &StepVector,
        average: bool,
        ledger: &mut Ledger,
    ) -> Result<(), QueryError> {
        if series.histograms.is_empty() {
            return Ok(());
        }
        self.rename(series.labels.metric_name());
        for (step, h) in &series.histograms {
            self.change(*step, ledger, |state| state.add(h, average))?;
        }
        Ok(())
    }

    /// Adds the histograms of another part of the group.
    pub(super) fn merge(
        &mut self,
        other: HistogramColumn,
        average: bool,
        ledger: &mut Ledger,
    ) -> Result<(), QueryError> {
        if other.is_empty() {
            return Ok(());
        }
        self.rename(&other.name);
        for (step, more) in other.states {
            self.change(step, ledger, |state| state.merge(more, average))?;
        }
        Ok(())
    }

    /// Changes the state of one step, and holds what it has grown by.
    fn change(
        &mut self,
        step: u32,
        ledger: &mut Ledger,
        change: impl FnOnce(&mut HistogramState),
    ) -> Result<(), QueryError> {
        let mut before = 0;
        let state = self.states.entry(step).and_modify(|known| before = known.bytes()).or_default();
        change(state);
        let (samples, after) = (usize::from(before == 0), state.bytes());
        ledger.release(0, before.saturating_sub(after));
        ledger.hold(samples, after.saturating_sub(before))
    }

    fn rename(&mut self, name: &str) {
        if *name > *self.name {
            self.name = name.to_string();
        }
    }

    /// Puts the results into `out`, whose floats are there already. A step that has both has no result.
    pub(super) fn finish(self, average: bool, out: &mut StepVector, notes: &mut Vec<Note>) {
        let mut mixed = Bitmap::zeros(out.present.len());
        for (step, state) in self.states {
            if out.present.get(step as usize) {
                mixed.set(step as usize);
                push_note(notes, Note::MixedInAggregation);
                continue;
            }
            let (result, flags) = state.finish(average);
            if flags.reconciled {
                push_note(notes, Note::MismatchedCustomBuckets(HistogramOperation::Aggregation));
            }
            if flags.incompatible {
                push_note(notes, Note::MixedExponentialCustom(self.name.clone()));
            } else if flags.reset && flags.not_reset {
                push_note(notes, Note::CounterResetCollision(HistogramOperation::Aggregation));
            }
            out.histograms.extend(result.map(|h| (step, Arc::new(h))));
        }
        out.present.subtract(&mixed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{Budget, CancelFlag};
    use pando_model::{Labels, Span};

    fn series(schema: i32, buckets: usize) -> StepVector {
        let h = Histogram {
            schema,
            count: buckets as f64,
            positive_spans: vec![Span { offset: 0, length: buckets as u32 }],
            positive_buckets: vec![1.0; buckets],
            ..Histogram::default()
        };
        let mut out = StepVector::empty(Labels::empty(), 4);
        out.histograms = [0, 2].map(|step| (step, Arc::new(h.clone()))).to_vec();
        out
    }

    #[test]
    fn what_is_held_is_what_the_states_take() {
        let mut ledger = Ledger::new(Budget::default(), CancelFlag::new());
        let mut column = HistogramColumn::default();
        for (schema, buckets, average) in
            [(0, 3, true), (0, 100, true), (2, 50, true), (1, 7, false)]
        {
            column.add(&series(schema, buckets), average, &mut ledger).expect("within");
            assert_eq!(ledger.mark().bytes, column.bytes() as u64);
        }
        assert_eq!(ledger.mark().samples, 2);
        let mut other = HistogramColumn::default();
        other.merge(column.clone(), true, &mut ledger).expect("within");
        assert_eq!(ledger.mark().bytes, (column.bytes() + other.bytes()) as u64);
        // At least the structs, and each cell with its index and compensation.
        let cells = 2 * (100 + 50 + 7);
        let least = 6 * size_of::<HistogramMean>() + cells * size_of::<(i32, f64, f64)>();
        assert!(column.bytes() >= least, "{} {least}", column.bytes());
    }
}
