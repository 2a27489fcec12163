//! Operators on two values.

use std::sync::Arc;

use pando_model::{Histogram, SampleValue};

use crate::annotations::{HistogramOperation, Note};
use crate::engine::histogram::{Keep, difference, divided, multiplied, same, total, trimmed};
use crate::engine::range::push_note;
use crate::syntax::ast::BinaryOp;

/// `a op b` of scalars; comparisons give 0 or 1, set operators have no value.
pub(crate) fn scalar_op(op: BinaryOp, a: f64, b: f64) -> Option<f64> {
    if op.is_comparison() {
        return Some(f64::from(u8::from(compare(op, a, b))));
    }
    arithmetic(op, a, b)
}

fn arithmetic(op: BinaryOp, a: f64, b: f64) -> Option<f64> {
    Some(match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        BinaryOp::Pow => pow(a, b),
        BinaryOp::Atan2 => a.atan2(b),
        _ => return None,
    })
}

/// Go's `math.Pow`, which agrees with IEEE's `pow`.
fn pow(a: f64, b: f64) -> f64 {
    a.powf(b)
}

fn compare(op: BinaryOp, a: f64, b: f64) -> bool {
    match op {
        BinaryOp::Equal => a == b,
        BinaryOp::NotEqual => a != b,
        BinaryOp::Greater => a > b,
        BinaryOp::Less => a < b,
        BinaryOp::GreaterEqual => a >= b,
        BinaryOp::LessEqual => a <= b,
        _ => false,
    }
}

/// `a op b` of vector elements: a value, and for comparisons whether it holds; a comparison's value is its left
/// side. `None`, and a note, where the two do not go together.
pub(super) fn element_op(
    op: BinaryOp,
    a: &SampleValue,
    b: &SampleValue,
    notes: &mut Vec<Note>,
) -> Option<(SampleValue, bool)> {
    use SampleValue as V;
    let result = match (a, b) {
        (V::Float(x), V::Float(y)) if op.is_comparison() => {
            Some((V::Float(*x), compare(op, *x, *y)))
        }
        (V::Float(x), V::Float(y)) => arithmetic(op, *x, *y).map(|v| (V::Float(v), true)),
        (V::Histogram(h), V::Float(f)) => match op {
            BinaryOp::Mul => made(multiplied(h, *f)),
            BinaryOp::Div => made(divided(h, *f)),
            BinaryOp::TrimUpper => made(trimmed(h, Keep::Below, *f)),
            BinaryOp::TrimLower => made(trimmed(h, Keep::Above, *f)),
            _ => None,
        },
        (V::Float(f), V::Histogram(h)) => match op {
            BinaryOp::Mul => made(multiplied(h, *f)),
            _ => None,
        },
        (V::Histogram(x), V::Histogram(y)) => match op {
            BinaryOp::Equal => Some((a.clone(), same(x, y))),
            BinaryOp::NotEqual => Some((a.clone(), !same(x, y))),
            BinaryOp::Add | BinaryOp::Sub => return sum(op, x, y, notes),
            _ => None,
        },
    };
    if result.is_none() {
        push_note(notes, incompatible(op, a, b));
    }
    result
}

fn made(h: Histogram) -> Option<(SampleValue, bool)> {
    Some((SampleValue::Histogram(Arc::new(h)), true))
}

/// The sum or difference of two histograms; nothing where their buckets are of different kinds.
fn sum(
    op: BinaryOp,
    a: &Histogram,
    b: &Histogram,
    notes: &mut Vec<Note>,
) -> Option<(SampleValue, bool)> {
    let (result, operation) = match op {
        BinaryOp::Sub => (difference(a, b), HistogramOperation::Subtraction),
        _ => (total(a, b), HistogramOperation::Addition),
    };
    let Ok((h, added)) = result else {
        push_note(notes, Note::IncompatibleBuckets(op.as_str().to_string()));
        return None;
    };
    if added.collision {
        push_note(notes, Note::CounterResetCollision(operation));
    }
    if added.reconciled {
        push_note(notes, Note::MismatchedCustomBuckets(operation));
    }
    made(h)
}

/// The note about elements that an operator cannot take.
pub(super) fn incompatible(op: BinaryOp, a: &SampleValue, b: &SampleValue) -> Note {
    let name = |v: &SampleValue| match v {
        SampleValue::Float(_) => "float".to_string(),
        SampleValue::Histogram(_) => "histogram".to_string(),
    };
    Note::IncompatibleTypes(op.as_str().to_string(), name(a), name(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_compute_as_ieee_and_go() {
        assert_eq!(scalar_op(BinaryOp::Mod, -5.5, 2.0), Some(-1.5));
        assert_eq!(scalar_op(BinaryOp::Pow, 2.0, -1.0), Some(0.5));
        assert_eq!(scalar_op(BinaryOp::Div, 1.0, 0.0), Some(f64::INFINITY));
        assert_eq!(scalar_op(BinaryOp::GreaterEqual, f64::NAN, 1.0), Some(0.0));
        assert_eq!(scalar_op(BinaryOp::And, 1.0, 1.0), None);
    }
}
