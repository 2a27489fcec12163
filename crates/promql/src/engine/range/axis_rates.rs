//! `AxisRates`: what `rate`, `increase` and `delta` need of a time axis: which samples stand at the ends of each
//! window, and what their difference is multiplied by. Worked out once per axis; of a series' values two are read per
//! step.

use super::counters::{Extrapolation, Reach};
use super::resets::Resets;
use crate::engine::bitmap::Bitmap;
use crate::engine::window::Bound;
use crate::steps::Steps;

/// The windows of one axis.
pub(crate) struct AxisRates {
    /// The steps whose window has two samples or more.
    pub(super) present: Bitmap,
    windows: Vec<Window>,
    /// How far each window reaches. Apart from it: few series ask.
    reaches: Vec<Reach>,
    how: Extrapolation,
    range_ms: i64,
}

/// One window. Without samples: the first position, and a factor of 0.
struct Window {
    first: u32,
    last: u32,
    /// What the difference of the last value and the first is multiplied by, where no counter begins in the window.
    factor: f64,
    /// A first value below this part of the increase may begin in the window: the factor is another then.
    beginning: f64,
}

/// More than what is lost by rounding where [`Window::beginning`] is compared.
const ROUNDING: f64 = 1.0 + 1e-9;

impl AxisRates {
    /// Beyond so many steps an axis costs more than its series save.
    pub(super) const STEPS_MAX: usize = 32 << 10;

    /// Those of windows `bounds` that end at `steps` on `axis`.
    pub(crate) fn new(
        axis: &[i64],
        bounds: &[Bound],
        steps: &Steps,
        range_ms: i64,
        how: Extrapolation,
    ) -> Self {
        let mut present = Bitmap::zeros(bounds.len());
        let mut windows = Vec::with_capacity(bounds.len());
        let mut reaches = Vec::with_capacity(bounds.len());
        for (i, (bound, end_ms)) in bounds.iter().zip(steps.iter()).enumerate() {
            if bound.len() < 2 {
                let (factor, beginning) = (0.0, f64::NEG_INFINITY);
                windows.push(Window { first: 0, last: 0, factor, beginning });
                reaches.push(Reach::default());
                continue;
            }
            present.set(i);
            let (first, last) = (bound.lo(), bound.hi() - 1);
            let reach = Reach::of_samples(axis[first], axis[last], bound.len(), end_ms, range_ms);
            windows.push(Window {
                first: first as u32,
                last: last as u32,
                factor: reach.factor(range_ms, how),
                beginning: match how.counter {
                    true => reach.to_start / reach.sampled * ROUNDING,
                    false => f64::NEG_INFINITY,
                },
            });
            reaches.push(reach);
        }
        AxisRates { present, windows, reaches, how, range_ms }
    }

    /// One value per step of a series with `values`, one per time of the axis, that fall at `resets`. Where a window
    /// has too few samples, it means nothing.
    pub(super) fn values(&self, values: &[f64], resets: &Resets) -> Vec<f64> {
        if values.is_empty() {
            return vec![0.0; self.windows.len()];
        }
        let windows = self.windows.iter().zip(&self.reaches);
        if resets.is_empty() {
            let rate = |(window, reach): (&Window, &Reach)| {
                let first = values[window.first as usize];
                self.rate(window, reach, first, values[window.last as usize] - first)
            };
            return windows.map(rate).collect();
        }
        let (mut from, mut upto) = (0, 0);
        let rate = |(window, reach): (&Window, &Reach)| {
            let first = values[window.first as usize];
            let mut increase = values[window.last as usize] - first;
            // Windows without samples begin at 0, in between.
            if window.last > 0 {
                from = resets.until_from(from, window.first as usize);
                upto = resets.until_from(upto.max(from), window.last as usize);
                increase = resets.add_lost(increase, from..upto);
            }
            self.rate(window, reach, first, increase)
        };
        windows.map(rate).collect()
    }

    #[inline]
    fn rate(&self, window: &Window, reach: &Reach, first: f64, increase: f64) -> f64 {
        // Seldom so; the other two mostly are.
        if first <= window.beginning * increase && increase > 0.0 && first >= 0.0 {
            let reach = reach.limited_by_zero(first, increase);
            return increase * reach.factor(self.range_ms, self.how);
        }
        increase * window.factor
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::FloatWindow;
    use super::super::counters::extrapolated;
    use super::*;
    use crate::engine::window::WindowCache;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        /// To the last bit what the function of one window says.
        #[test]
        fn an_axis_says_what_its_windows_say(
            samples in proptest::collection::vec((1i64..40, 0u8..9), 0..60),
            start in -50i64..400, step in 1i64..90, range in 1i64..300, counter: bool, per_second: bool,
        ) {
            let mut t = 0;
            let times: Vec<i64> = samples.iter().map(|(gap, _)| { t += gap; t }).collect();
            let value = |code: u8| match code {
                0 => 0.0, 1 => -0.0, 2 => f64::NAN, 3 => f64::INFINITY, 4 => -3.5, n => f64::from(n),
            };
            let mut total = 0.0;
            let values: Vec<f64> = samples.iter().map(|(_, code)| {
                total += f64::from(*code);
                if *code < 5 { total = 0.0; value(*code) } else { total }
            }).collect();
            let steps = Steps::range(start, start + step * 11, step).expect("twelve steps");
            let how = Extrapolation { counter, per_second };
            let bounds = WindowCache::default().uncached(&times, &steps, range);
            let falls = (1..values.len()).filter(|i| values[*i] < values[i - 1]);
            let resets = Resets::new(match counter {
                true => falls.map(|i| (i as u32, values[i - 1])).collect(),
                false => Vec::new(),
            });
            let rates = AxisRates::new(&times, &bounds, &steps, range, how);
            let out = rates.values(&values, &resets);
            prop_assert_eq!(out.len(), steps.len());
            for (i, bound) in bounds.iter().enumerate() {
                let window = FloatWindow {
                    times: &times[bound.lo()..bound.hi()],
                    values: &values[bound.lo()..bound.hi()],
                    end_ms: steps.at(i),
                    range_ms: range,
                };
                let one = extrapolated(window, &resets, bound.lo(), None, how);
                let of_axis = rates.present.get(i).then(|| out[i]);
                prop_assert_eq!(one.map(f64::to_bits), of_axis.map(f64::to_bits), "step {}", i);
            }
        }
    }
}
