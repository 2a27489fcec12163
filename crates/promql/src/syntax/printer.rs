//! The printer: a tree back to text, as Prometheus prints it. What is printed parses to the same tree.

use std::fmt;

use pando_model::labels::{is_legacy_label_name, is_legacy_metric_name};
use pando_model::number::{go_float, go_quote, push_plain_float};

use super::ast::{
    Aggregate, AtModifier, Binary, BinaryOp, Cardinality, Duration, DurationKind, Expr, ExprKind,
    Matching, Number, UnaryOp, VectorSelector,
};
use super::parser::is_reserved;
use super::strings::quote;
use pando_model::duration::format_duration;

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Number(n) => write!(f, "{n}"),
            ExprKind::String(s) => f.write_str(&go_quote(s)),
            ExprKind::Bytes(s) => f.write_str(&quote(s)),
            ExprKind::Paren(inner) => write!(f, "({inner})"),
            ExprKind::Unary(op, inner) => write!(f, "{}{inner}", op.as_str()),
            ExprKind::Binary(binary) => write!(f, "{binary}"),
            ExprKind::Aggregate(aggregate) => write!(f, "{aggregate}"),
            ExprKind::Call(call) => {
                write!(f, "{}(", call.function.name)?;
                comma_separated(f, call.args.iter())?;
                f.write_str(")")
            }
            ExprKind::Vector(selector) => {
                write_selector(f, selector)?;
                write_extended(f, selector)?;
                write_modifiers(f, selector.at, selector.offset.as_ref())
            }
            ExprKind::Matrix(m) => {
                write_selector(f, &m.selector)?;
                write!(f, "[{}]", m.range)?;
                write_extended(f, &m.selector)?;
                write_modifiers(f, m.selector.at, m.selector.offset.as_ref())
            }
            ExprKind::Subquery(s) => {
                write!(f, "{}[{}:", s.expr, s.range)?;
                if let Some(step) = &s.step {
                    write!(f, "{step}")?;
                }
                f.write_str("]")?;
                write_modifiers(f, s.at, s.offset.as_ref())
            }
        }
    }
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
        comma_separated(f, self.0.iter().map(|name| label_name(name)))?;
        f.write_str(")")
    }
}

fn label_name(name: &str) -> String {
    if is_legacy_label_name(name) { name.to_string() } else { go_quote(name) }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.op.as_str())?;
        if self.without {
            write!(f, " without {} ", LabelList(&self.grouping))?;
        } else if !self.grouping.is_empty() {
            write!(f, " by {} ", LabelList(&self.grouping))?;
        }
        match &self.param {
            Some(param) => write!(f, "({param}, {})", self.expr),
            None => write!(f, "({})", self.expr),
        }
    }
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A chain of operators is a left-deep tree: walk down the left, then print on the way up.
        let mut chain = vec![self];
        while let ExprKind::Binary(left) = &chain[chain.len() - 1].lhs.kind {
            chain.push(left);
        }
        let first = chain[chain.len() - 1];
        match &first.lhs.kind {
            ExprKind::Number(n) if first.op == BinaryOp::Pow => write!(f, "{}", Unsigned(n))?,
            _ => write!(f, "{}", first.lhs)?,
        }
        for binary in chain.iter().rev() {
            let return_bool = if binary.return_bool { " bool" } else { "" };
            let (op, matching) = (binary.op.as_str(), &binary.matching);
            write!(f, " {op}{return_bool}{matching} {}", binary.rhs)?;
        }
        Ok(())
    }
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
            (Some(l), Some(r)) if l.to_bits() == r.to_bits() => {
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

fn write_selector(f: &mut fmt::Formatter<'_>, selector: &VectorSelector) -> fmt::Result {
    let mut parts = Vec::new();
    if let Some(name) = &selector.name {
        if is_legacy_metric_name(name) && !is_reserved(name) {
            f.write_str(name)?;
        } else {
            parts.push(go_quote(name));
        }
    }
    // The name's own matcher is the last one, and is told by the name.
    let own = usize::from(selector.name.is_some());
    for m in &selector.matchers[..selector.matchers.len() - own] {
        parts.push(format!("{}{}{}", label_name(m.name()), m.op().as_str(), go_quote(m.value())));
    }
    if parts.is_empty() && selector.name.is_some() {
        return Ok(());
    }
    write!(f, "{{{}}}", parts.join(","))
}

fn write_extended(f: &mut fmt::Formatter<'_>, selector: &VectorSelector) -> fmt::Result {
    f.write_str(match (selector.anchored, selector.smoothed) {
        (true, _) => " anchored",
        (_, true) => " smoothed",
        _ => "",
    })
}

fn write_modifiers(
    f: &mut fmt::Formatter<'_>,
    at: Option<AtModifier>,
    offset: Option<&Duration>,
) -> fmt::Result {
    match at {
        Some(AtModifier::Time(ms)) => {
            let (sign, ms) = (if ms < 0 { "-" } else { "" }, ms.unsigned_abs());
            write!(f, " @ {sign}{}.{:03}", ms / 1000, ms % 1000)?;
        }
        Some(AtModifier::Start) => f.write_str(" @ start()")?,
        Some(AtModifier::End) => f.write_str(" @ end()")?,
        None => {}
    }
    match offset {
        Some(offset) => write!(f, " offset {offset}"),
        None => Ok(()),
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
