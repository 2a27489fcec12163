//! Range functions of series that hold histograms, alone or beside floats.
//!
//! Some functions take a histogram as any sample, some look at floats only, the others compute with histograms
//! and have no answer where a window holds both. What compares neighbours (`rate`, `changes`, `resets`) compares
//! each pair of the series once, whatever windows it lies in.

mod extended;
mod rates;

use std::sync::Arc;

use pando_model::{Histogram, ResetHint};

use super::starts::Started;
use super::{OneSeries, RangeFunction, push_note};
use crate::annotations::{HistogramOperation, Note};
use crate::budget::{Ledger, STEPS_PER_CHECK};
use crate::engine::histogram::{Added, HistogramMean, is_reset, same};
use crate::engine::samples::Samples;
use crate::engine::vector::StepVector;
use crate::engine::window::{Bound, WindowCache};
use crate::error::QueryError;

/// What histograms in a window do to a function.
enum Kind {
    /// They count as samples.
    Counts,
    /// They are ignored, with an info where there are floats too.
    Ignores,
    /// The last two samples decide.
    Last,
    /// They are computed with; with floats beside them there is a warning and no result.
    Computes,
}

/// `None` for functions that compare neighbours, of whatever kind.
fn kind(function: RangeFunction) -> Option<Kind> {
    use RangeFunction as R;
    Some(match function {
        R::Count | R::Last | R::Present | R::First | R::TsOfFirst | R::TsOfLast => Kind::Counts,
        R::Min | R::Max | R::Stddev | R::Stdvar | R::Quantile | R::Deriv => Kind::Ignores,
        R::PredictLinear | R::Mad | R::Smoothing | R::TsOfMax | R::TsOfMin => Kind::Ignores,
        R::Changes | R::Resets => return None,
        R::Irate | R::Idelta => Kind::Last,
        R::Rate | R::Increase | R::Delta | R::Avg | R::Sum => Kind::Computes,
    })
}

impl OneSeries<'_> {
    /// Sets all values that histograms have a part in. Returns the windows that are left to the floats.
    pub(super) fn with_histograms(
        &self,
        windows: &WindowCache,
        out: &mut StepVector,
        notes: &mut Vec<Note>,
        ledger: &mut Ledger,
    ) -> Result<Vec<Bound>, QueryError> {
        let bounds = |times: &[i64]| windows.uncached(times, self.call.steps, self.call.range_ms);
        let Some(kind) = kind(self.call.function) else {
            self.compare(|times| bounds(times).to_vec(), out);
            return Ok(Vec::new());
        };
        let counter = self.counter();
        let mut floats = bounds(&self.samples.times).to_vec();
        let histograms = bounds(&self.samples.histogram_times);
        for (i, h) in histograms.iter().enumerate().filter(|(_, h)| !h.is_empty()) {
            if i % STEPS_PER_CHECK == 0 {
                ledger.check_cancel()?;
            }
            let f = floats[i];
            match kind {
                Kind::Counts => {
                    self.count(i, f, *h, out, ledger)?;
                    floats[i] = Bound::NONE;
                }
                Kind::Ignores if f.is_empty() => {}
                Kind::Ignores => {
                    push_note(notes, Note::HistogramIgnoredInMixedRange(self.name()));
                }
                Kind::Last => {
                    let of_last_two = last_two(self.samples, f, *h);
                    let result = match of_last_two {
                        0 => continue,
                        2 => self.instant(*h, notes),
                        _ => {
                            self.note_mixed(notes);
                            None
                        }
                    };
                    floats[i] = Bound::NONE;
                    push(out, i, result, ledger)?;
                }
                Kind::Computes if f.is_empty() => {
                    let result = match self.call.function {
                        RangeFunction::Avg | RangeFunction::Sum => self.aggregate(*h, notes),
                        _ => self.extrapolated(i, *h, &counter, notes),
                    };
                    push(out, i, result, ledger)?;
                }
                Kind::Computes => {
                    self.note_mixed(notes);
                    floats[i] = Bound::NONE;
                }
            }
        }
        Ok(floats)
    }

    /// `changes` and `resets` over windows of all samples, which are at the times that `bounds` is told.
    pub(super) fn compare(&self, bounds: impl FnOnce(&[i64]) -> Vec<Bound>, out: &mut StepVector) {
        let (times, differs) = self.neighbours();
        for (i, bound) in bounds(&times).iter().enumerate().filter(|(_, b)| !b.is_empty()) {
            out.set(i, f64::from(differs[bound.hi() - 1] - differs[bound.lo()]));
        }
    }

    /// The times of all samples, and for each how many up to it differ from the one before: are a change, or a
    /// reset. Another kind of sample is both.
    fn neighbours(&self) -> (Vec<i64>, Vec<u32>) {
        let Samples { times, values, histogram_times, histograms, .. } = self.samples;
        let resets = self.call.function == RangeFunction::Resets;
        // Neighbours of one kind are neighbours among the samples of that kind, too.
        let (floats, others) = (Started::floats(self.samples), Started::histograms(self.samples));
        let (mut f, mut h, mut before_is_float) = (0usize, 0usize, None);
        let (mut all, mut differs, mut count) = (Vec::new(), Vec::new(), 0u32);
        while f < times.len() || h < histogram_times.len() {
            let is_float = match (times.get(f), histogram_times.get(h)) {
                (Some(a), Some(b)) => a < b,
                (a, _) => a.is_some(),
            };
            let differ = match (before_is_float, is_float) {
                (None, _) => false,
                (Some(true), true) if resets => values[f] < values[f - 1] || floats.is_reset(f),
                (Some(true), true) => {
                    let (a, b) = (values[f - 1], values[f]);
                    a != b && !(a.is_nan() && b.is_nan())
                }
                (Some(false), false) if resets => {
                    others.is_reset(h) || is_reset(&histograms[h], &histograms[h - 1])
                }
                (Some(false), false) => !same(&histograms[h], &histograms[h - 1]),
                _ => true,
            };
            count += u32::from(differ);
            differs.push(count);
            all.push(if is_float { times[f] } else { histogram_times[h] });
            f += usize::from(is_float);
            h += usize::from(!is_float);
            before_is_float = Some(is_float);
        }
        (all, differs)
    }

    /// Functions to which a histogram is a sample like any other.
    fn count(
        &self,
        step: usize,
        f: Bound,
        h: Bound,
        out: &mut StepVector,
        ledger: &mut Ledger,
    ) -> Result<(), QueryError> {
        let Samples { times, values, histogram_times, histograms, .. } = self.samples;
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
                _ => out.push_histogram(step, histograms[h.hi() - 1].clone(), ledger)?,
            },
            _ => match first_f {
                Some(t) if t < first_h => out.set(step, values[f.lo()]),
                _ => out.push_histogram(step, histograms[h.lo()].clone(), ledger)?,
            },
        }
        Ok(())
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
                self.note_incompatible(notes);
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

/// The histogram of an interpolation; what there is to say of it is added to `notes`.
pub(crate) fn note_interpolated(
    (h, [less, more]): (Histogram, [Added; 2]),
    notes: &mut Vec<Note>,
) -> Histogram {
    note_reconciled(less, HistogramOperation::Subtraction, notes);
    note_reconciled(more, HistogramOperation::Addition, notes);
    h
}

fn push(
    out: &mut StepVector,
    step: usize,
    h: Option<Histogram>,
    ledger: &mut Ledger,
) -> Result<(), QueryError> {
    h.map_or(Ok(()), |h| out.push_histogram(step, Arc::new(h), ledger))
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
