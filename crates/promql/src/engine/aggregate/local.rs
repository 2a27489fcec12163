//! Aggregations that run at the frontend alone: `quantile`, which needs all values of a group, and `limitk` and
//! `limit_ratio` with a parameter that changes from step to step.

use pando_model::Labels;

use super::Grouping;
use super::limited::{first_places, in_part};
use crate::annotations::Note;
use crate::budget::{Ledger, STEPS_PER_CHECK};
use crate::engine::labelset::LabelSetIndex;
use crate::engine::quantile::quantile;
use crate::engine::range::push_note;
use crate::engine::vector::{StepVector, column_bytes};
use crate::error::QueryError;
use crate::syntax::ast::AggregateOp;

/// The series of each group, groups in the order in which they are first seen.
fn groups(grouping: &Grouping, input: Vec<StepVector>) -> Vec<(Labels, Vec<StepVector>)> {
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

/// `quantile`: one float per group and step, that of `q` of the group's floats.
pub(crate) fn quantiles(
    q: &[f64],
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
            let note = Note::HistogramIgnoredInAggregation("quantile".to_string());
            push_note(notes, note);
        }
        let mut values = Vec::with_capacity(series.len());
        for (i, q) in q.iter().enumerate().take(steps) {
            if i % STEPS_PER_CHECK == 0 {
                ledger.check_cancel()?;
            }
            values.clear();
            values.extend(series.iter().filter_map(|s| s.float(i)));
            if !values.is_empty() {
                vector.set(i, quantile(*q, &values));
            }
        }
        out.push(vector);
    }
    out.retain(|v| !v.is_empty());
    Ok(out)
}

/// `limitk` and `limit_ratio`, step by step.
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
        let mut taken = vec![0; series[0].values.len()];
        for one in &mut series {
            if op == AggregateOp::LimitK {
                first_places(one, |i| param[i] as u64, &mut taken);
                continue;
            }
            let mut mask = one.presence();
            for i in one.presence().iter().filter(|i| !in_part(&one.labels, param[*i])) {
                mask.unset(i);
            }
            one.keep(&mask);
        }
        out.extend(series.into_iter().filter(|s| !s.is_empty()));
    }
    Ok(out)
}
