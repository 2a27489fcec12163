//! Lays an expression out over several lines, as Prometheus' `format_query` does: what is longer
//! than a line is broken at its parentheses and operators.
//!
//! The expression is printed on one line once, by which the length of each of its parts is known; what
//! is laid out are pieces of that line. So the work is that of reading the one and writing the other,
//! which is longer by its margins: those of a chain of operators grow with each of them.

use std::mem;

use pando_promql::syntax::Printed;
use pando_promql::syntax::ast::{Expr, ExprKind};

/// A part that is not longer than this stays on one line, bytes.
const LINE_MAX: usize = 100;
/// The longest text that is made, bytes. The longest chain of operators comes to half a MiB beside its
/// operands. The worst query, a call with 20,000 arguments at the end of such a chain in as many
/// parentheses as may be, would come to 26 MB.
pub(super) const PRETTY_BYTES_MAX: usize = 4 << 20;

/// The text of `expr`, laid out; `None` where it would be longer than [`PRETTY_BYTES_MAX`].
pub(super) fn pretty(expr: &Expr) -> Option<String> {
    let printed = Printed::of(expr);
    let mut layout = Layout::new(&printed);
    layout.write()?;
    Some(layout.out)
}

/// What is still to be written, the next piece last: chains of operators are too deep for recursion.
struct Layout<'a> {
    printed: &'a Printed<'a>,
    pieces: Vec<Piece<'a>>,
    /// Whether the next margin is left out: a sign stands there.
    joined: bool,
    out: String,
}

enum Piece<'a> {
    /// A part, by its number, at a level of indentation.
    Part(usize, usize),
    /// The margin of a level.
    Margin(usize),
    Text(&'a str),
}

impl<'a> Layout<'a> {
    fn new(printed: &'a Printed<'a>) -> Self {
        Layout { printed, pieces: vec![Piece::Part(0, 0)], joined: false, out: String::new() }
    }

    /// Writes everything and says how many pieces that was; `None` where it is too much.
    fn write(&mut self) -> Option<usize> {
        let mut written = 0;
        while let Some(piece) = self.pieces.pop() {
            match piece {
                Piece::Part(at, level) => self.part(at, level),
                Piece::Margin(level) => self.margin(level),
                Piece::Text(text) => self.out.push_str(text),
            }
            if self.out.len() > PRETTY_BYTES_MAX {
                return None;
            }
            written += 1;
        }
        Some(written)
    }

    fn margin(&mut self, level: usize) {
        if !mem::take(&mut self.joined) {
            self.out.extend(std::iter::repeat_n("  ", level));
        }
    }

    /// Writes the part `at`, or makes pieces of it.
    fn part(&mut self, at: usize, level: usize) {
        let (kind, line) = (&self.printed.expr(at).kind, self.text(at));
        if line.len() > LINE_MAX && self.printed.children(at).next().is_some() {
            let from = self.pieces.len();
            self.break_up(kind, at, level);
            self.pieces[from..].reverse();
            return;
        }
        // Prometheus gives a short subquery no margin.
        if !matches!(kind, ExprKind::Subquery(_)) {
            self.margin(level);
        }
        self.out.push_str(line);
    }

    /// The pieces of the part `at`, in their order.
    fn break_up(&mut self, kind: &ExprKind, at: usize, level: usize) {
        let children: Vec<usize> = self.printed.children(at).collect();
        let (Some(&first), Some(&last)) = (children.first(), children.last()) else { return };
        let (whole, first_bytes) = (self.printed.bytes(at), self.printed.bytes(first));
        let before = &self.printed.text()[whole.start..first_bytes.start];
        match kind {
            ExprKind::Binary(_) => {
                let between = first_bytes.end..self.printed.bytes(last).start;
                self.pieces.push(Piece::Part(first, level + 1));
                self.pieces.extend([Piece::Text("\n"), Piece::Margin(level)]);
                self.pieces.push(Piece::Text(self.printed.text()[between].trim()));
                self.pieces.extend([Piece::Text("\n"), Piece::Part(last, level + 1)]);
            }
            ExprKind::Unary(..) => {
                self.margin(level);
                self.out.push_str(before);
                self.joined = true;
                self.pieces.push(Piece::Part(first, level));
            }
            ExprKind::Subquery(_) => {
                let window = first_bytes.end..whole.end;
                self.pieces.push(Piece::Part(first, level));
                self.pieces.push(Piece::Text(&self.printed.text()[window]));
            }
            // Parentheses, with or without a name before them.
            _ => {
                self.pieces.extend([Piece::Margin(level), Piece::Text(before)]);
                let commas = std::iter::once("\n").chain(std::iter::repeat(",\n"));
                for (comma, child) in commas.zip(children) {
                    self.pieces.extend([Piece::Text(comma), Piece::Part(child, level + 1)]);
                }
                self.pieces.extend([Piece::Text("\n"), Piece::Margin(level), Piece::Text(")")]);
            }
        }
    }

    fn text(&self, at: usize) -> &'a str {
        &self.printed.text()[self.printed.bytes(at)]
    }
}

#[cfg(test)]
mod tests {
    use pando_promql::syntax::{DEPTH_MAX, OPERATORS_MAX};
    use pando_promql::testing::{Chance, Expressions, SYNTAX, all_cases, each_seed};

    use super::*;

    fn laid_out(text: &str) -> String {
        let expr = pando_promql::parse(text, &Default::default()).expect("a query");
        pretty(&expr).expect("not too long")
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

    /// What Prometheus 3.14 prints.
    #[test]
    fn signs_and_subqueries_are_laid_out_as_by_prometheus() {
        let metric = "a_metric_with_a_rather_long_name_total";
        let cases = [
            (
                format!("-{metric}^(1+{metric}*{metric}_{metric})"),
                format!(
                    "-{metric}\n^\n  (\n      1\n    +\n        {metric}\n      *\n        {metric}_{metric}\n  )"
                ),
            ),
            (
                format!("max_over_time(({metric}+{metric}_{metric})[1h:])"),
                format!(
                    "max_over_time(\n  (\n      {metric}\n    +\n      {metric}_{metric}\n  )[1h:]\n)"
                ),
            ),
            // A subquery that fits on a line has no margin.
            (
                format!("abs(max_over_time({metric}_{metric}[5m:1m]))"),
                format!("abs(\n  max_over_time({metric}_{metric}[5m:1m])\n)"),
            ),
            (
                format!(
                    "quantile_over_time({}, {metric}[5m:1m])",
                    format_args!("scalar({metric}_{metric})")
                ),
                format!("quantile_over_time(\n  scalar({metric}_{metric}),\n{metric}[5m:1m]\n)"),
            ),
        ];
        for (text, want) in cases {
            assert_eq!(laid_out(&text), want);
        }
    }

    #[test]
    fn whatever_is_laid_out_is_still_the_same_query() {
        let parsed = |text: &str| pando_promql::parse(text, &SYNTAX).expect(text);
        let mut broken = 0;
        each_seed(2_000, |seed| {
            let query = parsed(&Expressions::new(&mut Chance::new(seed, "query")).query(true));
            let text = pretty(&query).expect("not too long");
            broken += u32::from(text.contains('\n'));
            let again = parsed(&text);
            assert_eq!(again.to_string(), query.to_string(), "{text}");
            assert_eq!(pretty(&again).as_ref(), Some(&text), "laid out again it stays");
        });
        assert!(!all_cases() || broken > 100, "broken={broken}");
    }

    /// Work is counted in pieces, never in time.
    #[test]
    fn the_work_grows_with_the_text_and_the_stack_does_not() {
        let written = |text: &str| {
            let expr = pando_promql::parse(text, &Default::default()).expect("a query");
            let printed = Printed::of(&expr);
            let mut layout = Layout::new(&printed);
            let pieces = layout.write().expect("not too long");
            // At most six pieces for each part and its like.
            assert!(pieces <= 6 * printed.parts(), "{pieces} {}", printed.parts());
            pieces
        };
        let chain = |operators: usize| vec!["a"; operators + 1].join("+");
        let deep = format!(
            "{}{}{}",
            "(".repeat(DEPTH_MAX - 1),
            chain(OPERATORS_MAX),
            ")".repeat(DEPTH_MAX - 1)
        );
        let on_half_a_stack = std::thread::Builder::new().stack_size(1 << 20);
        let run = on_half_a_stack.spawn(move || {
            let (half, whole) =
                (written(&chain(OPERATORS_MAX / 2)), written(&chain(OPERATORS_MAX)));
            assert!(whole <= 2 * half + 200, "half={half} whole={whole}");
            assert!(written(&deep) > whole);
            written(&format!("{}{}", "-".repeat(DEPTH_MAX), "a".repeat(LINE_MAX)));
        });
        assert!(run.expect("a thread").join().is_ok());
    }

    #[test]
    fn what_would_be_too_long_is_not_made() {
        let text = |args: usize| {
            let call = format!("label_join(a,\"b\"{})", ",\"\"".repeat(args));
            let chain = format!("{call}{}", "+a".repeat(OPERATORS_MAX));
            format!("{}{chain}{}", "(".repeat(DEPTH_MAX - 2), ")".repeat(DEPTH_MAX - 2))
        };
        let pretty =
            |text: &str| pretty(&pando_promql::parse(text, &Default::default()).expect("a query"));
        assert!(pretty(&text(1_000)).is_some_and(|text| text.len() > PRETTY_BYTES_MAX / 4));
        assert_eq!(pretty(&text(20_000)), None);
    }
}
