//! What may stand behind an operand: `[range]`, `[range:step]`, `offset`, `@`, `anchored`, `smoothed`.

use super::durations::{RANGE, STEP, whole};
use super::{Parsed, Parser};
use crate::syntax::ast::{
    AtModifier, Duration, DurationKind, Expr, ExprKind, MatrixSelector, Subquery, VectorSelector,
};
use crate::syntax::durations::require_positive;
use crate::syntax::position::PosRange;
use crate::syntax::token::TokenKind;

impl Parser<'_> {
    /// `expr` with all modifiers that follow it.
    pub(super) fn modifiers(&mut self, mut expr: Expr) -> Parsed<Expr> {
        loop {
            expr = match self.kind() {
                // A range of a range is refused at once, so this loop nests nothing.
                TokenKind::LeftBracket => self.range(expr)?,
                TokenKind::At => self.at_modifier(expr)?,
                TokenKind::Identifier => match self.word().as_str() {
                    "offset" => self.offset(expr)?,
                    word @ ("anchored" | "smoothed") => self.extended(expr, word == "anchored")?,
                    _ => return Ok(expr),
                },
                _ => return Ok(expr),
            };
        }
    }

    fn range(&mut self, expr: Expr) -> Parsed<Expr> {
        let open = self.advance();
        let range = whole(self.duration(0, RANGE)?);
        self.past_error()?;
        self.note(require_positive(&range));
        if self.accept(TokenKind::Colon).is_some() {
            return self.subquery(expr, range);
        }
        if self.kind() != TokenKind::RightBracket {
            return Err(self.unexpected("subquery or range", "\":\" or \"]\""));
        }
        let close = self.advance();
        let (pos, brackets) = (expr.pos.to(close), open.to(close));
        let selector = match expr.kind {
            ExprKind::Vector(selector) => selector,
            kind => {
                let expr = Expr::new(kind, expr.pos);
                return Ok(self.misplaced(
                    expr,
                    pos,
                    brackets,
                    "ranges only allowed for vector selectors",
                ));
            }
        };
        // One that is an expression may stand there, as in Prometheus.
        if selector.offset.as_ref().is_some_and(Duration::is_number) {
            self.fault(brackets, "no offset modifiers allowed before range");
        } else if matches!(selector.at, Some(AtModifier::Time(_))) {
            self.fault(brackets, "no @ modifiers allowed before range");
        }
        let matrix = MatrixSelector { selector: *selector, selector_pos: expr.pos, range };
        Ok(Expr::new(ExprKind::Matrix(Box::new(matrix)), pos))
    }

    fn subquery(&mut self, expr: Expr, range: Duration) -> Parsed<Expr> {
        let step = match self.kind() {
            TokenKind::RightBracket => None,
            _ => {
                let step = whole(self.duration(0, STEP)?);
                self.past_error()?;
                self.note(require_positive(&step));
                Some(step)
            }
        };
        let close = self.expect(TokenKind::RightBracket, "subquery selector", "\"]\"")?;
        let pos = expr.pos.to(close);
        // The type is checked with all others. What is wrong already is not nested further.
        let wrong = matches!(&expr.kind, ExprKind::Subquery(inner) if is_range(&inner.expr));
        if wrong || is_refused(&expr) {
            return Ok(Expr { pos, ..expr });
        }
        let subquery = Subquery { expr, range, step, offset: None, at: None };
        Ok(Expr::new(ExprKind::Subquery(Box::new(subquery)), pos))
    }

    /// What is made of `expr` with a modifier, up to the end of `pos`, that it cannot have: there is a fault at `fault`.
    /// However many follow, it is nested once.
    fn misplaced(&mut self, expr: Expr, pos: PosRange, fault: PosRange, message: &str) -> Expr {
        if is_refused(&expr) {
            return Expr { pos, ..expr };
        }
        self.fault(fault, message);
        if is_range(&expr) { Expr { pos, ..expr } } else { Self::refused(vec![expr], pos) }
    }

    fn offset(&mut self, mut expr: Expr) -> Parsed<Expr> {
        self.advance();
        let duration = self.offset_duration()?;
        let end = duration.pos;
        let slot = match &mut expr.kind {
            ExprKind::Vector(s) => &mut s.offset,
            ExprKind::Matrix(m) => &mut m.selector.offset,
            ExprKind::Subquery(s) => &mut s.offset,
            _ => {
                let message = "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery";
                let (pos, fault) = (expr.pos.to(end), expr.pos);
                return Ok(self.misplaced(expr, pos, fault, message));
            }
        };
        if slot.is_some() {
            self.fault(expr.pos, "offset may not be set multiple times");
        }
        // One of nothing is none, as in Prometheus: another may follow, or a range.
        *slot = Some(duration).filter(|duration| !is_nothing(duration));
        expr.pos = expr.pos.to(end);
        Ok(expr)
    }

    fn at_modifier(&mut self, mut expr: Expr) -> Parsed<Expr> {
        self.advance();
        let (at, end) = self.at_time(expr.pos)?;
        let slot = match &mut expr.kind {
            ExprKind::Vector(s) => &mut s.at,
            ExprKind::Matrix(m) => &mut m.selector.at,
            ExprKind::Subquery(s) => &mut s.at,
            _ => {
                let message = "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery";
                let (pos, fault) = (expr.pos.to(end), expr.pos);
                return Ok(self.misplaced(expr, pos, fault, message));
            }
        };
        if slot.is_some() {
            self.fault(expr.pos, "@ <timestamp> may not be set multiple times");
        }
        *slot = Some(at);
        expr.pos = expr.pos.to(end);
        Ok(expr)
    }

    /// The time that the expression at `modified` is asked for.
    fn at_time(&mut self, modified: PosRange) -> Parsed<(AtModifier, PosRange)> {
        let word = self.word();
        if matches!(word.as_str(), "start" | "end") {
            self.advance();
            self.expect(TokenKind::LeftParen, "@", "timestamp")?;
            let close = self.expect(TokenKind::RightParen, "@", "timestamp")?;
            let at = if word == "start" { AtModifier::Start } else { AtModifier::End };
            return Ok((at, close));
        }
        let start = self.pos();
        let negative = match self.kind() {
            TokenKind::Sub => true,
            TokenKind::Add => false,
            _ => return self.at_number_time(modified, start, false),
        };
        self.advance();
        self.at_number_time(modified, start, negative)
    }

    fn at_number_time(
        &mut self,
        modified: PosRange,
        start: PosRange,
        negative: bool,
    ) -> Parsed<(AtModifier, PosRange)> {
        if !self.at_number() {
            return Err(self.unexpected("@", "timestamp"));
        }
        let pos = start.to(self.pos());
        let value = self.number().value;
        let seconds = if negative { -value } else { value };
        let ms = (seconds * 1000.0).round();
        // Go refuses what does not fit an int64 of seconds; ms are what we compute with.
        if !seconds.is_finite() || ms.abs() >= 9.2e18 {
            let written = match seconds {
                f64::INFINITY => "+Inf".to_string(),
                f64::NEG_INFINITY => "-Inf".to_string(),
                seconds => format!("{seconds:.6}"),
            };
            let message = format!("timestamp out of bounds for @ modifier: {written}");
            self.fault(modified, message);
        }
        Ok((AtModifier::Time(ms as i64), pos))
    }

    fn extended(&mut self, mut expr: Expr, anchored: bool) -> Parsed<Expr> {
        let end = self.advance();
        let name = if anchored { "anchored" } else { "smoothed" };
        if !self.features.extended_range_selectors {
            self.fault(expr.pos, format!("{name} modifier is experimental and not enabled"));
            return Ok(expr);
        }
        let selector: &mut VectorSelector = match &mut expr.kind {
            ExprKind::Vector(s) => s,
            ExprKind::Matrix(m) => &mut m.selector,
            ExprKind::Subquery(_) => {
                self.fault(expr.pos, format!("{name} modifier is not supported for subqueries"));
                return Ok(expr);
            }
            _ => {
                let message = format!("{name} modifier not implemented");
                let (pos, fault) = (expr.pos.to(end), expr.pos);
                return Ok(self.misplaced(expr, pos, fault, &message));
            }
        };
        let other = if anchored { selector.smoothed } else { selector.anchored };
        if other {
            self.fault(expr.pos, "anchored and smoothed modifiers cannot be used together");
        }
        selector.anchored |= anchored;
        selector.smoothed |= !anchored;
        expr.pos = expr.pos.to(end);
        Ok(expr)
    }
}

/// Whether `duration` is a number of no nanoseconds.
fn is_nothing(duration: &Duration) -> bool {
    matches!(duration.kind, DurationKind::Number(n) if (n.value * 1e9).round() == 0.0)
}

fn is_range(expr: &Expr) -> bool {
    matches!(expr.kind, ExprKind::Matrix(_) | ExprKind::Subquery(_))
}

/// Whether `expr` has no meaning. Nothing is said of what modifies it.
fn is_refused(expr: &Expr) -> bool {
    matches!(&expr.kind, ExprKind::Call(call) if call.function.is_refused())
}
