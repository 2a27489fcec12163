//! `rate`, `increase`, `delta`, `irate`, `idelta` of histograms, in Prometheus' order: the difference of the ends,
//! then what was counted before each reset between them.

use std::sync::Arc;

use pando_model::{Histogram, ResetHint};

use super::super::counters::{self, Extrapolation};
use super::super::starts::{Started, any_within};
use super::super::{OneSeries, RangeFunction, push_note};
use super::note_reconciled;
use crate::annotations::{HistogramOperation, Note};
use crate::engine::histogram::{HistogramSum, difference, divided, is_reset, multiplied, total};
use crate::engine::window::Bound;

/// What is known of a series' histograms before any window is looked at; nothing where no counter is asked for.
#[derive(Default)]
pub(super) struct Counter {
    /// Where it was reset: positions among the histograms.
    resets: Vec<usize>,
    /// Where start timestamps contradict the histograms before.
    overlaps: Vec<usize>,
}

impl Counter {
    /// The resets behind position `lo`, and before `hi`.
    pub(super) fn resets_within(&self, lo: usize, hi: usize) -> &[usize] {
        let from = self.resets.partition_point(|at| *at <= lo);
        let upto = self.resets.partition_point(|at| *at < hi);
        self.resets.get(from..upto).unwrap_or(&[])
    }
}

impl OneSeries<'_> {
    /// What is known of the histograms as a counter.
    pub(super) fn counter(&self) -> Counter {
        if !Extrapolation::of(self.call.function).counter {
            return Counter::default();
        }
        let histograms = &self.samples.histograms;
        let started = Started::histograms(self.samples);
        let reset =
            |at: &usize| started.is_reset(*at) || is_reset(&histograms[*at], &histograms[at - 1]);
        let resets = (1..histograms.len()).filter(reset).collect();
        Counter { resets, overlaps: started.overlaps() }
    }

    /// `rate`, `increase`, `delta`.
    pub(super) fn extrapolated(
        &self,
        step: usize,
        bound: Bound,
        counter: &Counter,
        notes: &mut Vec<Note>,
    ) -> Option<Histogram> {
        let window = &self.samples.histograms[bound.lo()..bound.hi()];
        let times = &self.samples.histogram_times[bound.lo()..bound.hi()];
        let how = Extrapolation::of(self.call.function);
        let zero_ms = Started::histograms(self.samples).zero_ms(bound.lo(), self.start_ms(step));
        let increase = match window {
            [first] => zero_ms.map(|_| Histogram::clone(first)),
            _ if how.counter => {
                let increase = self.increase(window, bound, counter, notes)?;
                match zero_ms {
                    Some(_) => self.added(&increase, &window[0], notes),
                    None => Some(increase),
                }
            }
            _ => self.delta(window, notes),
        }?;
        let ends = counters::Ends {
            zero_ms,
            first_ms: times[0],
            last_ms: times[times.len() - 1],
            samples: times.len(),
            first: window[0].count,
            increase: increase.count,
        };
        let (end_ms, range_ms) = (self.call.steps.at(step), self.call.range_ms);
        Some(multiplied(&increase, ends.factor(end_ms, range_ms, how)))
    }

    /// `a + b`.
    fn added(&self, a: &Histogram, b: &Histogram, notes: &mut Vec<Note>) -> Option<Histogram> {
        let Ok((sum, added)) = total(a, b) else {
            self.note_incompatible(notes);
            return None;
        };
        note_reconciled(added, HistogramOperation::Addition, notes);
        Some(sum)
    }

    pub(super) fn note_incompatible(&self, notes: &mut Vec<Note>) {
        push_note(notes, Note::MixedExponentialCustom(self.name()));
    }

    /// How much a gauge has grown.
    fn delta(&self, window: &[Arc<Histogram>], notes: &mut Vec<Note>) -> Option<Histogram> {
        let (first, last) = (&window[0], &window[window.len() - 1]);
        let Ok((result, added)) = difference(last, first) else {
            self.note_incompatible(notes);
            return None;
        };
        note_reconciled(added, HistogramOperation::Subtraction, notes);
        if [first, last].iter().any(|h| h.reset_hint != ResetHint::Gauge) {
            push_note(notes, Note::NotGauge(self.name()));
        }
        Some(result)
    }

    /// How much a counter has grown: the difference of the ends, and whatever it had counted before a reset. `bound`
    /// is where the window is in the series.
    fn increase(
        &self,
        window: &[Arc<Histogram>],
        bound: Bound,
        counter: &Counter,
        notes: &mut Vec<Note>,
    ) -> Option<Histogram> {
        let resets = counter.resets_within(bound.lo(), bound.hi());
        // Before a reset right behind the first sample, that one counts for nothing, its layout neither.
        let (skipped, resets) = match resets.split_first() {
            Some((at, rest)) if *at == bound.lo() + 1 => (true, rest),
            _ => (false, resets),
        };
        let relevant = &window[usize::from(skipped)..];
        let (first, last) = (&relevant[0], &relevant[relevant.len() - 1]);
        let differs = |h: &Arc<Histogram>| h.uses_custom_buckets() != first.uses_custom_buckets();
        let gauge = |h: &Arc<Histogram>| h.reset_hint == ResetHint::Gauge;
        // As in Prometheus: of ends that are no counters it is told even where their kinds differ, but another kind
        // between them is all that there is to say.
        let (ends_differ, between) = (differs(last), &window[1..window.len() - 1]);
        if !ends_differ && between.iter().any(differs) {
            self.note_incompatible(notes);
            return None;
        }
        let ends = gauge(&window[0]) || gauge(last);
        if ends || (!ends_differ && between.iter().any(gauge)) {
            push_note(notes, Note::NotCounter(self.name()));
        }
        if ends_differ {
            self.note_incompatible(notes);
            return None;
        }
        let mut sum = HistogramSum::of(last);
        let less = if skipped { sum.match_layout(first) } else { sum.subtract(first) };
        note_reconciled(less.ok()?, HistogramOperation::Subtraction, notes);
        for at in resets {
            let more = sum.add(&self.samples.histograms[at - 1]);
            note_reconciled(more.ok()?, HistogramOperation::Addition, notes);
        }
        if any_within(&counter.overlaps, bound) {
            self.note_overlap(notes);
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
            push_note(notes, Note::NotCounter(self.name()));
        }
        if !rate && gauges.contains(&false) {
            push_note(notes, Note::NotGauge(self.name()));
        }
        let mut result = Histogram::clone(last);
        let reset =
            rate && (Started::histograms(self.samples).is_reset(at) || is_reset(last, before));
        if !reset {
            let Ok((less, added)) = difference(last, before) else {
                self.note_incompatible(notes);
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
