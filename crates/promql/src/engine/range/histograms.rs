//! Range functions of series that hold histograms, alone or beside floats.
//!
//! Some functions take a histogram as any sample, some look at floats only, the others compute with histograms
//! and have no answer where a window holds both. What compares neighbours (`rate`, `changes`, `resets`) compares
//! each pair of the series once, whatever windows it lies in.

use std::sync::Arc;

use pando_model::{Histogram, ResetHint};

use super::{RangeCall, RangeFunction, counters, push_note};
use crate::annotations::{HistogramOperation, Note};
use crate::engine::histogram::{
    Added, HistogramMean, HistogramSum, Incompatible, difference, divided, is_reset, multiplied,
    same,
};
use crate::engine::samples::Samples;
use crate::engine::vector::StepVector;
use crate::engine::window::{Bound, WindowCache};

/// What histograms in a window do to a function.
enum Kind {
    /// They count as samples.
    Counts,
    /// They are ignored, with an info where there are floats too.
    Ignores,
    /// Neighbours are compared, of whatever kind.
    Compares,
    /// The last two samples decide.
    Last,
    /// They are computed with; with floats beside them there is a warning and no result.
    Computes,
}

fn kind(function: RangeFunction) -> Kind {
    use RangeFunction as R;
    match function {
        R::Count | R::Last | R::Present | R::First | R::TsOfFirst | R::TsOfLast => Kind::Counts,
        R::Min | R::Max | R::Stddev | R::Stdvar | R::Quantile | R::Deriv => Kind::Ignores,
        R::PredictLinear | R::Mad | R::Smoothing | R::TsOfMax | R::TsOfMin => Kind::Ignores,
        R::Changes | R::Resets => Kind::Compares,
        R::Irate | R::Idelta => Kind::Last,
        R::Rate | R::Increase | R::Delta | R::Avg | R::Sum => Kind::Computes,
    }
}

/// A function over one series that holds histograms.
pub(super) struct Mixed<'a> {
    pub(super) call: &'a RangeCall<'a>,
    pub(super) samples: &'a Samples<'a>,
    /// The metric's name, for notes.
    pub(super) name: &'a str,
}

impl Mixed<'_> {
    /// Sets all values that histograms have a part in. Returns the windows that are left to the floats.
    pub(super) fn run(
        &self,
        windows: &mut WindowCache,
        out: &mut StepVector,
        notes: &mut Vec<Note>,
    ) -> Vec<Bound> {
        let bounds = |times: &[i64]| windows.uncached(times, self.call.steps, self.call.range_ms);
        let kind = kind(self.call.function);
        if matches!(kind, Kind::Compares) {
            let (times, differs) = self.neighbours();
            for (i, bound) in bounds(&times).iter().enumerate().filter(|(_, b)| !b.is_empty()) {
                out.set(i, f64::from(differs[bound.hi() - 1] - differs[bound.lo()]));
            }
            return vec![Bound::NONE; self.call.steps.len()];
        }
        let resets = self.resets();
        let mut floats = bounds(&self.samples.times).to_vec();
        let histograms = bounds(&self.samples.histogram_times);
        for (i, h) in histograms.iter().enumerate().filter(|(_, h)| !h.is_empty()) {
            let f = floats[i];
            match kind {
                Kind::Counts => {
                    self.count(i, f, *h, out);
                    floats[i] = Bound::NONE;
                }
                Kind::Ignores if f.is_empty() => {}
                Kind::Ignores => {
                    push_note(notes, Note::HistogramIgnoredInMixedRange(self.name.to_string()));
                }
                Kind::Last => {
                    let of_last_two = last_two(self.samples, f, *h);
                    let result = match of_last_two {
                        0 => continue,
                        2 => self.instant(*h, notes),
                        _ => {
                            self.mixed(notes);
                            None
                        }
                    };
                    floats[i] = Bound::NONE;
                    push_histogram(out, i, result);
                }
                Kind::Computes if f.is_empty() => {
                    let result = match self.call.function {
                        RangeFunction::Avg | RangeFunction::Sum => self.aggregate(*h, notes),
                        _ => self.extrapolated(i, *h, &resets, notes),
                    };
                    push_histogram(out, i, result);
                }
                Kind::Computes | Kind::Compares => {
                    self.mixed(notes);
                    floats[i] = Bound::NONE;
                }
            }
        }
        floats
    }

    fn mixed(&self, notes: &mut Vec<Note>) {
        push_note(notes, Note::MixedFloatsHistograms(self.name.to_string()));
    }

    /// Where counters were reset: positions among the histograms, for the functions of counters.
    fn resets(&self) -> Vec<usize> {
        if !matches!(self.call.function, RangeFunction::Rate | RangeFunction::Increase) {
            return Vec::new();
        }
        let pairs = self.samples.histograms.windows(2).enumerate();
        pairs.filter(|(_, w)| is_reset(&w[1], &w[0])).map(|(i, _)| i + 1).collect()
    }

    /// The times of all samples, and for each how many up to it differ from the one before: are a change, or a
    /// reset. Another kind of sample is both.
    fn neighbours(&self) -> (Vec<i64>, Vec<u32>) {
        let Samples { times, values, histogram_times, histograms } = self.samples;
        let resets = self.call.function == RangeFunction::Resets;
        let (mut f, mut h, mut before_is_float) = (0usize, 0usize, None);
        let (mut all, mut differs, mut count) = (Vec::new(), Vec::new(), 0u32);
        while f < times.len() || h < histogram_times.len() {
            let is_float = match (times.get(f), histogram_times.get(h)) {
                (Some(a), Some(b)) => a < b,
                (a, _) => a.is_some(),
            };
            let differ = match (before_is_float, is_float) {
                (None, _) => false,
                (Some(true), true) if resets => values[f] < values[f - 1],
                (Some(true), true) => {
                    let (a, b) = (values[f - 1], values[f]);
                    a != b && !(a.is_nan() && b.is_nan())
                }
                (Some(false), false) if resets => is_reset(&histograms[h], &histograms[h - 1]),
                (Some(false), false) => !same(&histograms[h], &histograms[h - 1]),
                _ => true,
            };
            count += u32::from(differ);
            differs.push(count);
            all.push(if is_float { times[f] } else { histogram_times[h] });
            if is_float {
                f += 1
            } else {
                h += 1
            }
            before_is_float = Some(is_float);
        }
        (all, differs)
    }

    /// Functions to which a histogram is a sample like any other.
    fn count(&self, step: usize, f: Bound, h: Bound, out: &mut StepVector) {
        let Samples { times, values, histogram_times, histograms } = self.samples;
        let (first_h, last_h) = (histogram_times[h.lo()], histogram_times[h.hi() - 1]);
        let first_f = (!f.is_empty()).then(|| times[f.lo()]);
        let last_f = (!f.is_empty()).then(|| times[f.hi() - 1]);
        let seconds = |ms: i64| ms as f64 / 1000.0;
        match self.call.function {
            RangeFunction::Count => out.set(step, (f.len() + h.len()) as f64),
            RangeFunction::Present => out.set(step, 1.0),
            RangeFunction::TsOfFirst => {
                out.set(step, seconds(first_f.map_or(first_h, |t| t.min(first_h))));
            }
            RangeFunction::TsOfLast => {
                out.set(step, seconds(last_f.map_or(last_h, |t| t.max(last_h))));
            }
            RangeFunction::Last => match last_f {
                Some(t) if t > last_h => out.set(step, values[f.hi() - 1]),
                _ => out.histograms.push((step as u32, histograms[h.hi() - 1].clone())),
            },
            _ => match first_f {
                Some(t) if t < first_h => out.set(step, values[f.lo()]),
                _ => out.histograms.push((step as u32, histograms[h.lo()].clone())),
            },
        }
    }

    /// `rate`, `increase`, `delta`.
    fn extrapolated(
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
        let mut resets = &resets[from..upto];
        let last = &window[window.len() - 1];
        // Before a reset right behind the first sample, that one counts for nothing, its layout neither.
        let skipped = resets.first() == Some(&(lo + 1));
        let first = if skipped { &window[1] } else { &window[0] };
        if skipped {
            resets = &resets[1..];
        }
        let relevant = &window[usize::from(skipped)..];
        if relevant.iter().any(|h| h.uses_custom_buckets() != last.uses_custom_buckets()) {
            push_note(notes, Note::MixedExponentialCustom(self.name.to_string()));
            return None;
        }
        if window.iter().any(|h| h.reset_hint == ResetHint::Gauge) {
            push_note(notes, Note::NotCounter(self.name.to_string()));
        }
        let result = || -> Result<HistogramSum, Incompatible> {
            let mut sum = HistogramSum::of(last);
            if !skipped {
                note_reconciled(sum.subtract(first)?, HistogramOperation::Subtraction, notes);
            } else if first.custom_values != last.custom_values {
                let added = sum.merge(HistogramSum::nothing_like(first))?;
                note_reconciled(added, HistogramOperation::Subtraction, notes);
            }
            for at in resets {
                let before = &self.samples.histograms[at - 1];
                note_reconciled(sum.add(before)?, HistogramOperation::Addition, notes);
            }
            relevant.iter().for_each(|h| sum.coarsen(h.schema));
            Ok(sum)
        }();
        // Kinds of buckets were compared above.
        let result = result.ok()?.finish();
        Some(Histogram { reset_hint: ResetHint::Gauge, ..result })
    }

    /// `irate` and `idelta` of the last two histograms.
    fn instant(&self, bound: Bound, notes: &mut Vec<Note>) -> Option<Histogram> {
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

    /// `sum_over_time` and `avg_over_time`.
    fn aggregate(&self, bound: Bound, notes: &mut Vec<Note>) -> Option<Histogram> {
        let (first, rest) = self.samples.histograms[bound.lo()..bound.hi()].split_first()?;
        let average = self.call.function == RangeFunction::Avg;
        let mut mean = HistogramMean::of(first);
        let mut reconciled = false;
        for h in rest {
            let added = if average { mean.add(h) } else { mean.sum.add(h) };
            let Ok(added) = added else {
                push_note(notes, Note::MixedExponentialCustom(self.name.to_string()));
                return None;
            };
            reconciled |= added.reconciled;
        }
        let all = &self.samples.histograms[bound.lo()..bound.hi()];
        let any = |hint| all.iter().any(|h| h.reset_hint == hint);
        if any(ResetHint::Reset) && any(ResetHint::NotReset) {
            push_note(notes, Note::CounterResetCollision(HistogramOperation::Aggregation));
        }
        let added = Added { reconciled, collision: false };
        note_reconciled(added, HistogramOperation::Aggregation, notes);
        Some(if average { mean.finish() } else { mean.sum.finish() })
    }
}

fn note_reconciled(added: Added, operation: HistogramOperation, notes: &mut Vec<Note>) {
    if added.reconciled {
        push_note(notes, Note::MismatchedCustomBuckets(operation));
    }
}

fn push_histogram(out: &mut StepVector, step: usize, h: Option<Histogram>) {
    out.histograms.extend(h.map(|h| (step as u32, Arc::new(h))));
}

/// How many of the last two samples of a window are histograms; 0 where the window has one sample only.
fn last_two(samples: &Samples<'_>, f: Bound, h: Bound) -> usize {
    let floats = &samples.times[f.lo()..f.hi()];
    let histograms = &samples.histogram_times[h.lo()..h.hi()];
    if floats.len() + histograms.len() < 2 {
        return 0;
    }
    let later = |back: usize| {
        let time = histograms.len().checked_sub(back + 1).map(|i| histograms[i]);
        let before = floats.len().checked_sub(2 - back).map(|i| floats[i]);
        time.is_some_and(|t| before.is_none_or(|b| t > b))
    };
    usize::from(later(0)) + usize::from(later(1))
}
