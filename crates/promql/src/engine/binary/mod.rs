//! Binary operators on columns. Which series meet is decided once from their labels; which values meet, step by
//! step from presence.

mod matching;
mod ops;
mod scalar;
mod sets;

pub(crate) use matching::{Operator, vectors};
pub(crate) use ops::scalar_op;
pub(crate) use scalar::{Side, Style, scalars, vector_scalar};
pub(crate) use sets::set_op;

use crate::syntax::ast::BinaryOp;

/// Whether the result of `op` is no longer the metric it was. A trimmed histogram still is.
pub(crate) fn changes_metric(op: BinaryOp) -> bool {
    let trims = matches!(op, BinaryOp::TrimUpper | BinaryOp::TrimLower);
    !op.is_comparison() && !op.is_set() && !trims
}
