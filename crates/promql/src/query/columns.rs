//! Columns to samples and to the rows of an answer.

use std::sync::Arc;

use pando_model::{Histogram, ResetHint, SampleValue, SeriesSamples, Window};

use super::output::MatrixSeries;
use crate::engine::range::{Edges, samples_at_edges};
use crate::engine::vector::StepVector;
use crate::error::QueryError;
use crate::steps::Steps;

/// The points of a column as samples. What histograms knew of a reset before them they knew of the sample before,
/// which need not be the point before: it is to be found out anew.
pub(super) fn samples_of(mut series: StepVector, steps: &Steps) -> SeriesSamples {
    for (_, h) in &mut series.histograms {
        if matches!(h.reset_hint, ResetHint::Reset | ResetHint::NotReset) {
            *h = Arc::new(Histogram { reset_hint: ResetHint::Unknown, ..Histogram::clone(h) });
        }
    }
    let points = series.presence();
    let values = points.iter().filter_map(|i| Some((steps.at(i), series.value(i)?)));
    SeriesSamples::from_values(series.labels.clone(), Default::default(), values)
}

pub(super) fn matrix_of_samples(series: &SeriesSamples) -> MatrixSeries {
    let (mut floats, mut histograms) = (Vec::new(), Vec::new());
    for (i, t) in series.axis.iter().enumerate() {
        match series.value(i) {
            value if value.is_stale() => {}
            SampleValue::Float(v) => floats.push((*t, v)),
            SampleValue::Histogram(h) => histograms.push((*t, h)),
        }
    }
    MatrixSeries { labels: series.labels.clone(), floats, histograms }
}

/// The samples of a range with edges that are not plain. Series without a sample that counts are left out.
pub(super) fn matrix_at_edges(
    raw: &[SeriesSamples],
    edges: Edges,
    window: Window,
) -> Result<Vec<MatrixSeries>, QueryError> {
    let range_ms = window.upto_ms.saturating_sub(window.after_ms);
    let mut out = Vec::with_capacity(raw.len());
    for series in raw {
        let floats = samples_at_edges(series, edges, window.upto_ms, range_ms)?;
        if !floats.is_empty() {
            let (labels, histograms) = (series.labels.clone(), Vec::new());
            out.push(MatrixSeries { labels, floats, histograms });
        }
    }
    Ok(out)
}

/// Columns as a matrix, sorted by labels.
pub(super) fn matrix(mut vector: Vec<StepVector>, steps: &Steps) -> Vec<MatrixSeries> {
    vector.retain(|s| !s.is_empty());
    vector.sort_by(|a, b| a.labels.cmp(&b.labels));
    let series = |s: StepVector| MatrixSeries {
        floats: s.present.iter().map(|i| (steps.at(i), s.values[i])).collect(),
        histograms: s.histograms.iter().map(|(i, h)| (steps.at(*i as usize), h.clone())).collect(),
        labels: s.labels,
    };
    vector.into_iter().map(series).collect()
}
