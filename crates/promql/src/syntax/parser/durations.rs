//! Duration expressions in brackets and behind `offset`: `5m`, `2 * step()`, `min_of(range(), 1h)`.

use super::calls::NUMBERS;
use super::{Fault, Parsed, Parser};
use crate::syntax::ast::{BinaryOp, Duration, DurationKind, UnaryOp};
use crate::syntax::position::PosRange;
use crate::syntax::token::TokenKind;

/// What stands behind `offset` is not in brackets, where numbers are digits.
const OFFSET: &str = "offset";
const EXPECTED: &str = "number, duration, step(), or range()";

impl Parser<'_> {
    /// A duration with operators that bind at least as tight as `precedence`: what stands in brackets.
    pub(super) fn duration(&mut self, precedence: u8, context: &str) -> Parsed<Duration> {
        let mut lhs = self.duration_operand(context)?;
        while let Some(op) = self.binary_op() {
            use BinaryOp as B;
            let arithmetic = matches!(op, B::Add | B::Sub | B::Mul | B::Div | B::Mod | B::Pow);
            if !arithmetic || op.precedence() < precedence {
                break;
            }
            self.count_operator()?;
            self.advance();
            let next = op.precedence() + u8::from(op != BinaryOp::Pow);
            let rhs = self.deeper(|p| p.duration(next, context))?;
            let pos = lhs.pos.to(rhs.pos);
            let kind = DurationKind::Binary(op, Box::new(lhs), Box::new(rhs));
            lhs = Duration { kind, pos };
        }
        Ok(lhs)
    }

    /// What `offset` takes: one operand, so that `m offset 5 ^ 2` is `(m offset 5) ^ 2`.
    pub(super) fn offset_duration(&mut self) -> Parsed<Duration> {
        let sign = match self.kind() {
            TokenKind::Add => UnaryOp::Plus,
            TokenKind::Sub => UnaryOp::Minus,
            _ => return self.duration_primary(OFFSET),
        };
        let start = self.advance();
        let inner = self.duration_primary(OFFSET)?;
        let pos = start.to(inner.pos);
        Ok(Duration { kind: DurationKind::Unary(sign, Box::new(inner)), pos })
    }

    fn duration_operand(&mut self, context: &str) -> Parsed<Duration> {
        let sign = match self.kind() {
            TokenKind::Add => UnaryOp::Plus,
            TokenKind::Sub => UnaryOp::Minus,
            _ => return self.duration_primary(context),
        };
        let start = self.advance();
        let power = BinaryOp::Pow.precedence();
        let inner = self.deeper(|p| p.duration(power, context))?;
        let pos = start.to(inner.pos);
        Ok(Duration { kind: DurationKind::Unary(sign, Box::new(inner)), pos })
    }

    fn duration_primary(&mut self, context: &str) -> Parsed<Duration> {
        let start = self.pos();
        let word = self.word();
        if context != OFFSET && NUMBERS.contains(&word.as_str()) {
            let first = self.text_of(start).chars().next().unwrap_or_default();
            let message = format!("unexpected character in duration expression: {first:?}");
            return Err(Fault::new(start, message));
        }
        if self.at_number() {
            let kind = DurationKind::Number(self.number());
            return Ok(Duration { kind, pos: start });
        }
        if self.accept(TokenKind::LeftParen).is_some() {
            let inner = self.deeper(|p| p.duration(0, context))?;
            let end = self.expect(TokenKind::RightParen, context, "\")\"")?;
            return Ok(Duration { kind: DurationKind::Paren(Box::new(inner)), pos: start.to(end) });
        }
        match word.as_str() {
            "step" | "range" => {
                self.advance();
                self.expect(TokenKind::LeftParen, context, "\"(\"")?;
                let end = self.expect(TokenKind::RightParen, context, "\")\"")?;
                let kind = if word == "step" { DurationKind::Step } else { DurationKind::Range };
                Ok(Duration { kind, pos: start.to(end) })
            }
            "min_of" | "max_of" => self.duration_pair(&word, start, context),
            _ => Err(self.unexpected(context, EXPECTED)),
        }
    }

    fn duration_pair(&mut self, word: &str, start: PosRange, context: &str) -> Parsed<Duration> {
        self.advance();
        self.expect(TokenKind::LeftParen, context, "\"(\"")?;
        let a = Box::new(self.deeper(|p| p.duration(0, context))?);
        self.expect(TokenKind::Comma, context, "\",\"")?;
        let b = Box::new(self.deeper(|p| p.duration(0, context))?);
        let end = self.expect(TokenKind::RightParen, context, "\")\"")?;
        let kind = match word {
            "min_of" => DurationKind::MinOf(a, b),
            _ => DurationKind::MaxOf(a, b),
        };
        Ok(Duration { kind, pos: start.to(end) })
    }
}
