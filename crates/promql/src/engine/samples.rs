//! `Samples`: a series without stale markers, floats and histograms apart.

use std::borrow::Cow;
use std::sync::Arc;

use pando_model::{Histogram, SeriesSamples, is_stale_nan};

use super::range::starts::Started;

/// What is known of a series' samples without a look at them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Course {
    /// Nothing.
    Unknown,
    /// They are floats, no stale marker among them, and none that is lower than the one before it.
    Steady,
    /// They are floats, and all of them are one finite number.
    Constant,
}

/// The samples of a series that count. Borrowed where the series holds nothing but ordinary floats.
pub(crate) struct Samples<'a> {
    /// Times of the floats, ms.
    pub(crate) times: Cow<'a, [i64]>,
    /// The floats.
    pub(crate) values: Cow<'a, [f64]>,
    /// Times of the histograms, ms.
    pub(crate) histogram_times: Vec<i64>,
    /// The histograms.
    pub(crate) histograms: Vec<Arc<Histogram>>,
    /// The floats' start timestamps, ms, where they count and any is known; else empty.
    pub(crate) starts: Cow<'a, [i64]>,
    /// Those of the histograms.
    pub(crate) histogram_starts: Vec<i64>,
    /// Whether the floats are known never to fall.
    steady: bool,
}

impl<'a> Samples<'a> {
    /// Those of `series`, without their start timestamps.
    pub(crate) fn of(series: &'a SeriesSamples) -> Self {
        Self::read(series, &[], false)
    }

    /// [`Samples::of`] where the floats are known to have no stale marker and never to fall.
    pub(crate) fn of_steady(series: &'a SeriesSamples) -> Self {
        Self::read(series, &[], true)
    }

    /// Those of `series`, with their start timestamps where any is known.
    pub(crate) fn with_starts(series: &'a SeriesSamples) -> Self {
        let known = series.starts.len() == series.len();
        Self::read(series, if known { &series.starts } else { &[] }, false)
    }

    /// `starts` are one per sample of the series, or none at all.
    fn read(series: &'a SeriesSamples, starts: &'a [i64], steady: bool) -> Self {
        let plain = series.histograms.is_empty() && (steady || !has_stale(&series.floats));
        if plain {
            return Samples {
                times: Cow::Borrowed(&series.axis),
                values: Cow::Borrowed(&series.floats),
                histogram_times: Vec::new(),
                histograms: Vec::new(),
                starts: Cow::Borrowed(starts),
                histogram_starts: Vec::new(),
                steady,
            };
        }
        let (mut times, mut values) = (Vec::new(), Vec::new());
        let (mut histogram_times, mut histograms) = (Vec::new(), Vec::new());
        let (mut float_starts, mut histogram_starts) = (Vec::new(), Vec::new());
        let mut next = series.histograms.iter().peekable();
        for (i, (t, v)) in series.axis.iter().zip(&series.floats).enumerate() {
            if next.peek().is_some_and(|(at, _)| *at as usize == i) {
                if let Some((_, h)) = next.next().filter(|(_, h)| !h.is_stale()) {
                    histogram_times.push(*t);
                    histograms.push(h.clone());
                    histogram_starts.extend(starts.get(i));
                }
            } else if !is_stale_nan(*v) {
                times.push(*t);
                values.push(*v);
                float_starts.extend(starts.get(i));
            }
        }
        Samples {
            times: Cow::Owned(times),
            values: Cow::Owned(values),
            histogram_times,
            histograms,
            starts: Cow::Owned(float_starts),
            histogram_starts,
            steady: false,
        }
    }

    /// Whether the times are the series' own axis, so that its windows can be shared.
    pub(crate) fn shared_axis(&self) -> bool {
        matches!(self.times, Cow::Borrowed(_))
    }

    /// Where the floats fall, or a start timestamp tells of a reset, and the value before; empty for most series.
    pub(crate) fn resets(&self) -> Vec<(u32, f64)> {
        let mut found = if self.steady { Vec::new() } else { falls(&self.values) };
        if !self.starts.is_empty() {
            found.extend(Started::floats(self).resets().map(|i| (i as u32, self.values[i - 1])));
            found.sort_unstable_by_key(|(i, _)| *i);
            found.dedup_by_key(|(i, _)| *i);
        }
        found
    }
}

/// Values that are looked at together: the processor compares many at once, and most runs have nothing to find.
const RUN_VALUES: usize = 64;

fn has_stale(values: &[f64]) -> bool {
    let any = |run: &[f64]| run.iter().fold(false, |any, v| any | is_stale_nan(*v));
    values.chunks(RUN_VALUES).any(any)
}

/// Where `values` fall, and the value before.
fn falls(values: &[f64]) -> Vec<(u32, f64)> {
    let mut found = Vec::new();
    let later = values.get(1..).unwrap_or_default();
    let runs = values.chunks(RUN_VALUES).zip(later.chunks(RUN_VALUES));
    for (run, (before, now)) in runs.enumerate() {
        if before.iter().zip(now).fold(false, |any, (before, now)| any | (now < before)) {
            let pairs = before.iter().zip(now).enumerate();
            let falls = pairs.filter(|(_, (before, now))| now < before);
            found
                .extend(falls.map(|(i, (before, _))| ((run * RUN_VALUES + i + 1) as u32, *before)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use pando_model::STALE_NAN;

    use super::*;

    #[test]
    fn runs_hide_neither_falls_nor_stale_markers() {
        for n in [0, 1, 2, 63, 64, 65, 128, 129, 200] {
            let rising: Vec<f64> = (0..n).map(f64::from).collect();
            assert_eq!((falls(&rising), has_stale(&rising)), (Vec::new(), false));
            for at in 1..rising.len() {
                let mut values = rising.clone();
                values[at..].iter_mut().for_each(|v| *v -= 2.0);
                assert_eq!(falls(&values), [(at as u32, rising[at - 1])], "n={n}");
                values[at] = STALE_NAN;
                assert!(has_stale(&values), "n={n} at={at}");
            }
        }
    }
}
