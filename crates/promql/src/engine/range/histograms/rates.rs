//! `rate`, `increase`, `delta`, `irate`, `idelta` of histograms, in Prometheus' order: the difference of the ends,
//! then what was counted before each reset between them.

use std::sync::Arc;

use pando_model::{Histogram, ResetHint};

use super::super::{RangeFunction, counters, push_note};
use super::{Mixed, note_reconciled};
use crate::annotations::{HistogramOperation, Note};
use crate::engine::histogram::{HistogramSum, difference, divided, is_reset, multiplied};
use crate::engine::window::Bound;

impl Mixed<'_> {
    /// Where counters were reset: positions among the histograms, for the functions of counters.
    pub(super) fn resets(&self) -> Vec<usize> {
        if !matches!(self.call.function, RangeFunction::Rate | RangeFunction::Increase) {
            return Vec::new();
        }
        let pairs = self.samples.histograms.windows(2).enumerate();
        pairs.filter(|(_, w)| is_reset(&w[1], &w[0])).map(|(i, _)| i + 1).collect()
    }

    /// `rate`, `increase`, `delta`.
    pub(super) fn extrapolated(
        &self,
        step: usize,
        bound: Bound,
        resets: &[usize],
        notes: &mut Vec<Note>,
    ) -> Option<Histogram> {
        let window = &self.samples.histograms[bound.lo()..bound.hi()];
        let times = &self.samples.histogram_times[bound.lo()..bound.hi()];
        if window.len() < 2 {
            return None;
        }
        let counter = self.call.function != RangeFunction::Delta;
        let increase = if counter {
            self.increase(window, bound.lo(), resets, notes)
        } else {
            self.delta(window, notes)
        }?;
        let ends = counters::Ends {
            first_ms: times[0],
            last_ms: times[times.len() - 1],
            samples: times.len(),
            first: window[0].count,
            increase: increase.count,
        };
        let per_second = self.call.function == RangeFunction::Rate;
        let (end_ms, range_ms) = (self.call.steps.at(step), self.call.range_ms);
        Some(multiplied(&increase, ends.factor(end_ms, range_ms, counter, per_second)))
    }

    /// How much a gauge has grown.
    fn delta(&self, window: &[Arc<Histogram>], notes: &mut Vec<Note>) -> Option<Histogram> {
        let (first, last) = (&window[0], &window[window.len() - 1]);
        let Ok((result, added)) = difference(last, first) else {
            push_note(notes, Note::MixedExponentialCustom(self.name.to_string()));
            return None;
        };
        note_reconciled(added, HistogramOperation::Subtraction, notes);
        if [first, last].iter().any(|h| h.reset_hint != ResetHint::Gauge) {
            push_note(notes, Note::NotGauge(self.name.to_string()));
        }
        Some(result)
    }

    /// How much a counter has grown: the difference of the ends, and whatever it had counted before a reset. `lo`
    /// is the window's position in the series, as `resets` are.
    fn increase(
        &self,
        window: &[Arc<Histogram>],
        lo: usize,
        resets: &[usize],
        notes: &mut Vec<Note>,
    ) -> Option<Histogram> {
        let from = resets.partition_point(|at| *at <= lo);
        let upto = resets.partition_point(|at| *at < lo + window.len());
        // Before a reset right behind the first sample, that one counts for nothing, its layout neither.
        let (skipped, resets) = match resets[from..upto].split_first() {
            Some((at, rest)) if *at == lo + 1 => (true, rest),
            _ => (false, &resets[from..upto]),
        };
        let relevant = &window[usize::from(skipped)..];
        let (first, last) = (&relevant[0], &relevant[relevant.len() - 1]);
        if relevant.iter().any(|h| h.uses_custom_buckets() != last.uses_custom_buckets()) {
            push_note(notes, Note::MixedExponentialCustom(self.name.to_string()));
            return None;
        }
        if window.iter().any(|h| h.reset_hint == ResetHint::Gauge) {
            push_note(notes, Note::NotCounter(self.name.to_string()));
        }
        let mut sum = HistogramSum::of(last);
        let less = if skipped { sum.match_layout(first) } else { sum.subtract(first) };
        note_reconciled(less.ok()?, HistogramOperation::Subtraction, notes);
        for at in resets {
            let more = sum.add(&self.samples.histograms[at - 1]);
            note_reconciled(more.ok()?, HistogramOperation::Addition, notes);
        }
        relevant.iter().for_each(|h| sum.coarsen(h.schema));
        Some(Histogram { reset_hint: ResetHint::Gauge, ..sum.finish() })
    }

    /// `irate` and `idelta` of the last two histograms.
    pub(super) fn instant(&self, bound: Bound, notes: &mut Vec<Note>) -> Option<Histogram> {
        let at = bound.hi() - 1;
        let (before, last) = (&self.samples.histograms[at - 1], &self.samples.histograms[at]);
        let times = &self.samples.histogram_times;
        let gauges = [before, last].map(|h| h.reset_hint == ResetHint::Gauge);
        let rate = self.call.function == RangeFunction::Irate;
        if rate && gauges.contains(&true) {
            push_note(notes, Note::NotCounter(self.name.to_string()));
        }
        if !rate && gauges.contains(&false) {
            push_note(notes, Note::NotGauge(self.name.to_string()));
        }
        let mut result = Histogram::clone(last);
        if !rate || !is_reset(last, before) {
            let Ok((less, added)) = difference(last, before) else {
                push_note(notes, Note::MixedExponentialCustom(self.name.to_string()));
                return None;
            };
            note_reconciled(added, HistogramOperation::Subtraction, notes);
            result = less;
        }
        result.reset_hint = ResetHint::Gauge;
        if rate {
            result = divided(&result, times[at].saturating_sub(times[at - 1]) as f64 / 1000.0);
        }
        Some(result)
    }
}
