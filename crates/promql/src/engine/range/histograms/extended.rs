//! `rate`, `increase` and `delta` of histograms between the edges of `anchored` and `smoothed` ranges: what
//! [`super::super::extended`] is for floats.

use std::borrow::Cow;
use std::sync::Arc;

use pando_model::{Histogram, ResetHint};

use super::super::counters::Extrapolation;
use super::super::extended::{ends_of, passed_of};
use super::super::{OneSeries, push_note};
use super::rates::Counter;
use super::{note_interpolated, note_reconciled};
use crate::annotations::{HistogramOperation, Note};
use crate::budget::Ledger;
use crate::engine::histogram::{HistogramSum, divided, interpolated};
use crate::engine::vector::StepVector;
use crate::engine::window::Bound;
use crate::error::QueryError;

impl OneSeries<'_> {
    /// Sets all values that histograms have a part in. Returns the windows that are left to the floats.
    pub(in super::super) fn extended_histograms(
        &self,
        floats: &[Bound],
        histograms: &[Bound],
        out: &mut StepVector,
        notes: &mut Vec<Note>,
        ledger: &mut Ledger,
    ) -> Result<Vec<Bound>, QueryError> {
        let counter = self.counter();
        let mut floats = floats.to_vec();
        for (i, h) in histograms.iter().enumerate().filter(|(_, h)| !h.is_empty()) {
            if floats[i].is_empty() {
                if let Some(h) = self.between_edges(i, *h, &counter, notes) {
                    out.push_histogram(i, Arc::new(h), ledger)?;
                }
            } else {
                self.note_mixed(notes);
                floats[i] = Bound::NONE;
            }
        }
        Ok(floats)
    }

    fn between_edges(
        &self,
        step: usize,
        bound: Bound,
        counter: &Counter,
        notes: &mut Vec<Note>,
    ) -> Option<Histogram> {
        let how = Extrapolation::of(self.call.function);
        let smoothed = self.call.rules.edges.is_smoothed();
        let (start_ms, end_ms) = (self.start_ms(step), self.call.steps.at(step));
        let times = &self.samples.histogram_times[bound.lo()..bound.hi()];
        let (first, last) = ends_of(times, start_ms, end_ms, smoothed)?;
        let (first, last) = (bound.lo() + first, bound.lo() + last);
        self.check_kinds(first, last, how.counter, notes)?;
        let time = |at: usize| self.samples.histogram_times[at];
        let made = smoothed && time(first) < start_ms;
        let left = match made {
            true => self.between(first, start_ms, how.counter, notes)?,
            false => Cow::Borrowed(&*self.samples.histograms[first]),
        };
        let right = match smoothed && last > bound.lo() && time(last) > end_ms {
            true => self.between(last - 1, end_ms, how.counter, notes)?,
            false => Cow::Borrowed(&*self.samples.histograms[last]),
        };
        if !how.counter && [&left, &right].iter().any(|h| h.reset_hint != ResetHint::Gauge) {
            push_note(notes, Note::NotGauge(self.name()));
        }
        let mut rise = HistogramSum::of(&right);
        note_reconciled(rise.subtract(&left).ok()?, HistogramOperation::Subtraction, notes);
        // A left edge across a reset has risen from nothing: what was before counts no more.
        for at in counter.resets_within(first + usize::from(made), last + 1) {
            let lost = rise.add(&self.samples.histograms[at - 1]).ok()?;
            note_reconciled(lost, HistogramOperation::Addition, notes);
        }
        rise.hint = ResetHint::Gauge;
        let rise = rise.finish();
        Some(match how.per_second {
            true => divided(&rise, self.call.range_ms as f64 / 1000.0),
            false => rise,
        })
    }

    /// Says of the histograms from `first` to `last` which are no counters; `None` where exponential and custom
    /// buckets meet.
    fn check_kinds(
        &self,
        first: usize,
        last: usize,
        counter: bool,
        notes: &mut Vec<Note>,
    ) -> Option<()> {
        let custom = self.samples.histograms[first].uses_custom_buckets();
        for h in &self.samples.histograms[first..=last] {
            if h.uses_custom_buckets() != custom {
                self.note_incompatible(notes);
                return None;
            }
            if counter && h.reset_hint == ResetHint::Gauge {
                push_note(notes, Note::NotCounter(self.name()));
            }
        }
        Some(())
    }

    /// The histogram at `t_ms` between the one at position `at` and the next.
    fn between(
        &self,
        at: usize,
        t_ms: i64,
        counter: bool,
        notes: &mut Vec<Note>,
    ) -> Option<Cow<'_, Histogram>> {
        let (times, histograms) = (&self.samples.histogram_times, &self.samples.histograms);
        let (passed, whole) = passed_of(times[at], times[at + 1], t_ms);
        let between =
            interpolated(&histograms[at], &histograms[at + 1], passed / whole, counter).ok()?;
        Some(Cow::Owned(note_interpolated(between, notes)))
    }
}
