//! Aggregations that run at the frontend alone: `stddev`, `stdvar`, `quantile`, `count_values`, `limitk`,
//! `limit_ratio`, and `topk` with a changing parameter.

use pando_model::labels::LabelsBuilder;
use pando_model::{Labels, SampleValue};
use xxhash_rust::xxh3::xxh3_64;

use super::Grouping;
use crate::annotations::Note;
use crate::budget::{Ledger, STEPS_PER_CHECK};
use crate::engine::histogram;
use crate::engine::kahan::Kahan;
use crate::engine::labelset::LabelSetIndex;
use crate::engine::quantile::quantile;
use crate::engine::range::push_note;
use crate::engine::vector::{StepVector, column_bytes};
use crate::error::QueryError;
use crate::syntax::ast::AggregateOp;

/// The series of each group, groups in the order in which they are first seen.
pub(crate) fn groups(
    grouping: &Grouping,
    input: Vec<StepVector>,
) -> Vec<(Labels, Vec<StepVector>)> {
    let mut index = LabelSetIndex::default();
    let mut out: Vec<(Labels, Vec<StepVector>)> = Vec::new();
    for series in input.into_iter().filter(|s| !s.is_empty()) {
        let labels = grouping.labels_of(&series.labels);
        let at = index.position(&labels);
        if at == out.len() {
            out.push((labels, Vec::new()));
        }
        out[at].1.push(series);
    }
    out
}

/// `stddev`, `stdvar`, `quantile`: one float per group and step of the group's floats. `param` is the
/// quantile's.
pub(crate) fn spread(
    op: AggregateOp,
    param: &[f64],
    grouping: &Grouping,
    input: Vec<StepVector>,
    notes: &mut Vec<Note>,
    ledger: &mut Ledger,
) -> Result<Vec<StepVector>, QueryError> {
    let mut out = Vec::new();
    for (labels, series) in groups(grouping, input) {
        let steps = series[0].values.len();
        ledger.hold(0, column_bytes(steps))?;
        let mut vector = StepVector::empty(labels, steps);
        vector.drop_name = series.iter().any(|s| s.drop_name);
        if series.iter().any(|s| !s.histograms.is_empty()) {
            let note = Note::HistogramIgnoredInAggregation(op.as_str().to_string());
            push_note(notes, note);
        }
        let mut values = Vec::with_capacity(series.len());
        for i in 0..steps {
            if i % STEPS_PER_CHECK == 0 {
                ledger.check_cancel()?;
            }
            values.clear();
            values.extend(series.iter().filter_map(|s| s.float(i)));
            if values.is_empty() {
                continue;
            }
            let value = match (op, param.get(i)) {
                (AggregateOp::Quantile, Some(q)) => quantile(*q, &values),
                (AggregateOp::Stddev, _) => variance(&values).sqrt(),
                _ => variance(&values),
            };
            vector.set(i, value);
        }
        out.push(vector);
    }
    out.retain(|v| !v.is_empty());
    Ok(out)
}

fn variance(values: &[f64]) -> f64 {
    let (mut mean, mut squares) = (values[0], Kahan::default());
    if !mean.is_finite() {
        squares.sum = f64::NAN;
    }
    for (i, v) in values.iter().enumerate().skip(1) {
        let delta = v - mean;
        mean += delta / (i as f64 + 1.0);
        squares.add(delta * (v - mean));
    }
    squares.value() / values.len() as f64
}

/// `count_values`: one series per group and distinct value, which becomes the label `label` before series are grouped:
/// it may replace a label of theirs, and `by` keeps it, but `without` may take it away again.
pub(crate) fn count_values(
    label: &str,
    grouping: &Grouping,
    input: Vec<StepVector>,
    ledger: &mut Ledger,
) -> Result<Vec<StepVector>, QueryError> {
    let grouping = grouping.with(label);
    let mut out: Vec<StepVector> = Vec::new();
    let mut index = LabelSetIndex::default();
    for one in &input {
        ledger.check_cancel()?;
        for i in one.presence().iter() {
            let text = match one.value(i) {
                Some(SampleValue::Float(v)) => plain_float(v),
                Some(SampleValue::Histogram(h)) => histogram::text(&h),
                None => continue,
            };
            let mut builder: LabelsBuilder = one.labels.to_builder();
            builder.set(label, &text);
            let labels = grouping.labels_of(&builder.build());
            let at = index.position(&labels);
            if at == out.len() {
                let steps = one.values.len();
                ledger.hold(0, column_bytes(steps) + 2 * labels.heap_bytes())?;
                out.push(StepVector::empty(labels, steps));
            }
            let counts = &mut out[at];
            counts.drop_name |= one.drop_name;
            counts.set(i, counts.float(i).unwrap_or(0.0) + 1.0);
        }
    }
    Ok(out)
}

/// A float without exponent, as Go's `FormatFloat(v, 'f', -1, 64)` writes it.
fn plain_float(v: f64) -> String {
    match v {
        f64::INFINITY => "+Inf".to_string(),
        f64::NEG_INFINITY => "-Inf".to_string(),
        v => v.to_string(),
    }
}

/// `limitk` (the first k series of a group, in the order of their labels) and `limit_ratio` (those whose labels'
/// hash says so), step by step.
pub(crate) fn limit(
    op: AggregateOp,
    param: &[f64],
    grouping: &Grouping,
    input: Vec<StepVector>,
    ledger: &Ledger,
) -> Result<Vec<StepVector>, QueryError> {
    let mut out = Vec::new();
    for (_, mut series) in groups(grouping, input) {
        ledger.check_cancel()?;
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        let steps = series[0].values.len();
        let mut taken = vec![0u64; steps];
        for one in &mut series {
            let place = hash_ratio(&one.labels);
            let mut mask = one.presence();
            for i in one.presence().iter() {
                let keep = match op {
                    AggregateOp::LimitK => (taken[i] as f64) < param[i].trunc(),
                    _ if param[i] >= 0.0 => place < param[i],
                    _ => place >= 1.0 + param[i],
                };
                if keep {
                    taken[i] += 1;
                } else {
                    mask.unset(i);
                }
            }
            one.keep(&mask);
        }
        out.extend(series.into_iter().filter(|s| !s.is_empty()));
    }
    Ok(out)
}

/// Where the labels fall in 0..1.
fn hash_ratio(labels: &Labels) -> f64 {
    let mut bytes = Vec::new();
    for (name, value) in labels {
        for text in [name, value] {
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(0xff);
        }
    }
    xxh3_64(&bytes) as f64 / u64::MAX as f64
}
