//! Functions of one value at a time.

use super::{Args, Context, Value};
use crate::annotations::Note;
use crate::budget::Ledger;
use crate::engine::histogram::multiplied;
use crate::engine::vector::{StepVector, join_same_labels};
use crate::error::QueryError;

/// The function of one float called `name`.
pub(super) fn simple(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "acos" => f64::acos,
        "acosh" => f64::acosh,
        "asin" => f64::asin,
        "asinh" => f64::asinh,
        "atan" => f64::atan,
        "atanh" => f64::atanh,
        "ceil" => f64::ceil,
        "cos" => f64::cos,
        "cosh" => f64::cosh,
        "deg" => f64::to_degrees,
        "exp" => f64::exp,
        "floor" => f64::floor,
        "ln" => f64::ln,
        "log10" => f64::log10,
        "log2" => f64::log2,
        "rad" => f64::to_radians,
        "sgn" => |v| {
            if v < 0.0 {
                -1.0
            } else if v > 0.0 {
                1.0
            } else {
                v
            }
        },
        "sin" => f64::sin,
        "sinh" => f64::sinh,
        "sqrt" => f64::sqrt,
        "tan" => f64::tan,
        "tanh" => f64::tanh,
        _ => return None,
    })
}

/// Every float through `f(step, value)`; histograms fall out, and so do floats that become `None`.
pub(super) fn map(
    vector: Vec<StepVector>,
    f: impl Fn(usize, f64) -> Option<f64>,
    context: &Context<'_>,
) -> Result<Vec<StepVector>, QueryError> {
    let mut out = Vec::with_capacity(vector.len());
    for mut series in vector {
        series.histograms.clear();
        for i in series.present.clone().iter() {
            match f(i, series.values[i]) {
                Some(v) => series.values[i] = v,
                None => series.present.unset(i),
            }
        }
        if !series.is_empty() {
            out.push(series);
        }
    }
    context.drop_names(out)
}

/// `clamp`, `clamp_min`, `clamp_max`.
pub(super) fn clamp(
    name: &str,
    args: &mut Args,
    context: &Context<'_>,
) -> Result<Value, QueryError> {
    let vector = args.vector()?;
    let steps = context.steps.len();
    let unbounded = |bound: f64| vec![bound; steps];
    let (min, max) = match name {
        "clamp" => (args.scalar()?, args.scalar()?),
        "clamp_min" => (args.scalar()?, unbounded(f64::INFINITY)),
        _ => (unbounded(f64::NEG_INFINITY), args.scalar()?),
    };
    let clamp = |i: usize, v: f64| {
        if max[i] < min[i] {
            return None;
        }
        Some(larger(min[i], smaller(max[i], v)))
    };
    map(vector, clamp, context).map(Value::Vector)
}

/// The larger of two numbers: an infinity is larger than what is no number, too, as in Go.
pub(crate) fn larger(a: f64, b: f64) -> f64 {
    match (a.is_nan(), b.is_nan()) {
        (true, _) if b == f64::INFINITY => b,
        (_, true) if a == f64::INFINITY => a,
        (false, false) => a.max(b),
        _ => f64::NAN,
    }
}

/// The smaller of two numbers, likewise.
pub(crate) fn smaller(a: f64, b: f64) -> f64 {
    -larger(-a, -b)
}

/// `round`: to the nearest multiple, halves up.
pub(super) fn round(args: &mut Args, context: &Context<'_>) -> Result<Value, QueryError> {
    let vector = args.vector()?;
    let to = if args.is_empty() { vec![1.0; context.steps.len()] } else { args.scalar()? };
    // Dividing by the inverse keeps `round(x, 0.1)` exact where multiplying by 0.1 would not.
    let round = |i: usize, v: f64| {
        let inverse = 1.0 / to[i];
        Some((v * inverse + 0.5).floor() / inverse)
    };
    map(vector, round, context).map(Value::Vector)
}

/// The negative of every value.
pub(crate) fn negate(
    mut vector: Vec<StepVector>,
    delayed: bool,
    ledger: &mut Ledger,
) -> Result<Vec<StepVector>, QueryError> {
    for series in &mut vector {
        ledger.check_cancel()?;
        series.values.iter_mut().for_each(|v| *v = -*v);
        for (i, h) in std::mem::take(&mut series.histograms) {
            let negative = std::sync::Arc::new(multiplied(&h, -1.0));
            series.push_histogram(i as usize, negative, ledger)?;
        }
    }
    for series in &mut vector {
        if delayed {
            series.drop_name = true;
        } else {
            series.labels = crate::engine::names::drop_metadata_labels(&series.labels);
        }
    }
    // Series that have become one by losing their names, each for some of the steps, are one.
    if delayed { Ok(vector) } else { join_same_labels(vector) }
}

/// A warning where a quantile is none.
pub(super) fn check_quantile(q: &[f64], arg: usize, context: &mut Context<'_>) {
    for q in q.iter().filter(|q| !(0.0..=1.0).contains(*q)) {
        context.note_at(arg, Note::invalid_quantile(*q));
    }
}
