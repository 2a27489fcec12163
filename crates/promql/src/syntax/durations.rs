//! Folding of duration expressions: to milliseconds, once the query's step and range are known.

use super::ast::{BinaryOp, Duration, DurationKind, UnaryOp};
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
    let refused = |why: &str| Err(at(duration, why));
    if let Some(ms) = duration.literal_ms() {
        return Ok(ms);
    }
    let seconds = seconds(duration, context)?;
    if !seconds.is_finite() {
        return refused("duration is NaN or infinite");
    }
    if seconds.abs() > SECONDS_MAX {
        return refused("duration is out of range");
    }
    Ok((seconds * 1000.0) as i64)
}

/// [`fold`] for ranges and subquery steps, which must be positive.
pub(crate) fn fold_positive(duration: &Duration, context: DurationContext) -> Result<i64, String> {
    match fold(duration, context)? {
        ms if ms <= 0 => Err(at(duration, "duration must be greater than 0")),
        ms => Ok(ms),
    }
}

/// Refuses a range that is a number and not positive. Of an expression it is known when the query's times are.
pub(crate) fn require_positive(duration: &Duration) -> Result<(), Fault> {
    match duration.kind {
        DurationKind::Number(n) if n.value <= 0.0 => {
            Err(Fault::new(duration.pos, "duration must be greater than 0"))
        }
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
