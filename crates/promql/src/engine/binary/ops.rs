//! Operators on two values.

use std::sync::Arc;

use pando_model::{Histogram, SampleValue};

use crate::annotations::Note;
use crate::error::QueryError;
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

/// The result of an operator on two elements.
pub(super) enum Outcome {
    /// A value, and for comparisons whether it holds.
    Value(SampleValue, bool),
    /// The types do not go together: no result.
    Incompatible,
}

/// `a op b` of vector elements. A comparison's value is its left side.
pub(super) fn element_op(
    op: BinaryOp,
    a: &SampleValue,
    b: &SampleValue,
) -> Result<Outcome, QueryError> {
    use SampleValue as V;
    match (a, b) {
        (V::Float(x), V::Float(y)) if op.is_comparison() => {
            Ok(Outcome::Value(V::Float(*x), compare(op, *x, *y)))
        }
        (V::Float(x), V::Float(y)) => Ok(match arithmetic(op, *x, *y) {
            Some(v) => Outcome::Value(V::Float(v), true),
            None => Outcome::Incompatible,
        }),
        (V::Histogram(h), V::Float(f)) => match op {
            BinaryOp::Mul => Ok(scaled(h, *f, |v, f| v * f)),
            BinaryOp::Div => Ok(scaled(h, *f, |v, f| v / f)),
            BinaryOp::TrimUpper | BinaryOp::TrimLower => not_yet(op),
            _ => Ok(Outcome::Incompatible),
        },
        (V::Float(f), V::Histogram(h)) => match op {
            BinaryOp::Mul => Ok(scaled(h, *f, |v, f| v * f)),
            _ => Ok(Outcome::Incompatible),
        },
        (V::Histogram(x), V::Histogram(y)) => match op {
            BinaryOp::Equal => Ok(Outcome::Value(a.clone(), same(x, y))),
            BinaryOp::NotEqual => Ok(Outcome::Value(a.clone(), !same(x, y))),
            BinaryOp::Add | BinaryOp::Sub => not_yet(op),
            _ => Ok(Outcome::Incompatible),
        },
    }
}

fn not_yet(op: BinaryOp) -> Result<Outcome, QueryError> {
    let op = op.as_str();
    Err(QueryError::execution(format!("operator {op} on native histograms is not supported yet")))
}

/// Whether two histograms are equal in all that is observable; counter reset hints are not.
fn same(a: &Histogram, b: &Histogram) -> bool {
    let plain = |h: &Histogram| Histogram {
        integer: false,
        reset_hint: pando_model::ResetHint::Unknown,
        ..h.clone()
    };
    plain(a) == plain(b)
}

fn scaled(h: &Arc<Histogram>, factor: f64, f: impl Fn(f64, f64) -> f64) -> Outcome {
    let mut out = Histogram::clone(h);
    out.integer = false;
    // Divided by zero or scaled negatively it is no counter any more.
    if factor <= 0.0 {
        out.reset_hint = pando_model::ResetHint::Gauge;
    }
    for v in [&mut out.zero_count, &mut out.count, &mut out.sum] {
        *v = f(*v, factor);
    }
    for v in out.positive_buckets.iter_mut().chain(&mut out.negative_buckets) {
        *v = f(*v, factor);
    }
    if f(1.0, factor).is_infinite() {
        // Divided by zero no bucket means anything.
        out.positive_buckets.clear();
        out.negative_buckets.clear();
        out.positive_spans.clear();
        out.negative_spans.clear();
    }
    Outcome::Value(SampleValue::Histogram(Arc::new(out)), true)
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
