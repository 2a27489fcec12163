//! What newer releases of Prometheus know and the peer does not, by name: expressions that hold any of it are not
//! asked. The peer itself says what it does not know, so that a newer one is asked more.

use anyhow::{Result, ensure};
use pando_promql::syntax::ast::{Duration, DurationKind, ExprKind, VectorSelector};
use pando_promql::testing::SYNTAX;
use pando_promql::{Expr, parse};

use super::sides::Server;

/// A construct of the language.
pub(super) struct Construct {
    pub(super) name: &'static str,
    /// The least expression that holds it.
    example: &'static str,
    holds: fn(&Expr) -> bool,
}

const fn construct(
    name: &'static str,
    example: &'static str,
    holds: fn(&Expr) -> bool,
) -> Construct {
    Construct { name, example, holds }
}

/// What Prometheus 3.14 knows and 3.5 does not.
const NEWER: [Construct; 20] = [
    construct("first_over_time", "first_over_time(a[1m])", |e| calls(e, "first_over_time")),
    construct("histogram_quantiles", "histogram_quantiles(a, \"q\", 1)", |e| {
        calls(e, "histogram_quantiles")
    }),
    construct("max_of", "max_of(1, 2)", |e| calls(e, "max_of")),
    construct("min_of", "min_of(1, 2)", |e| calls(e, "min_of")),
    construct("start()", "start()", |e| calls(e, "start")),
    construct("end()", "end()", |e| calls(e, "end")),
    construct("range()", "range()", |e| calls(e, "range")),
    construct("step()", "step()", |e| calls(e, "step")),
    construct("start_timestamp", "start_timestamp(a)", |e| calls(e, "start_timestamp")),
    construct("ts_of_first_over_time", "ts_of_first_over_time(a[1m])", |e| {
        calls(e, "ts_of_first_over_time")
    }),
    construct("anchored", "rate(a[1m] anchored)", |e| selects(e, &|s| s.anchored)),
    construct("smoothed", "rate(a[1m] smoothed)", |e| selects(e, &|s| s.smoothed)),
    construct("fill", "a + fill (0) b", fills),
    construct("</", "a </ 1", |e| operates(e, "</")),
    construct(">/", "a >/ 1", |e| operates(e, ">/")),
    construct("step() in a duration", "a[step() + 1m]", |e| {
        lasts(e, &|kind| matches!(kind, DurationKind::Step))
    }),
    construct("range() in a duration", "a[range() + 1m]", |e| {
        lasts(e, &|kind| matches!(kind, DurationKind::Range))
    }),
    construct("min_of in a duration", "a[min_of(1m, 2m)]", |e| {
        lasts(e, &|kind| matches!(kind, DurationKind::MinOf(..)))
    }),
    construct("max_of in a duration", "a[max_of(1m, 2m)]", |e| {
        lasts(e, &|kind| matches!(kind, DurationKind::MaxOf(..)))
    }),
    construct("durations that are computed", "a[2 * 1m]", |e| {
        lasts(e, &|kind| matches!(kind, DurationKind::Binary(..)))
    }),
];

/// Those that `server` refuses to read.
pub(super) async fn unknown_to(server: &Server) -> Result<Vec<&'static Construct>> {
    let mut unknown = Vec::new();
    for construct in &NEWER {
        let tree = parse(construct.example, &SYNTAX)?;
        ensure!((construct.holds)(&tree), "an example without its construct: {}", construct.name);
        let answer = server.instant(construct.example, 0).await?;
        if answer.kind == "bad_data" {
            unknown.push(construct);
        }
    }
    Ok(unknown)
}

impl Construct {
    pub(super) fn is_in(&self, expr: &Expr) -> bool {
        (self.holds)(expr)
    }
}

/// Whether `test` holds for the expression or one within it.
pub(super) fn any(expr: &Expr, test: &dyn Fn(&Expr) -> bool) -> bool {
    test(expr) || expr.children().into_iter().any(|child| any(child, test))
}

/// Whether the function is called.
pub(super) fn calls(expr: &Expr, name: &str) -> bool {
    any(expr, &|e| matches!(&e.kind, ExprKind::Call(call) if call.function.name == name))
}

/// Whether there is such a selector.
fn selects(expr: &Expr, test: &dyn Fn(&VectorSelector) -> bool) -> bool {
    any(expr, &|e| match &e.kind {
        ExprKind::Vector(selector) => test(selector),
        ExprKind::Matrix(matrix) => test(&matrix.selector),
        _ => false,
    })
}

/// Whether there is the operator.
fn operates(expr: &Expr, op: &str) -> bool {
    any(expr, &|e| matches!(&e.kind, ExprKind::Binary(binary) if binary.op.as_str() == op))
}

/// Whether one side of an operator is filled.
fn fills(expr: &Expr) -> bool {
    any(expr, &|e| match &e.kind {
        ExprKind::Binary(binary) => {
            binary.matching.fill_left.is_some() || binary.matching.fill_right.is_some()
        }
        _ => false,
    })
}

/// Whether a duration of the expression is made of such a part.
fn lasts(expr: &Expr, test: &dyn Fn(&DurationKind) -> bool) -> bool {
    any(expr, &|e| {
        let durations = match &e.kind {
            ExprKind::Vector(selector) => vec![selector.offset.as_ref()],
            ExprKind::Matrix(matrix) => vec![Some(&matrix.range), matrix.selector.offset.as_ref()],
            ExprKind::Subquery(subquery) => {
                vec![Some(&subquery.range), subquery.step.as_ref(), subquery.offset.as_ref()]
            }
            _ => Vec::new(),
        };
        durations.into_iter().flatten().any(|duration| holds_part(duration, test))
    })
}

fn holds_part(duration: &Duration, test: &dyn Fn(&DurationKind) -> bool) -> bool {
    test(&duration.kind)
        || match &duration.kind {
            DurationKind::Number(_) | DurationKind::Step | DurationKind::Range => false,
            DurationKind::Paren(inner) | DurationKind::Unary(_, inner) => holds_part(inner, test),
            DurationKind::Binary(_, a, b)
            | DurationKind::MinOf(a, b)
            | DurationKind::MaxOf(a, b) => holds_part(a, test) || holds_part(b, test),
        }
}
