//! Which expressions are numbers that are known when a query is planned. Nothing is planned to find out: an argument
//! would be planned for every call around it, again and again.

use super::build::Builder;
use crate::engine::binary::scalar_op;
use crate::syntax::ast::UnaryOp;
use crate::syntax::{Expr, ExprKind};

impl Builder<'_> {
    /// The value of `expr` where it is such a number.
    pub(super) fn constant(&self, expr: &Expr) -> Option<f64> {
        match &expr.kind {
            ExprKind::Number(n) => Some(n.value),
            ExprKind::Paren(inner) | ExprKind::Unary(UnaryOp::Plus, inner) => self.constant(inner),
            ExprKind::Unary(UnaryOp::Minus, inner) => self.constant(inner).map(|v| -v),
            ExprKind::Call(call) => self.constant_call(call.function.name),
            ExprKind::Binary(_) => {
                // A chain of operators is as deep a tree as it is long: its left sides are walked without recursion.
                let (mut chain, mut left) = (Vec::new(), expr);
                while let ExprKind::Binary(binary) = &left.kind {
                    chain.push(binary);
                    left = &binary.lhs;
                }
                let first = self.constant(left)?;
                chain.iter().rev().try_fold(first, |value, binary| {
                    scalar_op(binary.op, value, self.constant(&binary.rhs)?)
                })
            }
            _ => None,
        }
    }

    /// The value of a function without arguments that is the same at every step.
    pub(super) fn constant_call(&self, name: &str) -> Option<f64> {
        let ms = match name {
            "pi" => return Some(std::f64::consts::PI),
            "start" => self.params.steps.start_ms(),
            "end" => self.params.end_ms,
            // As in Prometheus; in durations it is what was asked for.
            "step" if self.params.end_ms == self.params.steps.start_ms() => 0,
            "step" => self.context().step_ms,
            "range" => self.context().range_ms,
            _ => return None,
        };
        Some(ms as f64 / 1000.0)
    }
}
