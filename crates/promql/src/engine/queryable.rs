//! How many samples each step of a query looks at: what Prometheus calls queryable samples. A sample counts at every
//! step that sees it; a native histogram counts as many as it is floats large.

use std::sync::Arc;

use pando_model::{Histogram, SeriesSamples, is_stale_nan};

use super::vector::StepVector;
use super::window::WindowCache;
use crate::steps::Steps;

/// What Prometheus' structure of a histogram takes without its slices, and the time beside it, bytes.
const HISTOGRAM_BYTES: usize = 168 + 8;
/// What a float and its time take, bytes.
const FLOAT_BYTES: usize = 16;

/// Samples by step; adding to one that is empty counts nothing.
pub(crate) type StepSamples = Vec<u64>;

/// Adds the values of `vector` to `counted`.
pub(crate) fn add_values(counted: &mut StepSamples, vector: &StepVector) {
    for i in vector.present.iter() {
        add(counted, i, 1);
    }
    for (i, h) in &vector.histograms {
        add(counted, *i as usize, weight(h));
    }
}

/// Adds the samples of each step's window to `counted`. One window may stand for all steps.
pub(crate) fn add_windows(
    counted: &mut StepSamples,
    series: &SeriesSamples,
    ends: &Steps,
    range_ms: i64,
    windows: &mut WindowCache,
) {
    if counted.is_empty() {
        return;
    }
    let upto = prefix(series);
    let bounds = windows.bounds(&series.axis, ends, range_ms);
    let whole = bounds.len() == counted.len();
    for (i, count) in counted.iter_mut().enumerate() {
        if let Some(bound) = bounds.get(if whole { i } else { 0 }) {
            *count += upto[bound.hi()] - upto[bound.lo()];
        }
    }
}

/// All samples of `series`.
pub(crate) fn all(series: &SeriesSamples) -> u64 {
    prefix(series).last().copied().unwrap_or_default()
}

fn add(counted: &mut StepSamples, step: usize, samples: u64) {
    if let Some(count) = counted.get_mut(step) {
        *count += samples;
    }
}

/// How many samples there are before each position, stale markers left out.
fn prefix(series: &SeriesSamples) -> Vec<u64> {
    let mut histograms = series.histograms.iter().peekable();
    let mut sum = 0;
    let mut upto = vec![0; series.len() + 1];
    for (at, value) in series.floats.iter().enumerate() {
        sum += match histograms.next_if(|(position, _)| *position as usize == at) {
            Some((_, h)) if h.is_stale() => 0,
            Some((_, h)) => weight(h),
            None => u64::from(!is_stale_nan(*value)),
        };
        upto[at + 1] = sum;
    }
    upto
}

fn weight(h: &Arc<Histogram>) -> u64 {
    let slices = [
        h.positive_spans.len(),
        h.negative_spans.len(),
        h.positive_buckets.len(),
        h.negative_buckets.len(),
        h.custom_values.len(),
    ];
    ((HISTOGRAM_BYTES + slices.iter().sum::<usize>() * 8) / FLOAT_BYTES) as u64
}
