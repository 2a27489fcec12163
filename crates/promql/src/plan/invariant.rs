//! Which expressions have one value for all steps, as Prometheus judges it: those whose selectors have an `@`.

use crate::syntax::ast::{Expr, ExprKind};

/// Functions whose value depends on the step whatever their arguments are. Where `info` reads its info series at the
/// evaluation time, it is one of them; else its first argument and they are evaluated once, each for itself.
const OF_THE_STEP: [&str; 16] = [
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "end",
    "hour",
    "info",
    "minute",
    "month",
    "predict_linear",
    "range",
    "start",
    "step",
    "time",
    "timestamp",
    "year",
];

/// Whether `expr` has one value for all steps. A parameter of an aggregation is not looked at.
pub(super) fn is_step_invariant(expr: &Expr) -> bool {
    let (mut expr, mut right_sides) = (expr, true);
    // A chain of operators is as deep a tree as it is long.
    while let ExprKind::Binary(binary) = &expr.unwrapped().kind {
        right_sides &= is_step_invariant(&binary.rhs);
        expr = &binary.lhs;
    }
    right_sides
        && match &expr.unwrapped().kind {
            ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Bytes(_) => true,
            ExprKind::Vector(selector) => selector.at.is_some(),
            ExprKind::Matrix(matrix) => matrix.selector.at.is_some(),
            ExprKind::Subquery(subquery) => subquery.at.is_some(),
            ExprKind::Unary(_, inner) | ExprKind::Paren(inner) => is_step_invariant(inner),
            ExprKind::Aggregate(aggregate) => is_step_invariant(&aggregate.expr),
            ExprKind::Binary(_) => false,
            ExprKind::Call(call) => {
                let of_selector = |arg: &Expr| matches!(arg.unwrapped().kind, ExprKind::Vector(_));
                let safe = match call.function.name {
                    "timestamp" => call.args.iter().all(of_selector),
                    name => !OF_THE_STEP.contains(&name),
                };
                safe && call.args.iter().all(is_step_invariant)
            }
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_at_fixes_what_is_below_it() {
        let syntax = crate::testing::SYNTAX;
        for (text, invariant) in [
            ("1 + 2", true),
            ("m", false),
            ("m @ 5", true),
            ("sum(rate(m[5m] @ start())) / 2", true),
            ("m @ 5 + m", false),
            ("m + m @ 5", false),
            ("m[5m:1m] @ 5", true),
            ("max_over_time((m @ 5)[5m:1m])", false),
            ("topk(scalar(m), m @ 5)", true),
            ("timestamp(m @ 5)", true),
            ("timestamp(-(m @ 5))", false),
            ("hour(m @ 5)", false),
            ("abs(-(m @ 5))", true),
            ("time()", false),
            ("info(m @ 5)", false),
        ] {
            let expr = crate::parse(text, &syntax).expect(text);
            assert_eq!(is_step_invariant(&expr), invariant, "{text}");
        }
    }
}
