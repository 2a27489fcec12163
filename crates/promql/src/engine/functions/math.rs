//! Functions of one value at a time.

use std::f64::consts::{LN_2, PI};

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
        "acosh" => acosh,
        "asin" => f64::asin,
        "asinh" => asinh,
        "atan" => f64::atan,
        "atanh" => f64::atanh,
        "ceil" => f64::ceil,
        "cos" => f64::cos,
        "cosh" => f64::cosh,
        // Prometheus' order of operations, to the last bit.
        "deg" => |v| v * 180.0 / PI,
        "exp" => f64::exp,
        "floor" => f64::floor,
        "ln" => f64::ln,
        "log10" => f64::log10,
        "log2" => f64::log2,
        "rad" => |v| v * PI / 180.0,
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

/// From here on the square of a value, plus or minus 1, is the square.
const LARGE: f64 = (1u64 << 28) as f64;

/// That of `std` overflows where twice the value does.
fn acosh(v: f64) -> f64 {
    if v > LARGE { v.ln() + LN_2 } else { v.acosh() }
}

/// As [`acosh`].
fn asinh(v: f64) -> f64 {
    if v.abs() > LARGE { (v.abs().ln() + LN_2).copysign(v) } else { v.asinh() }
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

/// The larger of two numbers: an infinity is larger than what is no number, too, and 0 is larger than -0, as in Go.
pub(crate) fn larger(a: f64, b: f64) -> f64 {
    match (a.is_nan(), b.is_nan()) {
        (true, _) if b == f64::INFINITY => b,
        (_, true) if a == f64::INFINITY => a,
        (false, false) if a == b => {
            if a.is_sign_negative() {
                b
            } else {
                a
            }
        }
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

#[cfg(test)]
mod tests {
    use super::simple;

    #[test]
    fn large_values_are_computed_as_prometheus_does() {
        let value = |name: &str, v: f64| simple(name).expect("a function")(v);
        for (name, v, expected) in [
            ("asinh", 1e308, 709.889355822726),
            ("asinh", -1e308, -709.889355822726),
            ("asinh", f64::NEG_INFINITY, f64::NEG_INFINITY),
            ("acosh", 9e307, 709.783995307068),
            ("acosh", f64::MAX, 710.4758600739439),
            ("rad", 1.7e308, f64::INFINITY),
            ("deg", 1e308, f64::INFINITY),
        ] {
            let got = value(name, v);
            assert!(got == expected || (got / expected - 1.0).abs() < 1e-14, "{name}({v}): {got}");
        }
        // Where the two ways meet.
        for name in ["asinh", "acosh"] {
            let at = (1u64 << 28) as f64;
            let (below, above) = (value(name, at), value(name, at.next_up()));
            assert!((above - below).abs() < 1e-14 * above, "{name}: {below} {above}");
        }
        assert!(value("acosh", 0.5).is_nan() && value("asinh", f64::NAN).is_nan());
        assert_eq!(value("asinh", -0.0).to_bits(), (-0.0f64).to_bits());
    }
}
