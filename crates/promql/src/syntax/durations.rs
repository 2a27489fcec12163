//! Folding of duration expressions: to milliseconds, once the query's step and range are known.

use super::ast::{BinaryOp, Duration, DurationKind, Number, UnaryOp};
use super::error::Fault;
use super::position::PosRange;

/// The longest duration, seconds: what Go's nanoseconds hold.
const SECONDS_MAX: f64 = (1u64 << 63) as f64 / 1e9;

/// What `step()` and `range()` stand for, ms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DurationContext {
    pub(crate) step_ms: i64,
    pub(crate) range_ms: i64,
}

impl Duration {
    /// The number that it is, also in parentheses; `None` where it is an expression.
    pub(crate) fn number(&self) -> Option<Number> {
        match &self.kind {
            DurationKind::Number(number) => Some(*number),
            DurationKind::Paren(inner) => match inner.kind {
                DurationKind::Number(number) => Some(number),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether it is in parentheses.
    pub(crate) fn is_paren(&self) -> bool {
        matches!(self.kind, DurationKind::Paren(_))
    }

    /// Whether it is a number and nothing else.
    pub(crate) fn is_number(&self) -> bool {
        matches!(self.kind, DurationKind::Number(_))
    }

    /// The milliseconds of a number; `None` where it is an expression.
    pub fn literal_ms(&self) -> Option<i64> {
        match self.kind {
            // Nanoseconds first, as Go computes it.
            DurationKind::Number(n) => Some((n.value * 1e9).round() as i64 / 1_000_000),
            _ => None,
        }
    }
}

/// `duration` in milliseconds.
///
/// # Errors
/// What is wrong with it, with its place, as Prometheus says it when it prepares a query.
pub(crate) fn fold(duration: &Duration, context: DurationContext) -> Result<i64, String> {
    folded(duration, context, f64::NEG_INFINITY)
}

/// [`fold`] for ranges and subquery steps, which must be positive, and a millisecond at least.
pub(crate) fn fold_positive(duration: &Duration, context: DurationContext) -> Result<i64, String> {
    match folded(duration, context, 0.0)? {
        ms if ms <= 0 => Err(at(duration, TOO_SHORT)),
        ms => Ok(ms),
    }
}

const TOO_SHORT: &str = "duration must be greater than 0";

/// The milliseconds of a duration that is longer than `least` seconds.
fn folded(duration: &Duration, context: DurationContext, least: f64) -> Result<i64, String> {
    if let Some(ms) = duration.literal_ms() {
        return Ok(ms);
    }
    let seconds = seconds(duration, context)?;
    if !seconds.is_finite() {
        return Err(at(duration, "duration is NaN or infinite"));
    }
    if seconds <= least {
        return Err(at(duration, TOO_SHORT));
    }
    if seconds.abs() > SECONDS_MAX {
        return Err(at(duration, "duration is out of range"));
    }
    Ok((seconds * 1000.0) as i64)
}

/// Refuses a range that is a number and not positive. Of an expression it is known when the query's times are.
pub(crate) fn require_positive(duration: &Duration) -> Result<(), Fault> {
    match duration.kind {
        DurationKind::Number(n) if n.value <= 0.0 => Err(Fault::new(duration.pos, TOO_SHORT)),
        _ => Ok(()),
    }
}

/// Refuses a number of seconds at `pos` that is no duration.
pub(crate) fn require_range(seconds: f64, pos: PosRange) -> Result<(), Fault> {
    match seconds.is_nan() || seconds.abs() > SECONDS_MAX {
        true => Err(Fault::new(pos, "duration out of range")),
        false => Ok(()),
    }
}

fn at(duration: &Duration, why: &str) -> String {
    format!("{}:{}: {why}", duration.pos.start, duration.pos.end)
}

/// Seconds.
fn seconds(duration: &Duration, context: DurationContext) -> Result<f64, String> {
    let pair = |a, b| Ok::<_, String>((seconds(a, context)?, seconds(b, context)?));
    Ok(match &duration.kind {
        DurationKind::Number(n) => n.value,
        DurationKind::Step => context.step_ms as f64 / 1000.0,
        DurationKind::Range => context.range_ms as f64 / 1000.0,
        DurationKind::Paren(inner) | DurationKind::Unary(UnaryOp::Plus, inner) => {
            seconds(inner, context)?
        }
        DurationKind::Unary(UnaryOp::Minus, inner) => -seconds(inner, context)?,
        DurationKind::MinOf(a, b) => pair(a, b).map(|(a, b)| least(a, b))?,
        DurationKind::MaxOf(a, b) => pair(a, b).map(|(a, b)| -least(-a, -b))?,
        DurationKind::Binary(op, a, b) => {
            let (a, b) = pair(a, b)?;
            match op {
                BinaryOp::Add => a + b,
                BinaryOp::Sub => a - b,
                BinaryOp::Mul => a * b,
                BinaryOp::Pow => a.powf(b),
                BinaryOp::Div if b == 0.0 => return Err(at(duration, "division by zero")),
                BinaryOp::Div => a / b,
                BinaryOp::Mod if b == 0.0 => return Err(at(duration, "modulo by zero")),
                BinaryOp::Mod => a % b,
                _ => return Err(at(duration, "unexpected operator in duration")),
            }
        }
    })
}

/// The lesser of two numbers; NaN where one is, as Go's `math.Min`.
fn least(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::{ExprKind, SyntaxFeatures, parse};

    /// The range of `m[text]`, folded, at a step of 15 s and a range of 1 h.
    fn range_ms(text: &str) -> Result<i64, String> {
        let expr = parse(&format!("m[{text}]"), &SyntaxFeatures::default()).expect(text);
        let ExprKind::Matrix(matrix) = expr.kind else { panic!("{text}: a range") };
        fold_positive(&matrix.range, DurationContext { step_ms: 15_000, range_ms: 3_600_000 })
    }

    #[test]
    fn durations_are_what_prometheus_makes_of_them() {
        for (text, ms) in [
            ("step() * 2", 30_000),
            ("range() - -1m", 3_660_000),
            ("max_of(step(), 20)", 20_000),
            ("min_of(step(), 20) % 4s", 3_000),
            ("2 ^ 3 ^ 0", 2_000),
            // Milliseconds are cut off: this is 0.7999999999999999 s.
            ("0.7 + 0.1", 799),
            ("1.0005", 1_000),
        ] {
            assert_eq!(range_ms(text), Ok(ms), "{text}");
        }
        for (text, why) in [
            ("step() - 15", "2:13: duration must be greater than 0"),
            ("-2 ^ 90", "2:9: duration must be greater than 0"),
            ("2 ^ 90", "2:8: duration is out of range"),
            ("2 ^ 9e9", "2:9: duration is NaN or infinite"),
            ("1 / (step() - 15)", "2:19: division by zero"),
            ("1 % (step() - 15)", "2:19: modulo by zero"),
        ] {
            assert_eq!(range_ms(text), Err(why.to_string()), "{text}");
        }
    }
}
