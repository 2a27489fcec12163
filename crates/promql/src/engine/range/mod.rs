//! Range functions: one value per step of the samples in a window, series by series.
//!
//! A series becomes [`Samples`] (stale markers gone, floats and histograms apart), a step becomes a pair of
//! positions in it ([`super::window`]), and a function sees one [`FloatWindow`] at a time. Functions that need
//! the ends only never touch what is between.

mod counters;
mod histograms;
mod overtime;
mod regression;

use pando_model::SeriesSamples;

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
        let samples = Samples::of(series);
        if samples.histogram_times.is_empty() {
            let bounds = match samples.shared_axis() {
                true => windows.bounds(&series.axis, self.steps, self.range_ms),
                false => windows.uncached(&samples.times, self.steps, self.range_ms),
            };
            self.floats(&samples, &bounds, &mut out);
        } else {
            let name = series.labels.metric_name();
            let mixed = histograms::Mixed { call: self, samples: &samples, name };
            let bounds = mixed.run(windows, &mut out, notes);
            self.floats(&samples, &bounds, &mut out);
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

    /// Runs the function over all windows of floats.
    fn floats(&self, samples: &Samples<'_>, bounds: &[Bound], out: &mut StepVector) {
        use RangeFunction as R;
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

/// Adds `note` unless it is the last one already: series of one metric say the same one after the other.
pub(crate) fn push_note(notes: &mut Vec<Note>, note: Note) {
    if notes.last() != Some(&note) {
        notes.push(note);
    }
}
