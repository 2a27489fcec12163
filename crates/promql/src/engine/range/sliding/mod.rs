//! Windows that overlap, without their overlap: what one window holds is worked out of what the one before held.
//!
//! | functions | how | each sample |
//! |---|---|---|
//! | sums, means | prefix sums, where they are exact ([`ExactSums`]) | is added once |
//! | extremes and their times | a front half and a back half ([`Extremes`]) | is compared twice |
//! | quantiles | rising runs, and a window kept sorted ([`Ranks`]) | enters once and leaves once |
//!
//! Every result is that of [`super::overtime`], to the last bit. Where windows overlap too little for this to pay,
//! and where it would not be exact, the function goes over each window by itself.
//!
//! Bounds only move forward, but for empty ones, which nobody asks about. Scratch is one word per sample of the
//! series at most (prefix sums), no more than what the ledger counts for the samples; it goes with the series.

mod extremes;
mod ranks;
mod sums;
#[cfg(test)]
mod tests;

use extremes::Extremes;
use ranks::Ranks;
use sums::ExactSums;

use super::{OneSeries, RangeFunction};
use crate::engine::vector::StepVector;
use crate::engine::window::Bound;

impl OneSeries<'_> {
    /// Runs the function over all windows of floats; false where each window has to be gone over by itself.
    pub(super) fn sliding(&self, bounds: &[Bound], out: &mut StepVector) -> bool {
        use RangeFunction as R;
        let (times, values) = (&*self.samples.times, &*self.samples.values);
        let value = |at: usize| values[at];
        let seconds = |at: usize| times[at] as f64 / 1000.0;
        match self.call.function {
            R::Sum => self.sums(bounds, out, |sum, _| sum),
            R::Avg => self.sums(bounds, out, |sum, count| sum / count),
            // The first of equal values, whose zeros differ in sign; but the last of their times.
            R::Min => self.extremes(bounds, out, f64::lt, value),
            R::Max => self.extremes(bounds, out, f64::gt, value),
            R::TsOfMin => self.extremes(bounds, out, f64::le, seconds),
            R::TsOfMax => self.extremes(bounds, out, f64::ge, seconds),
            _ => false,
        }
    }

    /// Sets what `of` makes of each window's sum and count.
    fn sums(&self, bounds: &[Bound], out: &mut StepVector, of: impl Fn(f64, f64) -> f64) -> bool {
        let overlap = Overlap::of(bounds);
        if !overlap.pays_for_sums() {
            return false;
        }
        let reach = overlap.lo..overlap.hi;
        let Some(mut sums) = ExactSums::of(&self.samples.values, reach) else { return false };
        self.each(bounds, out, |_, bound, _| Some(of(sums.of_window(bound), bound.len() as f64)));
        true
    }

    /// Sets what `of` makes of the position of each window's extreme.
    fn extremes(
        &self,
        bounds: &[Bound],
        out: &mut StepVector,
        better: impl Fn(&f64, &f64) -> bool,
        of: impl Fn(usize) -> f64,
    ) -> bool {
        if !Overlap::of(bounds).pays_for_extremes() {
            return false;
        }
        let mut extremes = Extremes::new(&self.samples.values, better);
        self.each(bounds, out, |_, bound, _| Some(of(extremes.position(bound))));
        true
    }

    /// `quantile_over_time`.
    pub(super) fn quantiles(&self, bounds: &[Bound], out: &mut StepVector) {
        let mut ranks = self.ranks(bounds);
        let q = |step| self.call.args.get(0, step);
        self.each(bounds, out, |_, bound, step| Some(ranks.quantile(q(step), bound)));
    }

    fn ranks(&self, bounds: &[Bound]) -> Ranks<'_> {
        Ranks::new(&self.samples.values, Overlap::of(bounds).pays_for_sorting())
    }
}

/// How windows lie over each other, which decides what pays. The numbers are of measurements: processor time per sample
/// for windows of 2 to 5,760 samples, 1 to 240 of them new in each, of random, rising, falling and wandering values.
#[derive(Default)]
struct Overlap {
    /// The first position of any window, and the one after the last.
    lo: usize,
    hi: usize,
    /// How many windows hold any sample.
    windows: usize,
    /// The lengths of all windows together.
    total: usize,
}

impl Overlap {
    fn of(bounds: &[Bound]) -> Self {
        let mut overlap = Overlap::default();
        for bound in bounds.iter().filter(|b| !b.is_empty()) {
            if overlap.windows == 0 {
                overlap.lo = bound.lo();
            }
            overlap.hi = bound.hi();
            overlap.windows += 1;
            overlap.total += bound.len();
        }
        overlap
    }

    fn samples(&self) -> usize {
        self.hi - self.lo
    }

    /// A prefix sum costs as much as a compensated one. Where a fraction shows itself late, they are lost.
    fn pays_for_sums(&self) -> bool {
        self.windows > 0 && self.total >= 2 * self.samples()
    }

    /// A sample in the halves costs what 4 comparisons do in windows by themselves, and a window what 12 do.
    fn pays_for_extremes(&self) -> bool {
        self.windows > 0 && self.total >= 4 * self.samples() + 12 * self.windows
    }

    /// To select from a window costs its length. To put one sample in the place of another costs what 12 of that do,
    /// and a move of part of the window: one more for each 32 samples of it.
    fn pays_for_sorting(&self) -> bool {
        self.windows > 0 && self.total >= (12 + self.total / self.windows / 32) * self.samples()
    }
}

/// How many samples were looked at. Counted in tests only.
#[derive(Default)]
struct Looks {
    #[cfg(test)]
    count: usize,
}

impl Looks {
    #[inline]
    fn add(&mut self, _samples: usize) {
        #[cfg(test)]
        {
            self.count += _samples;
        }
    }
}
