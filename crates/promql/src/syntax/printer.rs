//! The printer: a tree back to text, as Prometheus prints it. What is printed parses to the same tree.

use std::fmt;

use pando_model::Matcher;
use pando_model::labels::is_legacy_label_name;
use pando_model::number::{go_float, go_quote, push_plain_float};

use super::ast::{
    Aggregate, AtModifier, BinaryOp, Cardinality, Duration, DurationKind, Expr, ExprKind, Matching,
    MatrixSelector, Number, Subquery, UnaryOp, VectorSelector,
};
use super::parser::{is_grouping_label, is_reserved};
use super::strings::quote;
use pando_model::duration::format_duration;

/// Where printed expressions go. It may want to know which part stands where.
pub(super) trait Output<'a>: fmt::Write {
    /// `expr` begins here.
    fn begin(&mut self, _expr: &'a Expr) {}

    /// What began last and has not ended yet ends here.
    fn end(&mut self) {}
}

impl Output<'_> for fmt::Formatter<'_> {}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(f, self)
    }
}

/// Writes `expr` to `out`, on one line.
pub(super) fn print<'a>(out: &mut dyn Output<'a>, expr: &'a Expr) -> fmt::Result {
    if let ExprKind::Binary(_) = &expr.kind {
        return print_chain(out, expr);
    }
    out.begin(expr);
    match &expr.kind {
        ExprKind::Number(n) => write!(out, "{n}")?,
        ExprKind::String(s) => out.write_str(&literal(s))?,
        ExprKind::Bytes(s) => out.write_str(&quote(s))?,
        ExprKind::Paren(inner) => print_list(out, [&**inner])?,
        ExprKind::Unary(op, inner) => {
            out.write_str(op.as_str())?;
            print(out, inner)?;
        }
        ExprKind::Binary(_) => {}
        ExprKind::Aggregate(aggregate) => {
            write_head(out, aggregate)?;
            print_list(out, aggregate.param.iter().chain([&aggregate.expr]))?;
        }
        ExprKind::Call(call) => {
            out.write_str(call.function.name)?;
            print_list(out, &call.args)?;
        }
        ExprKind::Vector(selector) => write_vector(out, selector)?,
        ExprKind::Matrix(m) => write_matrix(out, m)?,
        ExprKind::Subquery(s) => {
            print(out, &s.expr)?;
            write_window(out, s)?;
        }
    }
    out.end();
    Ok(())
}

/// Expressions in parentheses.
fn print_list<'a>(
    out: &mut dyn Output<'a>,
    exprs: impl IntoIterator<Item = &'a Expr>,
) -> fmt::Result {
    out.write_char('(')?;
    for (i, expr) in exprs.into_iter().enumerate() {
        out.write_str(if i > 0 { ", " } else { "" })?;
        print(out, expr)?;
    }
    out.write_char(')')
}

/// A chain of operators is a left-deep tree: walk down the left, then print on the way up.
fn print_chain<'a>(out: &mut dyn Output<'a>, whole: &'a Expr) -> fmt::Result {
    let (mut chain, mut first) = (Vec::new(), whole);
    while let ExprKind::Binary(binary) = &first.kind {
        out.begin(first);
        chain.push(binary);
        first = &binary.lhs;
    }
    match (&first.kind, chain.last()) {
        (ExprKind::Number(n), Some(binary)) if binary.op == BinaryOp::Pow => {
            out.begin(first);
            write!(out, "{}", Unsigned(n))?;
            out.end();
        }
        _ => print(out, first)?,
    }
    for binary in chain.iter().rev() {
        let return_bool = if binary.return_bool { " bool" } else { "" };
        write!(out, " {}{return_bool}{} ", binary.op.as_str(), binary.matching)?;
        print(out, &binary.rhs)?;
        out.end();
    }
    Ok(())
}

impl UnaryOp {
    /// The sign as written.
    pub fn as_str(self) -> &'static str {
        match self {
            UnaryOp::Plus => "+",
            UnaryOp::Minus => "-",
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What was read as whole milliseconds need not be whole when it is multiplied again.
        let ms = (self.value * 1000.0).round();
        // `-5m` is a number too: the sign has been folded into it.
        if self.duration && ms / 1000.0 == self.value && ms.abs() < 1e18 {
            return f.write_str(&format_duration(ms as i64));
        }
        let mut text = String::new();
        push_plain_float(&mut text, self.value);
        f.write_str(&text)
    }
}

/// A number that a sign in front of it would not be folded into: `Inf` where Prometheus prints `+Inf`, whose sign
/// would read back as an operator.
struct Unsigned<'a>(&'a Number);

impl fmt::Display for Unsigned<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.value == f64::INFINITY { f.write_str("Inf") } else { self.0.fmt(f) }
    }
}

fn comma_separated<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    items: impl Iterator<Item = T>,
) -> fmt::Result {
    for (i, item) in items.enumerate() {
        let comma = if i > 0 { ", " } else { "" };
        write!(f, "{comma}{item}")?;
    }
    Ok(())
}

/// Label names in parentheses, quoted where they need it.
pub(crate) struct LabelList<'a>(pub(crate) &'a [String]);

impl fmt::Display for LabelList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        comma_separated(f, self.0.iter().map(|name| grouping_label(name)))?;
        f.write_str(")")
    }
}

fn label_name(name: &str) -> String {
    if is_legacy_label_name(name) { name.to_string() } else { literal(name) }
}

/// A label's name where no words but some are names; Prometheus prints all of them as names.
fn grouping_label(name: &str) -> String {
    if is_grouping_label(name) { label_name(name) } else { literal(name) }
}

/// A string as it is read again. Prometheus' lexer takes the replacement character for a fault of encoding.
fn literal(text: &str) -> String {
    go_quote(text).replace(char::REPLACEMENT_CHARACTER, "\\ufffd")
}

/// What stands before the parentheses of an aggregation.
fn write_head(out: &mut dyn Output<'_>, aggregate: &Aggregate) -> fmt::Result {
    out.write_str(aggregate.op.as_str())?;
    if aggregate.without {
        write!(out, " without {} ", LabelList(&aggregate.grouping))?;
    } else if !aggregate.grouping.is_empty() {
        write!(out, " by {} ", LabelList(&aggregate.grouping))?;
    }
    Ok(())
}

impl fmt::Display for Matching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grouped = match self.cardinality {
            Cardinality::ManyToOne => Some("group_left"),
            Cardinality::OneToMany => Some("group_right"),
            _ => None,
        };
        if self.on || !self.labels.is_empty() || grouped.is_some() {
            let word = if self.on { "on" } else { "ignoring" };
            write!(f, " {word} {}", LabelList(&self.labels))?;
        }
        if let Some(word) = grouped {
            write!(f, " {word} {}", LabelList(&self.include))?;
        }
        match (self.fill_left, self.fill_right) {
            (Some(l), Some(r)) if l.to_bits() == r.to_bits() && !l.is_nan() => {
                write!(f, " fill ({})", go_float(l))
            }
            (left, right) => {
                if let Some(v) = left {
                    write!(f, " fill_left ({})", go_float(v))?;
                }
                if let Some(v) = right {
                    write!(f, " fill_right ({})", go_float(v))?;
                }
                Ok(())
            }
        }
    }
}

fn write_vector(out: &mut dyn Output<'_>, selector: &VectorSelector) -> fmt::Result {
    write_selector(out, selector)?;
    let others = format!("{}{}", at_text(selector.at), extended_text(selector));
    write_when(out, &others, selector.offset.as_ref())
}

fn write_matrix(out: &mut dyn Output<'_>, matrix: &MatrixSelector) -> fmt::Result {
    let MatrixSelector { selector, range, .. } = matrix;
    write_selector(out, selector)?;
    write!(out, "[{range}]")?;
    let others = format!("{}{}", extended_text(selector), at_text(selector.at));
    write_when(out, &others, selector.offset.as_ref())
}

/// What stands behind the expression of a subquery.
fn write_window(out: &mut dyn Output<'_>, subquery: &Subquery) -> fmt::Result {
    write!(out, "[{}:", subquery.range)?;
    if let Some(step) = &subquery.step {
        write!(out, "{step}")?;
    }
    out.write_char(']')?;
    write_when(out, &at_text(subquery.at), subquery.offset.as_ref())
}

/// Name and matchers, these in the order of their texts.
fn write_selector(out: &mut dyn Output<'_>, selector: &VectorSelector) -> fmt::Result {
    let bare = selector.name.as_deref().filter(|name| !is_reserved(name));
    out.write_str(bare.unwrap_or_default())?;
    // The name's own matcher is the last one.
    let shown = selector.matchers.len() - usize::from(bare.is_some());
    let text =
        |m: &Matcher| format!("{}{}{}", label_name(m.name()), m.op().as_str(), literal(m.value()));
    let mut matchers: Vec<String> = selector.matchers[..shown].iter().map(text).collect();
    matchers.sort_unstable();
    match matchers.is_empty() && bare.is_some() {
        true => Ok(()),
        false => write!(out, "{{{}}}", matchers.join(",")),
    }
}

fn extended_text(selector: &VectorSelector) -> &'static str {
    match (selector.anchored, selector.smoothed) {
        (true, _) => " anchored",
        (_, true) => " smoothed",
        _ => "",
    }
}

fn at_text(at: Option<AtModifier>) -> String {
    match at {
        Some(AtModifier::Time(ms)) => {
            let (sign, ms) = (if ms < 0 { "-" } else { "" }, ms.unsigned_abs());
            format!(" @ {sign}{}.{:03}", ms / 1000, ms % 1000)
        }
        Some(AtModifier::Start) => " @ start()".to_string(),
        Some(AtModifier::End) => " @ end()".to_string(),
        None => String::new(),
    }
}

/// An offset and the `others` that may stand behind a selector. The offset is last, unless it would go on with an operator
/// that follows; Prometheus has it last there, too.
fn write_when(out: &mut dyn Output<'_>, others: &str, offset: Option<&Duration>) -> fmt::Result {
    match offset {
        Some(offset) if goes_on(offset) && !others.is_empty() => {
            write!(out, " offset {offset}{others}")
        }
        Some(offset) => write!(out, "{others} offset {offset}"),
        None => out.write_str(others),
    }
}

/// Whether an offset that is printed takes operators behind it: it begins with a parenthesis, or two signs.
fn goes_on(offset: &Duration) -> bool {
    match &offset.kind {
        DurationKind::Paren(_) | DurationKind::Binary(..) => true,
        DurationKind::Unary(_, inner) => matches!(inner.kind, DurationKind::Unary(..)),
        _ => false,
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A plain number of seconds is printed as the duration that it is, within an expression as written.
        let plain = |n: &Number| Number { value: n.value, duration: true };
        match &self.kind {
            DurationKind::Number(n) => write!(f, "{}", plain(n)),
            DurationKind::Unary(op, inner) => match &inner.kind {
                DurationKind::Number(n) => write!(f, "{}{}", op.as_str(), plain(n)),
                _ => write!(f, "{}{}", op.as_str(), Operand(inner)),
            },
            _ => write!(f, "{}", Operand(self)),
        }
    }
}

/// A part of a duration expression.
struct Operand<'a>(&'a Duration);

impl fmt::Display for Operand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            DurationKind::Number(n) => write!(f, "{}", Unsigned(n)),
            DurationKind::Step => f.write_str("step()"),
            DurationKind::Range => f.write_str("range()"),
            DurationKind::Paren(inner) => write!(f, "({})", Operand(inner)),
            DurationKind::Unary(op, inner) => write!(f, "{}{}", op.as_str(), Operand(inner)),
            DurationKind::Binary(op, a, b) => {
                write!(f, "{} {} {}", Operand(a), op.as_str(), Operand(b))
            }
            DurationKind::MinOf(a, b) => write!(f, "min_of({}, {})", Operand(a), Operand(b)),
            DurationKind::MaxOf(a, b) => write!(f, "max_of({}, {})", Operand(a), Operand(b)),
        }
    }
}
