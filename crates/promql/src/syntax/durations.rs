//! Folding of duration expressions: to milliseconds, once the query's step and range are known.

use super::ast::{BinaryOp, Duration, DurationKind, UnaryOp};
use super::error::Fault;

/// The longest duration, seconds: what Go's nanoseconds hold.
const SECONDS_MAX: f64 = (1u64 << 63) as f64 / 1e9;

/// What `step()` and `range()` stand for, ms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DurationContext {
    pub(crate) step_ms: i64,
    pub(crate) range_ms: i64,
}

impl Duration {
    /// What it comes to, ms; `None` where that depends on the query's step or range, or is no duration.
    pub fn constant_ms(&self) -> Option<i64> {
        let seconds = seconds(self, None).ok()??;
        in_range(self, seconds).ok()?;
        Some((seconds * 1000.0).round() as i64)
    }
}

/// `duration` in milliseconds.
pub(crate) fn fold(duration: &Duration, context: DurationContext) -> Result<i64, Fault> {
    let seconds = seconds(duration, Some(context))?.unwrap_or_default();
    in_range(duration, seconds)?;
    Ok((seconds * 1000.0).round() as i64)
}

/// [`fold`] for ranges and subquery steps, which must be positive.
pub(crate) fn fold_positive(duration: &Duration, context: DurationContext) -> Result<i64, Fault> {
    let ms = fold(duration, context)?;
    if ms <= 0 {
        return Err(Fault::new(duration.pos, "duration must be greater than 0"));
    }
    Ok(ms)
}

/// Refuses a range that is known not to be positive before the query's times are known.
pub(crate) fn require_positive(duration: &Duration) -> Result<(), Fault> {
    match seconds(duration, None)? {
        Some(s) if s <= 0.0 => Err(Fault::new(duration.pos, "duration must be greater than 0")),
        Some(s) => in_range(duration, s),
        None => Ok(()),
    }
}

/// Refuses an offset that is known to be out of range.
pub(crate) fn require_range(duration: &Duration) -> Result<(), Fault> {
    seconds(duration, None)?.map_or(Ok(()), |s| in_range(duration, s))
}

fn in_range(duration: &Duration, seconds: f64) -> Result<(), Fault> {
    if seconds.is_nan() || seconds.abs() >= SECONDS_MAX {
        return Err(Fault::new(duration.pos, "duration out of range"));
    }
    Ok(())
}

/// Seconds; `None` where it depends on a context that is not given.
fn seconds(duration: &Duration, context: Option<DurationContext>) -> Result<Option<f64>, Fault> {
    let fold_pair = |a: &Duration, b: &Duration| -> Result<Option<(f64, f64)>, Fault> {
        Ok(seconds(a, context)?.zip(seconds(b, context)?))
    };
    Ok(match &duration.kind {
        DurationKind::Number(n) => Some(n.value),
        DurationKind::Step => context.map(|c| c.step_ms as f64 / 1000.0),
        DurationKind::Range => context.map(|c| c.range_ms as f64 / 1000.0),
        DurationKind::Paren(inner) | DurationKind::Unary(UnaryOp::Plus, inner) => {
            seconds(inner, context)?
        }
        DurationKind::Unary(UnaryOp::Minus, inner) => seconds(inner, context)?.map(|v| -v),
        DurationKind::MinOf(a, b) => fold_pair(a, b)?.map(|(a, b)| a.min(b)),
        DurationKind::MaxOf(a, b) => fold_pair(a, b)?.map(|(a, b)| a.max(b)),
        DurationKind::Binary(op, a, b) => {
            let Some((a, b)) = fold_pair(a, b)? else { return Ok(None) };
            Some(match op {
                BinaryOp::Add => a + b,
                BinaryOp::Sub => a - b,
                BinaryOp::Mul => a * b,
                BinaryOp::Pow => a.powf(b),
                BinaryOp::Div if b == 0.0 => {
                    return Err(Fault::new(duration.pos, "division by zero"));
                }
                BinaryOp::Div => a / b,
                BinaryOp::Mod if b == 0.0 => {
                    return Err(Fault::new(duration.pos, "modulo by zero"));
                }
                BinaryOp::Mod => a % b,
                _ => return Err(Fault::new(duration.pos, "unexpected operator in duration")),
            })
        }
    })
}
