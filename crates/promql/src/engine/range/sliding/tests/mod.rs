//! Each way gives what its windows give by themselves, to the last bit.

mod work;

use pando_model::{Labels, SeriesKey, SeriesSamples};
use proptest::prelude::*;

use super::*;
use crate::budget::{Budget, CancelFlag, Ledger};
use crate::engine::quantile::quantile;
use crate::engine::range::{FloatWindow, Names, RangeArgs, RangeCall, RangeRules, overtime};
use crate::engine::samples::{Course, Samples};
use crate::engine::window::WindowCache;
use crate::steps::Steps;

/// 2^53.
const HUGE: f64 = 9_007_199_254_740_992.0;

/// What samples are drawn from.
const PALETTES: [&[f64]; 6] = [
    &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0, 0.1, -2.5, 3.0, f64::MAX, -f64::MAX],
    &[-0.0, 0.0, 1.0, 2.0, -3.0, 1e6, 0.0, 7.0, -1e12, 5.0],
    &[-0.0, 0.0, f64::NAN],
    &[HUGE - 1.0, 1.0, -1.0, 1.0 - HUGE, HUGE, HUGE + 2.0, HUGE / 2.0, -HUGE / 4.0, 0.5, -0.0],
    &[HUGE / 32.0, 1.0, -HUGE / 64.0, 3.0, 0.0, -0.0, HUGE / 32.0 - 1.0, 1.0, -5.0, 1e9],
    &[0.1, 0.2, -0.3, 1.5, 0.7, 1e-9, 1e15, 2.25, -0.1, f64::MIN_POSITIVE],
];

/// Values of `q`, of which each step has another.
const QUANTILES: [f64; 8] = [0.9, 0.5, 0.0, 1.0, -1.0, 2.0, f64::NAN, 0.37];

/// A series, and the windows to ask it about.
#[derive(Debug)]
struct Case {
    times: Vec<i64>,
    values: Vec<f64>,
    steps: Steps,
    range_ms: i64,
    /// Each so manieth window is asked about, as histograms take others away.
    each: usize,
}

impl Case {
    fn bounds(&self) -> Vec<Bound> {
        WindowCache::default().uncached(&self.times, &self.steps, self.range_ms).to_vec()
    }

    /// The windows that a function is asked about.
    fn asked(&self) -> Vec<Bound> {
        self.bounds().into_iter().step_by(self.each).filter(|b| !b.is_empty()).collect()
    }

    fn window(&self, bound: Bound) -> FloatWindow<'_> {
        let (times, values) =
            (&self.times[bound.lo()..bound.hi()], &self.values[bound.lo()..bound.hi()]);
        FloatWindow { times, values, end_ms: 0, range_ms: self.range_ms }
    }
}

/// Irregular times with gaps, values of one palette (in half of the cases rising here and there), steps near or far
/// apart, windows short or long.
fn case() -> impl Strategy<Value = Case> {
    let samples = proptest::collection::vec((1i64..30, 0usize..10), 0..90);
    let windows = (-100i64..600, 1i64..70, 1usize..60, 1i64..900);
    (samples, 0..PALETTES.len(), any::<bool>(), windows, 1usize..4).prop_map(
        |(samples, palette, rising, (start, step, count, range_ms), each)| {
            let palette = PALETTES[palette];
            let mut t = 0;
            let times = samples.iter().map(|(gap, _)| {
                t += if *gap == 29 { 400 } else { *gap };
                t
            });
            let times = times.collect();
            let mut values: Vec<f64> =
                samples.iter().map(|(_, code)| palette[code % palette.len()]).collect();
            if rising {
                values.chunks_mut(20).for_each(|run| run.sort_by(f64::total_cmp));
            }
            let steps = Steps::range(start, start + step * (count as i64 - 1), step);
            Case { times, values, steps: steps.expect("few steps"), range_ms, each }
        },
    )
}

/// The bits, but one NaN for all.
fn bits(v: f64) -> u64 {
    if v.is_nan() { f64::NAN.to_bits() } else { v.to_bits() }
}

/// What the function says of one window by itself.
fn alone(function: RangeFunction, window: FloatWindow<'_>, q: f64) -> Option<f64> {
    match function {
        RangeFunction::Sum => overtime::sum(window),
        RangeFunction::Avg => overtime::avg(window),
        RangeFunction::Min => overtime::min(window),
        RangeFunction::Max => overtime::max(window),
        RangeFunction::TsOfMin => overtime::time_of_min(window),
        RangeFunction::TsOfMax => overtime::time_of_max(window),
        _ => Some(quantile(q, window.values)),
    }
}

fn series(times: &[i64], values: &[f64]) -> SeriesSamples {
    SeriesSamples {
        labels: Labels::default(),
        key: SeriesKey::default(),
        axis: times.into(),
        floats: values.to_vec(),
        histograms: Vec::new(),
        starts: Vec::new(),
        exemplars: Vec::new(),
    }
}

fn call<'a>(
    function: RangeFunction,
    steps: &'a Steps,
    range_ms: i64,
    args: RangeArgs<'a>,
) -> RangeCall<'a> {
    let (rules, names, course) = (RangeRules::default(), Names::Keep, Course::Unknown);
    RangeCall { function, range_ms, rules, steps, args, names, course }
}

const FUNCTIONS: [RangeFunction; 7] = [
    RangeFunction::Sum,
    RangeFunction::Avg,
    RangeFunction::Min,
    RangeFunction::Max,
    RangeFunction::TsOfMin,
    RangeFunction::TsOfMax,
    RangeFunction::Quantile,
];

/// Whether all are integers whose magnitudes add up to less than 2^53.
fn adds_exactly(values: &[f64]) -> bool {
    let integers = values.iter().all(|v| v.abs() < HUGE && v.trunc() == *v);
    integers && values.iter().map(|v| v.abs() as u128).sum::<u128>() < HUGE as u128
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn prefix_sums_are_the_compensated_sums(case in case()) {
        let overlap = Overlap::of(&case.asked());
        let reach = overlap.lo..overlap.hi;
        let sums = ExactSums::of(&case.values, reach.clone());
        prop_assert_eq!(sums.is_some(), adds_exactly(&case.values[reach]));
        let Some(mut sums) = sums else { return Ok(()) };
        for bound in case.asked() {
            let (sum, window) = (sums.of_window(bound), case.window(bound));
            let mean = sum / bound.len() as f64;
            prop_assert_eq!(Some(sum.to_bits()), overtime::sum(window).map(f64::to_bits));
            prop_assert_eq!(Some(mean.to_bits()), overtime::avg(window).map(f64::to_bits));
        }
    }

    #[test]
    fn extremes_that_slide_are_those_of_each_window(case in case()) {
        type Better = fn(&f64, &f64) -> bool;
        type Alone = fn(FloatWindow<'_>) -> Option<f64>;
        let functions: [(Better, Alone, bool); 4] = [
            (f64::lt, overtime::min, false),
            (f64::gt, overtime::max, false),
            (f64::le, overtime::time_of_min, true),
            (f64::ge, overtime::time_of_max, true),
        ];
        for (better, alone, is_time) in functions {
            let mut extremes = Extremes::new(&case.values, better);
            for bound in case.asked() {
                let at = extremes.position(bound);
                let got = if is_time { case.times[at] as f64 / 1000.0 } else { case.values[at] };
                let wanted = alone(case.window(bound));
                prop_assert_eq!(Some(bits(got)), wanted.map(bits), "{:?}", bound);
            }
        }
    }

    #[test]
    fn ranks_that_slide_are_those_of_each_window(case in case(), sorts: bool) {
        let mut ranks = Ranks::new(&case.values, sorts);
        for (i, bound) in case.asked().into_iter().enumerate() {
            let q = QUANTILES[i % QUANTILES.len()];
            let wanted = quantile(q, case.window(bound).values);
            prop_assert_eq!(bits(ranks.quantile(q, bound)), bits(wanted), "{:?}", bound);
        }
    }

    /// Whichever way is taken.
    #[test]
    fn every_step_has_what_its_window_says(case in case()) {
        let series = series(&case.times, &case.values);
        let column: Vec<f64> = QUANTILES.iter().copied().cycle().take(case.steps.len()).collect();
        for function in FUNCTIONS {
            let args = RangeArgs::Columns(std::slice::from_ref(&column));
            let call = call(function, &case.steps, case.range_ms, args);
            let mut ledger = Ledger::new(Budget::default(), CancelFlag::new());
            let out = call.run(&series, &mut WindowCache::default(), &mut Vec::new(), &mut ledger);
            let out = out.expect("within the budget");
            for (i, bound) in case.bounds().into_iter().enumerate() {
                let window = (!bound.is_empty()).then(|| case.window(bound));
                let wanted = window.and_then(|window| alone(function, window, column[i]));
                prop_assert_eq!(out.float(i).map(bits), wanted.map(bits), "{:?} {}", function, i);
            }
        }
    }
}
