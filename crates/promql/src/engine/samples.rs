//! `Samples`: a series without stale markers, floats and histograms apart.

use std::borrow::Cow;
use std::sync::Arc;

use pando_model::{Histogram, SeriesSamples, is_stale_nan};

use super::range::starts::Started;

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
}

impl<'a> Samples<'a> {
    /// Those of `series`, without their start timestamps.
    pub(crate) fn of(series: &'a SeriesSamples) -> Self {
        Self::read(series, &[])
    }

    /// Those of `series`, with their start timestamps where any is known.
    pub(crate) fn with_starts(series: &'a SeriesSamples) -> Self {
        let known = series.starts.len() == series.len();
        Self::read(series, if known { &series.starts } else { &[] })
    }

    /// `starts` are one per sample of the series, or none at all.
    fn read(series: &'a SeriesSamples, starts: &'a [i64]) -> Self {
        let plain = series.histograms.is_empty() && !series.floats.iter().any(|v| is_stale_nan(*v));
        if plain {
            return Samples {
                times: Cow::Borrowed(&series.axis),
                values: Cow::Borrowed(&series.floats),
                histogram_times: Vec::new(),
                histograms: Vec::new(),
                starts: Cow::Borrowed(starts),
                histogram_starts: Vec::new(),
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
        }
    }

    /// Whether the times are the series' own axis, so that its windows can be shared.
    pub(crate) fn shared_axis(&self) -> bool {
        matches!(self.times, Cow::Borrowed(_))
    }

    /// Where the floats fall, or a start timestamp tells of a reset, and the value before; empty for most series.
    pub(crate) fn resets(&self) -> Vec<(u32, f64)> {
        let mut found: Vec<(u32, f64)> = self.falls().collect();
        if !self.starts.is_empty() {
            found.extend(Started::floats(self).resets().map(|i| (i as u32, self.values[i - 1])));
            found.sort_unstable_by_key(|(i, _)| *i);
            found.dedup_by_key(|(i, _)| *i);
        }
        found
    }

    fn falls(&self) -> impl Iterator<Item = (u32, f64)> {
        let falls = |(_, w): &(usize, &[f64])| w[1] < w[0];
        let found = self.values.windows(2).enumerate().filter(falls);
        found.map(|(i, w)| (i as u32 + 1, w[0]))
    }
}
