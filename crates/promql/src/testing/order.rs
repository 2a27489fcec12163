//! Whether the order of an answer's series means anything.

use crate::parse;
use crate::syntax::ExprKind;
use crate::syntax::ast::AggregateOp;

use crate::testing::SYNTAX;

/// Whether an expression sorts: otherwise its series have no order, as in Prometheus, and plans may differ in it.
pub fn is_ordered(text: &str) -> bool {
    parse(text, &SYNTAX).is_ok_and(|tree| match &tree.unwrapped().kind {
        ExprKind::Call(call) => call.function.name.starts_with("sort"),
        // Groups come in an order of their own.
        ExprKind::Aggregate(a) => {
            matches!(a.op, AggregateOp::TopK | AggregateOp::BottomK)
                && a.grouping.is_empty()
                && !a.without
        }
        _ => false,
    })
}
