//! Range functions: one value per step of the samples in a window, series by series.
//!
//! A series becomes [`Samples`] (stale markers gone, floats and histograms apart), a step becomes a pair of
//! positions in it ([`super::window`]), and a function sees one [`FloatWindow`] at a time. Functions that need
//! the ends only never touch what is between. `anchored` and `smoothed` windows are wider than their range and
//! take a way of their own ([`extended`]); start timestamps tell of resets that values do not show ([`starts`]).

mod counters;
mod edges;
mod extended;
mod overtime;
mod regression;
pub(crate) mod starts;

use pando_model::SeriesSamples;

pub use edges::{Edges, RangeRules};
pub(crate) use extended::samples_at_edges;

use super::samples::Samples;
use super::vector::StepVector;
use super::window::{Bound, WindowCache};
use crate::annotations::Note;
use crate::error::QueryError;
use crate::steps::Steps;

macro_rules! range_functions {
    ($($variant:ident = $number:literal, $name:literal;)*) => {
        /// A function of a range of samples. The numbers are those of the wire.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u32)]
        pub enum RangeFunction {
            $(#[doc = concat!("`", $name, "`")] $variant = $number,)*
        }

        impl RangeFunction {
            /// The function with wire number `n`.
            pub fn from_number(n: u32) -> Option<Self> {
                match n {
                    $($number => Some(RangeFunction::$variant),)*
                    _ => None,
                }
            }

            /// The function called `name`.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(RangeFunction::$variant),)*
                    _ => None,
                }
            }

            /// The function's name.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(RangeFunction::$variant => $name,)*
                }
            }
        }
    };
}

range_functions! {
    Rate = 1, "rate";
    Irate = 2, "irate";
    Increase = 3, "increase";
    Delta = 4, "delta";
    Idelta = 5, "idelta";
    Avg = 6, "avg_over_time";
    Min = 7, "min_over_time";
    Max = 8, "max_over_time";
    Sum = 9, "sum_over_time";
    Count = 10, "count_over_time";
    Last = 11, "last_over_time";
    Present = 12, "present_over_time";
    First = 13, "first_over_time";
    Changes = 14, "changes";
    Resets = 15, "resets";
    Deriv = 16, "deriv";
    Stddev = 17, "stddev_over_time";
    Stdvar = 18, "stdvar_over_time";
    Quantile = 19, "quantile_over_time";
    PredictLinear = 20, "predict_linear";
    Mad = 21, "mad_over_time";
    Smoothing = 22, "double_exponential_smoothing";
    TsOfFirst = 23, "ts_of_first_over_time";
    TsOfLast = 24, "ts_of_last_over_time";
    TsOfMax = 25, "ts_of_max_over_time";
    TsOfMin = 26, "ts_of_min_over_time";
}

impl RangeFunction {
    /// How many constant arguments it takes.
    pub fn args(self) -> usize {
        match self {
            RangeFunction::Quantile | RangeFunction::PredictLinear => 1,
            RangeFunction::Smoothing => 2,
            _ => 0,
        }
    }

    /// Whether its result has no metric name.
    pub fn drops_name(self) -> bool {
        !matches!(self, RangeFunction::Last | RangeFunction::First)
    }

    /// What histograms in the window do to it.
    fn with_histograms(self) -> WithHistograms {
        use RangeFunction as R;
        match self {
            R::Count | R::Last | R::Present | R::First | R::TsOfFirst | R::TsOfLast => {
                WithHistograms::Counts
            }
            R::Min | R::Max | R::Stddev | R::Stdvar | R::Quantile | R::Deriv => {
                WithHistograms::Ignores
            }
            R::PredictLinear | R::Mad | R::Smoothing | R::TsOfMax | R::TsOfMin => {
                WithHistograms::Ignores
            }
            R::Rate | R::Increase | R::Delta => WithHistograms::Refuses(2),
            R::Irate | R::Idelta => WithHistograms::Last,
            R::Avg | R::Sum => WithHistograms::Refuses(1),
            R::Changes | R::Resets => WithHistograms::Refuses(2),
        }
    }
}

/// What histograms in a window do to a function.
enum WithHistograms {
    /// They count as samples.
    Counts,
    /// They are ignored, with an info where there are floats too.
    Ignores,
    /// What the last two samples are decides.
    Last,
    /// With floats: a warning and no result; alone and this many: not supported yet.
    Refuses(usize),
}

/// The float samples of one window.
#[derive(Clone, Copy)]
pub(crate) struct FloatWindow<'a> {
    /// Their times, ms.
    pub(crate) times: &'a [i64],
    /// Their values.
    pub(crate) values: &'a [f64],
    /// The window's end, ms; it begins `range_ms` before, exclusively.
    pub(crate) end_ms: i64,
    /// The window's length, ms.
    pub(crate) range_ms: i64,
}

/// A range function with everything it needs but samples.
#[derive(Clone, Copy)]
pub(crate) struct RangeCall<'a> {
    pub(crate) function: RangeFunction,
    pub(crate) range_ms: i64,
    pub(crate) rules: RangeRules,
    /// Ends of the windows.
    pub(crate) steps: &'a Steps,
    pub(crate) args: RangeArgs<'a>,
    pub(crate) delayed_name_removal: bool,
}

/// The arguments of a range function.
#[derive(Clone, Copy)]
pub(crate) enum RangeArgs<'a> {
    /// The same at every step.
    Constant(&'a [f64]),
    /// One column per argument, one value a step.
    Columns(&'a [Vec<f64>]),
}

impl RangeArgs<'_> {
    fn get(&self, arg: usize, step: usize) -> f64 {
        match self {
            RangeArgs::Constant(values) => values.get(arg).copied().unwrap_or(f64::NAN),
            RangeArgs::Columns(columns) => {
                columns.get(arg).and_then(|c| c.get(step)).copied().unwrap_or(f64::NAN)
            }
        }
    }
}

impl RangeCall<'_> {
    /// The function's values for `series`, whose window ends are `steps`.
    pub(crate) fn run(
        &self,
        series: &SeriesSamples,
        windows: &mut WindowCache,
        notes: &mut Vec<Note>,
    ) -> Result<StepVector, QueryError> {
        let drops = self.function.drops_name();
        let labels = match drops && !self.delayed_name_removal {
            true => super::names::drop_metadata_labels(&series.labels),
            false => series.labels.clone(),
        };
        let mut out = StepVector::empty(labels, self.steps.len());
        out.drop_name = drops && self.delayed_name_removal;
        let name = series.labels.metric_name();
        let mut samples = Samples::of(series);
        if self.rules.starts {
            samples.starts = starts::of_floats(series, &samples);
        }
        if self.rules.edges != Edges::Plain {
            self.extended(series, &samples, windows, &mut out, notes)?;
        } else if samples.histogram_times.is_empty() {
            let bounds = match samples.shared_axis() {
                true => windows.bounds(&series.axis, self.steps, self.range_ms),
                false => windows.uncached(&samples.times, self.steps, self.range_ms),
            };
            self.floats(&samples, &bounds, name, &mut out, notes);
        } else {
            let floats = windows.uncached(&samples.times, self.steps, self.range_ms);
            let histograms = windows.uncached(&samples.histogram_times, self.steps, self.range_ms);
            self.mixed(&samples, name, (&floats, &histograms), &mut out, notes)?;
        }
        self.note_counter(series, &out, notes);
        Ok(out)
    }

    fn note_counter(&self, series: &SeriesSamples, out: &StepVector, notes: &mut Vec<Note>) {
        if !matches!(self.function, RangeFunction::Rate | RangeFunction::Increase) {
            return;
        }
        let name = series.labels.metric_name();
        let counter = ["_total", "_sum", "_count", "_bucket"].iter().any(|s| name.ends_with(s));
        if !name.is_empty() && !counter && out.present.any() {
            push_note(notes, Note::PossibleNonCounter(name.to_string()));
        }
    }

    /// A series that holds histograms: windows of both kinds, then whatever the function makes of them.
    fn mixed(
        &self,
        samples: &Samples<'_>,
        name: &str,
        (floats, histograms): (&[Bound], &[Bound]),
        out: &mut StepVector,
        notes: &mut Vec<Note>,
    ) -> Result<(), QueryError> {
        let mut float_bounds = floats.to_vec();
        for (i, (f, h)) in floats.iter().zip(histograms.iter()).enumerate() {
            if h.is_empty() {
                continue;
            }
            match self.function.with_histograms() {
                WithHistograms::Counts => {
                    self.count_mixed(samples, i, *f, *h, out);
                    float_bounds[i] = Bound::NONE;
                }
                WithHistograms::Ignores if f.is_empty() => {}
                WithHistograms::Ignores => {
                    push_note(notes, Note::HistogramIgnoredInMixedRange(name.to_string()));
                }
                WithHistograms::Last => match last_two(samples, *f, *h) {
                    0 => {}
                    1 => {
                        push_note(notes, Note::MixedFloatsHistograms(name.to_string()));
                        float_bounds[i] = Bound::NONE;
                    }
                    _ => return Err(self.unsupported(name)),
                },
                WithHistograms::Refuses(_) if !f.is_empty() => {
                    push_note(notes, Note::MixedFloatsHistograms(name.to_string()));
                    float_bounds[i] = Bound::NONE;
                }
                WithHistograms::Refuses(least) if h.len() >= least => {
                    return Err(self.unsupported(name));
                }
                WithHistograms::Refuses(_) => {
                    // A single histogram: nothing to compare with, but still no change and no reset.
                    if matches!(self.function, RangeFunction::Changes | RangeFunction::Resets) {
                        out.set(i, 0.0);
                    }
                }
            }
        }
        self.floats(samples, &float_bounds, name, out, notes);
        Ok(())
    }

    fn unsupported(&self, name: &str) -> QueryError {
        let function = self.function.as_str();
        QueryError::execution(format!(
            "{function} over native histograms is not supported yet: metric={name}"
        ))
    }

    /// Functions to which a histogram is a sample like any other.
    fn count_mixed(
        &self,
        samples: &Samples<'_>,
        step: usize,
        f: Bound,
        h: Bound,
        out: &mut StepVector,
    ) {
        let first_h = samples.histogram_times[h.lo()];
        let last_h = samples.histogram_times[h.hi() - 1];
        let first_f = (!f.is_empty()).then(|| samples.times[f.lo()]);
        let last_f = (!f.is_empty()).then(|| samples.times[f.hi() - 1]);
        let seconds = |ms: i64| ms as f64 / 1000.0;
        match self.function {
            RangeFunction::Count => out.set(step, (f.len() + h.len()) as f64),
            RangeFunction::Present => out.set(step, 1.0),
            RangeFunction::TsOfFirst => {
                out.set(step, seconds(first_f.map_or(first_h, |t| t.min(first_h))));
            }
            RangeFunction::TsOfLast => {
                out.set(step, seconds(last_f.map_or(last_h, |t| t.max(last_h))));
            }
            RangeFunction::Last => match last_f {
                Some(t) if t > last_h => out.set(step, samples.values[f.hi() - 1]),
                _ => out.histograms.push((step as u32, samples.histograms[h.hi() - 1].clone())),
            },
            _ => match first_f {
                Some(t) if t < first_h => out.set(step, samples.values[f.lo()]),
                _ => out.histograms.push((step as u32, samples.histograms[h.lo()].clone())),
            },
        }
    }

    /// Runs the function over all windows of floats.
    fn floats(
        &self,
        samples: &Samples<'_>,
        bounds: &[Bound],
        name: &str,
        out: &mut StepVector,
        notes: &mut Vec<Note>,
    ) {
        use RangeFunction as R;
        if self.rules.starts && starts::floats(self, samples, bounds, name, out, notes) {
            return;
        }
        match self.function {
            R::Rate | R::Increase => {
                let resets = samples.resets();
                self.each(samples, bounds, out, |w, bound, _| {
                    counters::extrapolated(w, &resets, bound.lo(), true, self.function == R::Rate)
                });
            }
            R::Delta => {
                self.each(samples, bounds, out, |w, bound, _| {
                    counters::extrapolated(w, &[], bound.lo(), false, false)
                });
            }
            R::Irate => self.each(samples, bounds, out, |w, _, _| counters::instant(w, true)),
            R::Idelta => self.each(samples, bounds, out, |w, _, _| counters::instant(w, false)),
            R::Changes => self.each(samples, bounds, out, |w, _, _| counters::changes(w)),
            R::Resets => {
                let resets = samples.resets();
                self.each(samples, bounds, out, |w, bound, _| {
                    counters::resets(w, &resets, bound.lo())
                });
            }
            R::Avg => self.each(samples, bounds, out, |w, _, _| overtime::avg(w)),
            R::Sum => self.each(samples, bounds, out, |w, _, _| overtime::sum(w)),
            R::Min => self.each(samples, bounds, out, |w, _, _| overtime::min(w)),
            R::Max => self.each(samples, bounds, out, |w, _, _| overtime::max(w)),
            R::Count => self.each(samples, bounds, out, |w, _, _| Some(w.values.len() as f64)),
            R::Last => self.each(samples, bounds, out, |w, _, _| w.values.last().copied()),
            R::First => self.each(samples, bounds, out, |w, _, _| w.values.first().copied()),
            R::Present => self.each(samples, bounds, out, |_, _, _| Some(1.0)),
            R::Stdvar => self.each(samples, bounds, out, |w, _, _| overtime::variance(w)),
            R::Stddev => {
                self.each(samples, bounds, out, |w, _, _| overtime::variance(w).map(f64::sqrt));
            }
            R::Quantile => self.each(samples, bounds, out, |w, _, i| {
                Some(super::quantile::quantile(self.args.get(0, i), w.values))
            }),
            R::Mad => self.each(samples, bounds, out, |w, _, _| overtime::mad(w)),
            R::Deriv => self.each(samples, bounds, out, |w, _, _| regression::deriv(w)),
            R::PredictLinear => self.each(samples, bounds, out, |w, _, i| {
                regression::predict_linear(w, self.args.get(0, i))
            }),
            R::Smoothing => self.each(samples, bounds, out, |w, _, i| {
                regression::smoothing(w, self.args.get(0, i), self.args.get(1, i))
            }),
            R::TsOfFirst => self.each(samples, bounds, out, |w, _, _| overtime::first_time(w)),
            R::TsOfLast => self.each(samples, bounds, out, |w, _, _| overtime::last_time(w)),
            R::TsOfMax => self.each(samples, bounds, out, |w, _, _| overtime::time_of_max(w)),
            R::TsOfMin => self.each(samples, bounds, out, |w, _, _| overtime::time_of_min(w)),
        }
    }

    /// Calls `f` for every window that holds floats.
    fn each(
        &self,
        samples: &Samples<'_>,
        bounds: &[Bound],
        out: &mut StepVector,
        f: impl Fn(FloatWindow<'_>, Bound, usize) -> Option<f64>,
    ) {
        for (i, bound) in bounds.iter().enumerate() {
            if bound.is_empty() {
                continue;
            }
            let window = FloatWindow {
                times: &samples.times[bound.lo()..bound.hi()],
                values: &samples.values[bound.lo()..bound.hi()],
                end_ms: self.steps.at(i),
                range_ms: self.range_ms,
            };
            if let Some(value) = f(window, *bound, i) {
                out.set(i, value);
            }
        }
    }
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

/// Adds `note` unless it is the last one already: series of one metric say the same one after the other.
pub(crate) fn push_note(notes: &mut Vec<Note>, note: Note) {
    if notes.last() != Some(&note) {
        notes.push(note);
    }
}
