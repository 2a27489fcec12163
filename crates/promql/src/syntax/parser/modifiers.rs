//! What may stand behind an operand: `[range]`, `[range:step]`, `offset`, `@`, `anchored`, `smoothed`.

use super::{Parsed, Parser};
use crate::syntax::ast::{
    AtModifier, Duration, Expr, ExprKind, MatrixSelector, Subquery, VectorSelector,
};
use crate::syntax::durations::{require_positive, require_range};
use crate::syntax::error::Fault;
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
        let context = "subquery or range selector";
        let range = self.duration(0, context)?;
        require_positive(&range)?;
        if self.accept(TokenKind::Colon).is_some() {
            return self.subquery(expr, range);
        }
        if self.kind() != TokenKind::RightBracket {
            return Err(self.unexpected("subquery or range", "\":\" or \"]\""));
        }
        let close = self.advance();
        let pos = expr.pos.to(close);
        let refuse = |message: &str| Err(Fault::new(open.to(close), message));
        let ExprKind::Vector(selector) = expr.kind else {
            return refuse("ranges only allowed for vector selectors");
        };
        if selector.offset.is_some() {
            return refuse("no offset modifiers allowed before range");
        }
        if selector.at.is_some() {
            return refuse("no @ modifiers allowed before range");
        }
        if selector.anchored || selector.smoothed {
            return refuse("no anchored or smoothed modifiers allowed before range");
        }
        let matrix = MatrixSelector { selector: *selector, selector_pos: expr.pos, range };
        Ok(Expr::new(ExprKind::Matrix(Box::new(matrix)), pos))
    }

    fn subquery(&mut self, expr: Expr, range: Duration) -> Parsed<Expr> {
        let step = match self.kind() {
            TokenKind::RightBracket => None,
            _ => {
                let step = self.duration(0, "subquery selector")?;
                require_positive(&step)?;
                Some(step)
            }
        };
        let close = self.expect(TokenKind::RightBracket, "subquery selector", "\"]\"")?;
        let pos = expr.pos.to(close);
        let ty = expr.value_type();
        if ty != crate::syntax::ast::ValueType::Vector {
            let message =
                format!("subquery is only allowed on instant vector, got {} instead", ty.as_str());
            return Err(Fault::new(pos, message));
        }
        let subquery = Subquery { expr, range, step, offset: None, at: None };
        Ok(Expr::new(ExprKind::Subquery(Box::new(subquery)), pos))
    }

    fn offset(&mut self, mut expr: Expr) -> Parsed<Expr> {
        self.advance();
        let duration = self.offset_duration()?;
        require_range(&duration)?;
        let end = duration.pos;
        let slot = match &mut expr.kind {
            ExprKind::Vector(s) => &mut s.offset,
            ExprKind::Matrix(m) => &mut m.selector.offset,
            ExprKind::Subquery(s) => &mut s.offset,
            _ => {
                let message = "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery";
                return Err(Fault::new(expr.pos, message));
            }
        };
        if slot.is_some() {
            return Err(Fault::new(expr.pos, "offset may not be set multiple times"));
        }
        *slot = Some(duration);
        expr.pos = expr.pos.to(end);
        Ok(expr)
    }

    fn at_modifier(&mut self, mut expr: Expr) -> Parsed<Expr> {
        self.advance();
        let (at, end) = self.at_time()?;
        let slot = match &mut expr.kind {
            ExprKind::Vector(s) => &mut s.at,
            ExprKind::Matrix(m) => &mut m.selector.at,
            ExprKind::Subquery(s) => &mut s.at,
            _ => {
                let message = "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery";
                return Err(Fault::new(expr.pos, message));
            }
        };
        if slot.is_some() {
            return Err(Fault::new(expr.pos, "@ <timestamp> may not be set multiple times"));
        }
        *slot = Some(at);
        expr.pos = expr.pos.to(end);
        Ok(expr)
    }

    fn at_time(&mut self) -> Parsed<(AtModifier, PosRange)> {
        let word = self.word();
        if matches!(word.as_str(), "start" | "end") {
            self.advance();
            self.expect(TokenKind::LeftParen, "@", "\"(\"")?;
            let close = self.expect(TokenKind::RightParen, "@", "\")\"")?;
            let at = if word == "start" { AtModifier::Start } else { AtModifier::End };
            return Ok((at, close));
        }
        let start = self.pos();
        let negative = match self.kind() {
            TokenKind::Sub => true,
            TokenKind::Add => false,
            _ => return self.at_number_time(start, false),
        };
        self.advance();
        self.at_number_time(start, negative)
    }

    fn at_number_time(
        &mut self,
        start: PosRange,
        negative: bool,
    ) -> Parsed<(AtModifier, PosRange)> {
        if !self.at_number() {
            return Err(self.unexpected("@", "timestamp"));
        }
        let pos = start.to(self.pos());
        let value = self.number()?.value;
        let seconds = if negative { -value } else { value };
        let ms = (seconds * 1000.0).round();
        // Go refuses what does not fit an int64 of seconds; ms are what we compute with.
        if !seconds.is_finite() || ms.abs() >= 9.2e18 {
            let message = format!("timestamp out of bounds for @ modifier: {seconds:.6}");
            return Err(Fault::new(pos, message));
        }
        Ok((AtModifier::Time(ms as i64), pos))
    }

    fn extended(&mut self, mut expr: Expr, anchored: bool) -> Parsed<Expr> {
        let end = self.advance();
        let name = if anchored { "anchored" } else { "smoothed" };
        if !self.features.extended_range_selectors {
            let message = format!("{name} modifier is experimental and not enabled");
            return Err(Fault::new(end, message));
        }
        let selector: &mut VectorSelector = match &mut expr.kind {
            ExprKind::Vector(s) => s,
            ExprKind::Matrix(m) => &mut m.selector,
            ExprKind::Subquery(_) => {
                let message = format!("{name} modifier is not supported for subqueries");
                return Err(Fault::new(expr.pos, message));
            }
            _ => {
                let message = format!("{name} modifier not implemented");
                return Err(Fault::new(expr.pos, message));
            }
        };
        if selector.anchored || selector.smoothed {
            let message = "anchored and smoothed modifiers cannot be used together";
            return Err(Fault::new(expr.pos, message));
        }
        selector.anchored = anchored;
        selector.smoothed = !anchored;
        expr.pos = expr.pos.to(end);
        Ok(expr)
    }
}
