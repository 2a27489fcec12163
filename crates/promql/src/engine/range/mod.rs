//! Range functions: one value per step of the samples in a window, series by series.
//!
//! A series becomes [`Samples`] (stale markers gone, floats and histograms apart), a step becomes a pair of
//! positions in it ([`super::window`]), and a function of floats sees one [`FloatWindow`] at a time. Functions that
//! need the ends only never touch what is between. Where a series holds histograms, [`histograms`] answers for the
//! windows that they have a part in. `anchored` and `smoothed` windows are wider than their range and
//! take a way of their own ([`extended`]); start timestamps tell of resets that values do not show ([`starts`]).

mod axis_rates;
mod counters;
mod edges;
mod extended;
mod histograms;
mod one_series;
mod overtime;
mod regression;
mod resets;
mod sliding;
pub(crate) mod starts;

use pando_model::SeriesSamples;

pub(crate) use axis_rates::AxisRates;
pub(crate) use counters::Extrapolation;
pub use edges::{Edges, RangeRules};
pub(crate) use extended::{passed_of, samples_at_edges};
pub(crate) use histograms::note_interpolated;
use one_series::OneSeries;

use super::samples::{Course, Samples};
use super::vector::{StepVector, held_column};
use super::window::WindowCache;
use crate::annotations::Note;
use crate::budget::Ledger;
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

impl FloatWindow<'_> {
    /// The window's beginning, ms.
    #[inline]
    fn start_ms(&self) -> i64 {
        self.end_ms.saturating_sub(self.range_ms)
    }
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
    pub(crate) names: Names,
    /// What is known of the samples.
    pub(crate) course: Course,
}

/// What becomes of the labels that describe the metric, where the function drops them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Names {
    /// They are taken away.
    Drop,
    /// The result is marked to lose them when the query ends.
    Delay,
    /// Those of floats stay: who uses the result does not look at them.
    Keep,
}

impl Names {
    /// As the query's features have it.
    pub(crate) fn of(delayed_name_removal: bool) -> Self {
        if delayed_name_removal { Names::Delay } else { Names::Drop }
    }
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
    /// The function's values for `series`, whose window ends are `steps`: a column that is held in `ledger`.
    pub(crate) fn run(
        &self,
        series: &SeriesSamples,
        windows: &mut WindowCache,
        notes: &mut Vec<Note>,
        ledger: &mut Ledger,
    ) -> Result<StepVector, QueryError> {
        held_column(ledger, self.steps.len(), |ledger| self.column(series, windows, notes, ledger))
    }

    fn column(
        &self,
        series: &SeriesSamples,
        windows: &mut WindowCache,
        notes: &mut Vec<Note>,
        ledger: &mut Ledger,
    ) -> Result<StepVector, QueryError> {
        let drops = self.function.drops_name();
        // Notes about histograms that are added up name the metric.
        let seen = self.names == Names::Keep && !series.histograms.is_empty();
        let labels = match drops && (self.names == Names::Drop || seen) {
            true => super::names::drop_metadata_labels(&series.labels),
            false => series.labels.clone(),
        };
        let mut out = StepVector::empty(labels, 0);
        out.drop_name = drops && self.names == Names::Delay;
        let samples = match (self.rules.starts, self.course) {
            (true, _) => Samples::with_starts(series),
            (false, Course::Steady | Course::Constant) => Samples::of_steady(series),
            (false, Course::Unknown) => Samples::of(series),
        };
        let cancel = &ledger.cancel_flag();
        let one = OneSeries { call: self, series, samples: &samples, cancel };
        one.run(windows, &mut out, notes, ledger)?;
        // A loop that was canceled has only ended early.
        ledger.check_cancel()?;
        Ok(out)
    }
}

/// Adds `note` unless it is the last one already: series of one metric say the same one after the other.
pub(crate) fn push_note(notes: &mut Vec<Note>, note: Note) {
    if notes.last() != Some(&note) {
        notes.push(note);
    }
}
