//! Lays an expression out over several lines, as Prometheus' `format_query` does: what is longer
//! than a line is broken at its parentheses and operators.

use pando_promql::syntax::ast::{Expr, ExprKind};

/// Text that is not longer than this stays on one line, characters.
const LINE_MAX: usize = 100;

/// The text of `expr`, laid out.
pub(super) fn pretty(expr: &Expr) -> String {
    at_level(expr, 0)
}

fn indent(level: usize) -> String {
    "  ".repeat(level)
}

fn at_level(expr: &Expr, level: usize) -> String {
    let line = expr.to_string();
    let margin = indent(level);
    if line.len() <= LINE_MAX {
        return format!("{margin}{line}");
    }
    match &expr.kind {
        ExprKind::Aggregate(aggregate) => {
            let mut args: Vec<&Expr> = aggregate.param.iter().collect();
            args.push(&aggregate.expr);
            parenthesized(&line, &args, level)
        }
        ExprKind::Call(call) => parenthesized(&line, &call.args.iter().collect::<Vec<_>>(), level),
        ExprKind::Paren(inner) => parenthesized(&line, &[&**inner], level),
        ExprKind::Binary(binary) => {
            // What stands between the sides: operator, `bool`, matching.
            let (left, right) = (binary.lhs.to_string(), binary.rhs.to_string());
            let middle = line.strip_prefix(&left).and_then(|rest| rest.strip_suffix(&right));
            format!(
                "{}\n{margin}{}\n{}",
                at_level(&binary.lhs, level + 1),
                middle.unwrap_or_default().trim(),
                at_level(&binary.rhs, level + 1),
            )
        }
        ExprKind::Unary(op, inner) => {
            format!("{margin}{}{}", op.as_str(), at_level(inner, level).trim())
        }
        ExprKind::Subquery(subquery) => {
            let inner = subquery.expr.to_string();
            let suffix = line.strip_prefix(&inner).unwrap_or_default();
            format!("{}{suffix}", at_level(&subquery.expr, level))
        }
        _ => format!("{margin}{line}"),
    }
}

/// What stands before the last parentheses of `line`, then each of `args` on lines of its own.
fn parenthesized(line: &str, args: &[&Expr], level: usize) -> String {
    let margin = indent(level);
    let texts: Vec<String> = args.iter().map(ToString::to_string).collect();
    let Some(head) = line.strip_suffix(&format!("({})", texts.join(", "))) else {
        return format!("{margin}{line}");
    };
    let lines: Vec<String> = args.iter().map(|arg| at_level(arg, level + 1)).collect();
    format!("{margin}{head}(\n{}\n{margin})", lines.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid_out(text: &str) -> String {
        pretty(&pando_promql::parse(text, &Default::default()).expect("a query"))
    }

    #[test]
    fn a_short_query_is_one_line() {
        assert_eq!(laid_out("sum  by(a) (rate(m [5m] ))"), "sum by (a) (rate(m[5m]))");
    }

    #[test]
    fn a_long_query_is_broken_at_its_joints_and_means_the_same() {
        let metric = "a_metric_with_a_rather_long_name_total";
        let cases = [
            (
                format!(
                    r#"sum by (job) (rate({metric}{{code="200",handler="/a",method="get",zone="b"}}[5m]))"#
                ),
                format!(
                    "sum by (job) (\n  rate({metric}{{code=\"200\",handler=\"/a\",method=\"get\",zone=\"b\"}}[5m])\n)"
                ),
            ),
            (
                format!("topk(5, {metric}_{metric}_one) / on (job) group_left () {metric}_two"),
                format!(
                    "  topk(5, {metric}_{metric}_one)\n/ on (job) group_left ()\n  {metric}_two"
                ),
            ),
            (
                format!(
                    "-(label_replace({metric}_one, \"dst\", \"replacement\", \"src\", \"a_regular_expression\"))"
                ),
                format!(
                    "-(\n  label_replace(\n    {metric}_one,\n    \"dst\",\n    \"replacement\",\n    \"src\",\n    \"a_regular_expression\"\n  )\n)"
                ),
            ),
        ];
        for (text, want) in cases {
            let got = laid_out(&text);
            assert_eq!(got, want);
            assert_eq!(laid_out(&got), want, "laid out again it stays");
        }
    }
}
