//! Duration expressions in brackets and behind `offset`: `5m`, `2 * step()`, `min_of(range(), 1h)`.

use super::{Parsed, Parser};
use crate::syntax::ast::{BinaryOp, Duration, DurationKind, Number, UnaryOp};
use crate::syntax::durations::require_range;
use crate::syntax::position::PosRange;
use crate::syntax::token::TokenKind;

/// What a message says of a duration that cannot be read: where it stands, and what could.
#[derive(Clone, Copy)]
pub(super) struct Place {
    context: &'static str,
    expected: &'static str,
}

pub(super) const RANGE: Place = Place {
    context: "subquery or range selector",
    expected: "number, duration, step(), or range()",
};
pub(super) const STEP: Place =
    Place { context: "subquery selector", expected: "number, duration, step(), range(), or \"]\"" };
const OFFSET: Place = Place { context: "offset", ..RANGE };

/// How tight the operators bind that a duration may go on with; `offset 5m` ends there.
#[derive(Clone, Copy, PartialEq)]
enum Goes {
    On,
    NoFurther,
}

impl Parser<'_> {
    /// A duration with operators that bind at least as tight as `precedence`: what stands in brackets.
    pub(super) fn duration(&mut self, precedence: u8, place: Place) -> Parsed<Duration> {
        let first = simplified(self.duration_operand(place)?);
        self.duration_from(first, precedence, place)
    }

    /// The duration that begins with `lhs`.
    fn duration_from(
        &mut self,
        mut lhs: Duration,
        precedence: u8,
        place: Place,
    ) -> Parsed<Duration> {
        while let Some(op) = self.duration_op() {
            if op.precedence() < precedence {
                break;
            }
            self.count_operator()?;
            let op_pos = self.advance();
            let next = op.precedence() + u8::from(op != BinaryOp::Pow);
            let rhs = self.deeper(|p| p.duration(next, place))?;
            let by_zero = matches!(&rhs.kind, DurationKind::Number(n) if n.value == 0.0);
            match op {
                BinaryOp::Div if by_zero => self.fault(op_pos, "division by zero"),
                BinaryOp::Mod if by_zero => self.fault(op_pos, "modulo by zero"),
                _ => {}
            }
            let pos = lhs.pos.to(rhs.pos);
            let kind = DurationKind::Binary(op, Box::new(lhs), Box::new(rhs));
            lhs = Duration { kind, pos };
        }
        Ok(lhs)
    }

    /// The arithmetic operator at hand, not passed.
    fn duration_op(&self) -> Option<BinaryOp> {
        use BinaryOp as B;
        let arithmetic = |op: &B| matches!(op, B::Add | B::Sub | B::Mul | B::Div | B::Mod | B::Pow);
        self.binary_op().filter(arithmetic)
    }

    /// What `offset` takes. That is one operand, so that `m offset 5 ^ 2` is `(m offset 5) ^ 2`; but what begins with a
    /// parenthesis or two signs goes on with operators, as in Prometheus: `m offset (5) ^ 2` is `m offset (5 ^ 2)`.
    pub(super) fn offset_duration(&mut self) -> Parsed<Duration> {
        let (operand, goes) = self.offset_operand()?;
        match goes == Goes::On && self.duration_op().is_some() {
            // It stays as it is written, so that it is read so again.
            true => self.duration_from(operand, 0, OFFSET),
            false => Ok(whole(operand)),
        }
    }

    fn offset_operand(&mut self) -> Parsed<(Duration, Goes)> {
        let sign = match self.kind() {
            TokenKind::Add => UnaryOp::Plus,
            TokenKind::Sub => UnaryOp::Minus,
            kind => {
                let goes = if kind == TokenKind::LeftParen { Goes::On } else { Goes::NoFurther };
                return Ok((self.duration_primary(OFFSET)?, goes));
            }
        };
        if matches!(self.next.kind, TokenKind::Add | TokenKind::Sub) {
            return Ok((self.duration_operand(OFFSET)?, Goes::On));
        }
        let start = self.advance();
        let inner = self.duration_primary(OFFSET)?;
        let pos = start.to(inner.pos);
        Ok((Duration { kind: DurationKind::Unary(sign, Box::new(inner)), pos }, Goes::NoFurther))
    }

    fn duration_operand(&mut self, place: Place) -> Parsed<Duration> {
        let sign = match self.kind() {
            TokenKind::Add => UnaryOp::Plus,
            TokenKind::Sub => UnaryOp::Minus,
            _ => return self.duration_primary(place),
        };
        let start = self.advance();
        let power = BinaryOp::Pow.precedence();
        let inner = self.deeper(|p| p.duration(power, place))?;
        let pos = start.to(inner.pos);
        Ok(Duration { kind: DurationKind::Unary(sign, Box::new(inner)), pos })
    }

    fn duration_primary(&mut self, place: Place) -> Parsed<Duration> {
        let start = self.pos();
        let word = self.word();
        if self.at_number() {
            let number = self.number();
            self.note(require_range(number.value, start));
            return Ok(Duration { kind: DurationKind::Number(number), pos: start });
        }
        if self.accept(TokenKind::LeftParen).is_some() {
            let inner = self.deeper(|p| p.duration(0, place))?;
            let end = self.expect(TokenKind::RightParen, place.context, place.expected)?;
            return Ok(Duration { kind: DurationKind::Paren(Box::new(inner)), pos: start.to(end) });
        }
        match word.as_str() {
            "step" | "range" => {
                self.advance();
                self.expect(TokenKind::LeftParen, place.context, place.expected)?;
                let end = self.expect(TokenKind::RightParen, place.context, place.expected)?;
                let kind = if word == "step" { DurationKind::Step } else { DurationKind::Range };
                Ok(Duration { kind, pos: start.to(end) })
            }
            "min_of" | "max_of" => self.duration_pair(&word, start, place),
            _ => Err(self.unexpected(place.context, place.expected)),
        }
    }

    fn duration_pair(&mut self, word: &str, start: PosRange, place: Place) -> Parsed<Duration> {
        self.advance();
        self.expect(TokenKind::LeftParen, place.context, place.expected)?;
        let a = Box::new(self.deeper(|p| p.duration(0, place))?);
        self.expect(TokenKind::Comma, place.context, place.expected)?;
        let b = Box::new(self.deeper(|p| p.duration(0, place))?);
        let end = self.expect(TokenKind::RightParen, place.context, place.expected)?;
        let kind = match word {
            "min_of" => DurationKind::MinOf(a, b),
            _ => DurationKind::MaxOf(a, b),
        };
        Ok(Duration { kind, pos: start.to(end) })
    }
}

/// A duration in brackets, or behind `offset`, without parentheses around the one number that it is.
pub(super) fn whole(duration: Duration) -> Duration {
    let Duration { kind, pos } = simplified(duration);
    match kind {
        DurationKind::Paren(inner) if is_number(&inner) => Duration { pos, ..*inner },
        kind => Duration { kind, pos },
    }
}

/// `duration` without signs and parentheses of its own that say nothing: `+x` is `x`, `-5m` a number, and so is `(5m)`.
/// What is in it has been simplified.
fn simplified(Duration { kind, pos }: Duration) -> Duration {
    let kind = match kind {
        DurationKind::Unary(UnaryOp::Plus, inner) => inner.kind,
        DurationKind::Unary(UnaryOp::Minus, inner) => match without_parens(*inner) {
            Duration { kind: DurationKind::Number(number), .. } => {
                DurationKind::Number(Number { value: -number.value, ..number })
            }
            inner => DurationKind::Unary(UnaryOp::Minus, Box::new(inner)),
        },
        DurationKind::Paren(inner) => match inner.kind {
            // Behind an operator a sign would be read otherwise.
            DurationKind::Number(number) if number.value.is_sign_positive() => {
                DurationKind::Number(number)
            }
            DurationKind::Paren(_) => inner.kind,
            kind => DurationKind::Paren(Box::new(Duration { kind, pos: inner.pos })),
        },
        kind => kind,
    };
    Duration { kind, pos }
}

/// A number that stands in parentheses, or `duration` as it is.
fn without_parens(duration: Duration) -> Duration {
    match duration.kind {
        DurationKind::Paren(inner) if is_number(&inner) => *inner,
        kind => Duration { kind, pos: duration.pos },
    }
}

fn is_number(duration: &Duration) -> bool {
    matches!(duration.kind, DurationKind::Number(_))
}
