//! Operators between scalars, and between a vector and a scalar.

use pando_model::SampleValue;

use super::changes_metric;
use super::ops::{element_op, incompatible, scalar_op};
use crate::annotations::Note;
use crate::budget::Ledger;
use crate::engine::names::drop_metadata_labels;
use crate::engine::range::push_note;
use crate::engine::vector::{StepVector, join_same_labels};
use crate::error::QueryError;
use crate::syntax::ast::BinaryOp;

/// `a op b` of scalar columns.
///
/// # Errors
/// Where `op` is one of histograms alone.
pub(crate) fn scalars(op: BinaryOp, a: &[f64], b: &[f64]) -> Result<Vec<f64>, QueryError> {
    let values: Option<_> = a.iter().zip(b).map(|(a, b)| scalar_op(op, *a, *b)).collect();
    values.ok_or_else(|| {
        let op = op.as_str();
        QueryError::execution(format!("operator \"{op}\" not allowed for Scalar operations"))
    })
}

/// On which side of the operator the vector stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Left,
    Right,
}

/// How the result of an operator is made.
#[derive(Clone, Copy)]
pub(crate) struct Style {
    pub(crate) return_bool: bool,
    pub(crate) delayed_name_removal: bool,
}

/// `vector op scalar`, or `scalar op vector` with the vector on the right.
pub(crate) fn vector_scalar(
    op: BinaryOp,
    vector: Vec<StepVector>,
    scalar: &[f64],
    side: Side,
    style: Style,
    notes: &mut Vec<Note>,
    ledger: &mut Ledger,
) -> Result<Vec<StepVector>, QueryError> {
    let drops = changes_metric(op) || style.return_bool;
    let mut out = Vec::with_capacity(vector.len());
    for mut series in vector {
        apply_to_floats(op, &mut series, scalar, side, style.return_bool, notes);
        apply_to_histograms(op, &mut series, scalar, side, notes, ledger)?;
        if drops && style.delayed_name_removal {
            series.drop_name = true;
        } else if drops {
            series.labels = drop_metadata_labels(&series.labels);
        }
        if !series.is_empty() {
            out.push(series);
        }
    }
    if drops && !style.delayed_name_removal { join_same_labels(out) } else { Ok(out) }
}

fn apply_to_floats(
    op: BinaryOp,
    series: &mut StepVector,
    scalar: &[f64],
    side: Side,
    return_bool: bool,
    notes: &mut Vec<Note>,
) {
    let floats = series.present.clone();
    for i in floats.iter() {
        let v = series.values[i];
        let (a, b) = if side == Side::Left { (v, scalar[i]) } else { (scalar[i], v) };
        let Some(result) = scalar_op(op, a, b) else {
            let (a, b) = (SampleValue::Float(a), SampleValue::Float(b));
            push_note(notes, incompatible(op, &a, &b));
            series.present.unset(i);
            continue;
        };
        if !op.is_comparison() || return_bool {
            series.values[i] = result;
        } else if result == 0.0 {
            // A filter: what passes is the vector's own value.
            series.present.unset(i);
        }
    }
}

fn apply_to_histograms(
    op: BinaryOp,
    series: &mut StepVector,
    scalar: &[f64],
    side: Side,
    notes: &mut Vec<Note>,
    ledger: &mut Ledger,
) -> Result<(), QueryError> {
    for (i, h) in std::mem::take(&mut series.histograms) {
        let (v, s) = (SampleValue::Histogram(h), SampleValue::Float(scalar[i as usize]));
        let (a, b) = if side == Side::Left { (v, s) } else { (s, v) };
        match element_op(op, &a, &b, notes) {
            Some((SampleValue::Histogram(h), true)) => {
                series.push_histogram(i as usize, h, ledger)?;
            }
            Some((SampleValue::Float(v), true)) => series.set(i as usize, v),
            _ => {}
        }
    }
    Ok(())
}
