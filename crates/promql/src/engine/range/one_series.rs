//! A range function over one series: the windows of its floats, and what there is to say of it.

use std::sync::Arc;

use pando_model::SeriesSamples;

use super::counters::{self, Extrapolation};
use super::resets::Resets;
use super::starts::{Started, any_within};
use super::{
    AxisRates, Edges, FloatWindow, RangeCall, RangeFunction, overtime, push_note, regression,
};
use crate::annotations::Note;
use crate::budget::{CancelFlag, Ledger, STEPS_PER_CHECK};
use crate::engine::samples::{Course, Samples};
use crate::engine::vector::StepVector;
use crate::engine::window::{Bound, WindowCache};
use crate::error::QueryError;
use crate::steps::Steps;

/// A range function with all that it needs.
#[derive(Clone, Copy)]
pub(super) struct OneSeries<'a> {
    pub(super) call: &'a RangeCall<'a>,
    pub(super) series: &'a SeriesSamples,
    /// The samples of `series` that count.
    pub(super) samples: &'a Samples<'a>,
    pub(super) cancel: &'a CancelFlag,
}

impl OneSeries<'_> {
    /// Sets the function's values in `out`, which has no steps yet.
    pub(super) fn run(
        &self,
        windows: &mut WindowCache,
        out: &mut StepVector,
        notes: &mut Vec<Note>,
        ledger: &mut Ledger,
    ) -> Result<(), QueryError> {
        let (steps, range_ms) = (self.call.steps, self.call.range_ms);
        if self.call.rules.edges != Edges::Plain {
            out.make_room(steps.len());
            self.extended(windows, out, notes, ledger)?;
        } else if self.samples.histogram_times.is_empty() {
            if !self.rates(windows, out) {
                out.make_room(steps.len());
                let bounds = self.float_bounds(windows, steps, range_ms);
                self.floats(&bounds, out, notes);
            }
        } else {
            out.make_room(steps.len());
            let bounds = self.with_histograms(windows, out, notes, ledger)?;
            self.floats(&bounds, out, notes);
        }
        self.note_counter(out, notes);
        Ok(())
    }

    /// `rate`, `increase` and `delta` of a series that shares its axis; false where it does not, or is another case.
    fn rates(&self, windows: &mut WindowCache, out: &mut StepVector) -> bool {
        use RangeFunction as R;
        let function = self.call.function;
        if !matches!(function, R::Rate | R::Increase | R::Delta)
            || !self.samples.shared_axis()
            || !self.samples.starts.is_empty()
            || self.call.steps.len() > AxisRates::STEPS_MAX
        {
            return false;
        }
        let how = Extrapolation::of(function);
        let resets = self.resets(how);
        let rates = windows.rates(&self.series.axis, self.call.steps, self.call.range_ms, how);
        out.values = match self.call.course {
            Course::Constant => vec![0.0; self.call.steps.len()],
            Course::Unknown | Course::Steady => rates.values(&self.samples.values, &resets),
        };
        out.present.clone_from(&rates.present);
        true
    }

    /// The windows of floats that end at `steps`.
    pub(super) fn float_bounds(
        &self,
        windows: &mut WindowCache,
        steps: &Steps,
        range_ms: i64,
    ) -> Arc<[Bound]> {
        match self.samples.shared_axis() {
            true => windows.bounds(&self.series.axis, steps, range_ms),
            false => windows.uncached(&self.samples.times, steps, range_ms),
        }
    }

    /// The resets that count for a function that is worked out so.
    pub(super) fn resets(&self, how: Extrapolation) -> Resets {
        Resets::new(if how.counter { self.samples.resets() } else { Vec::new() })
    }

    /// The metric's name, for notes.
    pub(super) fn name(&self) -> String {
        self.series.labels.metric_name().to_string()
    }

    pub(super) fn note_mixed(&self, notes: &mut Vec<Note>) {
        push_note(notes, Note::MixedFloatsHistograms(self.name()));
    }

    pub(super) fn note_overlap(&self, notes: &mut Vec<Note>) {
        push_note(notes, Note::StartTimeOverlap(self.name()));
    }

    fn note_counter(&self, out: &StepVector, notes: &mut Vec<Note>) {
        if !matches!(self.call.function, RangeFunction::Rate | RangeFunction::Increase) {
            return;
        }
        let name = self.series.labels.metric_name();
        let counter = ["_total", "_sum", "_count", "_bucket"].iter().any(|s| name.ends_with(s));
        if !name.is_empty() && !counter && out.present.any() {
            push_note(notes, Note::PossibleNonCounter(name.to_string()));
        }
    }

    /// Runs the function over all windows of floats.
    pub(super) fn floats(&self, bounds: &[Bound], out: &mut StepVector, notes: &mut Vec<Note>) {
        use RangeFunction as R;
        if self.sliding(bounds, out) {
            return;
        }
        match self.call.function {
            R::Rate | R::Increase | R::Delta => {
                let how = Extrapolation::of(self.call.function);
                let resets = self.resets(how);
                let started = Started::floats(self.samples);
                self.each(bounds, out, |w, bound, _| {
                    let zero_ms = started.zero_ms(bound.lo(), w.start_ms());
                    counters::extrapolated(w, &resets, bound.lo(), zero_ms, how)
                });
                let overlaps = started.overlaps();
                if !overlaps.is_empty() && bounds.iter().any(|b| any_within(&overlaps, *b)) {
                    self.note_overlap(notes);
                }
            }
            R::Irate => {
                let started = Started::floats(self.samples);
                self.each(bounds, out, |w, bound, _| {
                    counters::instant(w, true, started.is_reset(bound.hi() - 1))
                });
            }
            R::Idelta => self.each(bounds, out, |w, _, _| counters::instant(w, false, false)),
            R::Changes => {
                let changes = counters::changes_of(&self.samples.values);
                self.each(bounds, out, |_, bound, _| counters::changes(&changes, bound));
            }
            R::Resets => {
                let resets = Resets::new(self.samples.resets());
                self.each(bounds, out, |_, bound, _| counters::resets(&resets, bound));
            }
            R::Avg => self.each(bounds, out, |w, _, _| overtime::avg(w)),
            R::Sum => self.each(bounds, out, |w, _, _| overtime::sum(w)),
            R::Min => self.each(bounds, out, |w, _, _| overtime::min(w)),
            R::Max => self.each(bounds, out, |w, _, _| overtime::max(w)),
            R::Count => self.each(bounds, out, |w, _, _| Some(w.values.len() as f64)),
            R::Last => self.each(bounds, out, |w, _, _| w.values.last().copied()),
            R::First => self.each(bounds, out, |w, _, _| w.values.first().copied()),
            R::Present => self.each(bounds, out, |_, _, _| Some(1.0)),
            R::Stdvar => self.each(bounds, out, |w, _, _| overtime::variance(w)),
            R::Stddev => {
                self.each(bounds, out, |w, _, _| overtime::variance(w).map(f64::sqrt));
            }
            R::Quantile => self.quantiles(bounds, out),
            R::Mad => self.each(bounds, out, |w, _, _| overtime::mad(w)),
            R::Deriv => self.each(bounds, out, |w, _, _| regression::deriv(w)),
            R::PredictLinear => self.each(bounds, out, |w, _, i| {
                regression::predict_linear(w, self.call.args.get(0, i))
            }),
            R::Smoothing => self.each(bounds, out, |w, _, i| {
                regression::smoothing(w, self.call.args.get(0, i), self.call.args.get(1, i))
            }),
            R::TsOfFirst => self.each(bounds, out, |w, _, _| overtime::first_time(w)),
            R::TsOfLast => self.each(bounds, out, |w, _, _| overtime::last_time(w)),
            R::TsOfMax => self.each(bounds, out, |w, _, _| overtime::time_of_max(w)),
            R::TsOfMin => self.each(bounds, out, |w, _, _| overtime::time_of_min(w)),
        }
    }

    /// Calls `f` for every window that holds floats, until the query is canceled.
    pub(super) fn each(
        &self,
        bounds: &[Bound],
        out: &mut StepVector,
        mut f: impl FnMut(FloatWindow<'_>, Bound, usize) -> Option<f64>,
    ) {
        for (i, bound) in bounds.iter().enumerate() {
            if i % STEPS_PER_CHECK == 0 && self.cancel.is_canceled() {
                return;
            }
            if bound.is_empty() {
                continue;
            }
            let window = FloatWindow {
                times: &self.samples.times[bound.lo()..bound.hi()],
                values: &self.samples.values[bound.lo()..bound.hi()],
                end_ms: self.call.steps.at(i),
                range_ms: self.call.range_ms,
            };
            if let Some(value) = f(window, *bound, i) {
                out.set(i, value);
            }
        }
    }
}
