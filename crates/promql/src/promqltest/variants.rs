//! The other ways in which Prometheus' test runner asks an instant query: printed anew with `@` on its selectors, at
//! other times.

use crate::syntax::ast::AtModifier;
use crate::syntax::{self, Expr, ExprKind, SyntaxFeatures};

/// Functions whose value is the evaluation time's: `@` on selectors does not fix it.
const TIME_DEPENDENT: [&str; 15] = [
    "time",
    "timestamp",
    "minute",
    "hour",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "month",
    "year",
    "predict_linear",
    "start",
    "end",
    "range",
    "step",
];

/// Whether `expr` means something else in a range query.
pub(super) fn depends_on_query(expr: &str) -> bool {
    ["start()", "end()", "range()", "step()"].iter().any(|call| expr.contains(call))
}

/// The expression with `@ t` on every selector and outermost subquery that names no time, and the times at which its
/// result has to be the same; nothing where it would not be.
///
/// # Errors
/// A text that is no expression: no script has one in an instant query, even where it should fail.
pub(super) fn with_at(
    expr: &str,
    t_ms: i64,
    features: &SyntaxFeatures,
) -> Result<Vec<(String, i64)>, String> {
    let mut tree = syntax::parse(expr, features).map_err(|e| e.to_string())?;
    if !set_at(&mut tree, t_ms) {
        return Ok(Vec::new());
    }
    let times = match t_ms {
        0 => vec![-1000, 0, 1000],
        t => vec![-10 * t, 0, t / 5, t, 10 * t],
    };
    let text = tree.to_string();
    Ok(times.into_iter().map(|t| (text.clone(), t)).collect())
}

/// Sets `@` in place; false where the value depends on the evaluation time all the same. What is inside of a subquery
/// with a time has the times of that subquery.
fn set_at(expr: &mut Expr, t_ms: i64) -> bool {
    match &mut expr.kind {
        ExprKind::Call(call) if TIME_DEPENDENT.contains(&call.function.name) => return false,
        ExprKind::Vector(selector) => fix(&mut selector.at, t_ms),
        ExprKind::Matrix(matrix) => fix(&mut matrix.selector.at, t_ms),
        ExprKind::Subquery(subquery) => {
            fix(&mut subquery.at, t_ms);
            return true;
        }
        _ => {}
    }
    expr.children_mut().into_iter().all(|child| set_at(child, t_ms))
}

/// `start()` and `end()` are the evaluation time, too.
fn fix(at: &mut Option<AtModifier>, t_ms: i64) {
    if !matches!(at, Some(AtModifier::Time(_))) {
        *at = Some(AtModifier::Time(t_ms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_and_outermost_subqueries_are_fixed() {
        let features = SyntaxFeatures::default();
        let printed = |expr: &str| {
            let all = with_at(expr, 50_000, &features).expect("an expression");
            all.first().map(|(text, _)| text.clone())
        };
        for (expr, wanted) in [
            ("a + rate(b[5m] offset 1m)", "a @ 50.000 + rate(b[5m] @ 50.000 offset 1m)"),
            ("a @ 7 + b @ start()", "a @ 7.000 + b @ 50.000"),
            ("max_over_time((time() + a)[1m:1s])", "max_over_time((time() + a)[1m:1s] @ 50.000)"),
        ] {
            assert_eq!(printed(expr).as_deref(), Some(wanted), "{expr}");
        }
        assert_eq!(printed("a + time()"), None);
        assert!(with_at("a +", 0, &features).is_err());
    }
}
