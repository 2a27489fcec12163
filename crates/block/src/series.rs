//! Parts of series: cutting `SeriesSamples` at positions and at times.

use std::ops::Range;
use std::sync::Arc;

use pando_model::{SeriesSamples, TimeRange};

/// The samples at positions `at` of `series`, without its exemplars. The axis is shared where `at`
/// is all.
pub(crate) fn cut(series: &SeriesSamples, at: Range<usize>) -> SeriesSamples {
    let axis: Arc<[i64]> =
        if at == (0..series.len()) { series.axis.clone() } else { series.axis[at.clone()].into() };
    on_axis(series, at, axis)
}

/// [`cut`] with an axis that is already known to hold the times at `at`.
pub(crate) fn on_axis(series: &SeriesSamples, at: Range<usize>, axis: Arc<[i64]>) -> SeriesSamples {
    let histograms = series
        .histograms
        .iter()
        .filter(|(position, _)| at.contains(&(*position as usize)))
        .map(|(position, h)| (position - at.start as u32, h.clone()))
        .collect();
    let starts = series.starts.get(at.clone()).map(<[i64]>::to_vec).unwrap_or_default();
    SeriesSamples {
        labels: series.labels.clone(),
        key: series.key,
        axis,
        floats: series.floats[at].to_vec(),
        histograms,
        starts,
        exemplars: Vec::new(),
    }
}

/// The positions of `axis` that lie in `time`.
pub(crate) fn positions(axis: &[i64], time: TimeRange) -> Range<usize> {
    let start = axis.partition_point(|t| *t < time.min_ms);
    let end = axis.partition_point(|t| *t < time.max_ms);
    start..end.max(start)
}

/// The slice of length `slice_ms` that holds `t_ms`, as its first millisecond.
pub(crate) fn slice_of(t_ms: i64, slice_ms: i64) -> i64 {
    t_ms.div_euclid(slice_ms).saturating_mul(slice_ms)
}

/// The runs of positions of `axis` that lie in one slice each; one run where `slice_ms` is 0.
pub(crate) fn slices(axis: &[i64], slice_ms: i64) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let mut start = 0;
    while start < axis.len() {
        let end = if slice_ms <= 0 {
            axis.len()
        } else {
            let slice = slice_of(axis[start], slice_ms);
            start + axis[start..].partition_point(|t| slice_of(*t, slice_ms) <= slice)
        };
        runs.push(start..end);
        start = end;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use pando_model::{Histogram, Labels, SampleValue, SeriesKey};

    #[test]
    fn slices_are_aligned_to_the_epoch_and_cover_everything() {
        assert_eq!(slices(&[-5, -1, 0, 9, 10, 31], 10), [0..2, 2..4, 4..5, 5..6]);
        assert_eq!(slices(&[-5, 100], 0), std::slice::from_ref(&(0..2)));
        assert!(slices(&[], 10).is_empty());
        assert_eq!(slices(&[i64::MIN, 0, i64::MAX], 7).len(), 3);
    }

    #[test]
    fn cutting_moves_positions_and_shares_whole_axes() {
        let h = || SampleValue::Histogram(Arc::new(Histogram::default()));
        let values =
            [(1, SampleValue::Float(1.0)), (2, h()), (3, SampleValue::Float(3.0)), (4, h())];
        let mut series = SeriesSamples::from_values(Labels::empty(), SeriesKey(0), values);
        series.starts = vec![7, 8, 9, 10];
        let part = cut(&series, 1..3);
        assert_eq!((&*part.axis, &part.floats[..]), (&[2i64, 3][..], &[0.0, 3.0][..]));
        assert_eq!(part.histograms[0].0, 0);
        assert_eq!(part.starts, [8, 9]);
        assert!(Arc::ptr_eq(&cut(&series, 0..4).axis, &series.axis));
        assert_eq!(positions(&series.axis, TimeRange { min_ms: 2, max_ms: 4 }), 1..3);
        assert_eq!(positions(&series.axis, TimeRange { min_ms: 9, max_ms: 2 }), 4..4);
    }
}
