//! Duration expressions in brackets and behind `offset`: `5m`, `2 * step()`, `min_of(range(), 1h)`.

use super::{Parsed, Parser};
use crate::syntax::ast::{BinaryOp, Duration, DurationKind, Number, UnaryOp};
use crate::syntax::durations::require_range;
use crate::syntax::position::PosRange;
use crate::syntax::token::TokenKind;

/// What a message says of a duration that cannot be read: what it is a part of, and what could stand there.
#[derive(Clone, Copy)]
pub(super) struct Expectation {
    context: &'static str,
    expected: &'static str,
}

pub(super) const RANGE: Expectation = Expectation {
    context: "subquery or range selector",
    expected: "number, duration, step(), or range()",
};
pub(super) const STEP: Expectation = Expectation {
    context: "subquery selector",
    expected: "number, duration, step(), range(), or \"]\"",
};
const OFFSET: Expectation = Expectation { context: "offset", ..RANGE };

impl Parser<'_> {
    /// A duration with operators that bind at least as tight as `precedence`: what stands in brackets.
    pub(super) fn duration(&mut self, precedence: u8, wanted: Expectation) -> Parsed<Duration> {
        let first = simplified(self.duration_operand(wanted)?);
        self.duration_from(first, precedence, wanted)
    }

    /// The duration that begins with `lhs`.
    fn duration_from(
        &mut self,
        mut lhs: Duration,
        precedence: u8,
        wanted: Expectation,
    ) -> Parsed<Duration> {
        while let Some(op) = self.duration_op() {
            if op.precedence() < precedence {
                break;
            }
            self.count_operator()?;
            let op_pos = self.advance();
            let next = op.precedence() + u8::from(op != BinaryOp::Pow);
            let rhs = self.deeper(|p| p.duration(next, wanted))?;
            let by_zero = rhs.number().is_some_and(|number| number.value == 0.0);
            if by_zero {
                self.past_error()?;
            }
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
        let (operand, goes_on) = self.offset_operand()?;
        match goes_on && self.duration_op().is_some() {
            true => self.duration_from(operand, 0, OFFSET).map(enclosed),
            false => Ok(match operand.kind {
                // Without its sign it would go on with operators.
                DurationKind::Unary(UnaryOp::Plus, inner) if inner.is_paren() => {
                    Duration { kind: DurationKind::Unary(UnaryOp::Plus, inner), ..operand }
                }
                kind => enclosed(whole(Duration { kind, ..operand })),
            }),
        }
    }

    /// What `offset` begins with, and whether operators may follow.
    fn offset_operand(&mut self) -> Parsed<(Duration, bool)> {
        let sign = match self.kind() {
            TokenKind::Add => UnaryOp::Plus,
            TokenKind::Sub => UnaryOp::Minus,
            kind => return Ok((self.duration_primary(OFFSET)?, kind == TokenKind::LeftParen)),
        };
        if matches!(self.next.kind, TokenKind::Add | TokenKind::Sub) {
            return Ok((simplified(self.duration_operand(OFFSET)?), true));
        }
        let start = self.advance();
        let inner = simplified(self.duration_primary(OFFSET)?);
        let pos = start.to(inner.pos);
        Ok((Duration { kind: DurationKind::Unary(sign, Box::new(inner)), pos }, false))
    }

    fn duration_operand(&mut self, wanted: Expectation) -> Parsed<Duration> {
        let sign = match self.kind() {
            TokenKind::Add => UnaryOp::Plus,
            TokenKind::Sub => UnaryOp::Minus,
            _ => return self.duration_primary(wanted),
        };
        let start = self.advance();
        let power = BinaryOp::Pow.precedence();
        let inner = self.deeper(|p| p.duration(power, wanted))?;
        let pos = start.to(inner.pos);
        Ok(Duration { kind: DurationKind::Unary(sign, Box::new(inner)), pos })
    }

    fn duration_primary(&mut self, wanted: Expectation) -> Parsed<Duration> {
        let start = self.pos();
        let word = self.word();
        if self.at_number() {
            let number = self.number();
            self.note(require_range(number.value, start));
            return Ok(Duration { kind: DurationKind::Number(number), pos: start });
        }
        if self.accept(TokenKind::LeftParen).is_some() {
            let inner = self.deeper(|p| p.duration(0, wanted))?;
            let end = self.expect(TokenKind::RightParen, wanted.context, wanted.expected)?;
            return Ok(Duration { kind: DurationKind::Paren(Box::new(inner)), pos: start.to(end) });
        }
        match word.as_str() {
            "step" | "range" => {
                self.advance();
                self.expect(TokenKind::LeftParen, wanted.context, wanted.expected)?;
                let end = self.expect(TokenKind::RightParen, wanted.context, wanted.expected)?;
                let kind = if word == "step" { DurationKind::Step } else { DurationKind::Range };
                Ok(Duration { kind, pos: start.to(end) })
            }
            "min_of" | "max_of" => self.duration_pair(&word, start, wanted),
            _ => Err(self.unexpected(wanted.context, wanted.expected)),
        }
    }

    fn duration_pair(
        &mut self,
        word: &str,
        start: PosRange,
        wanted: Expectation,
    ) -> Parsed<Duration> {
        self.advance();
        self.expect(TokenKind::LeftParen, wanted.context, wanted.expected)?;
        let a = Box::new(self.deeper(|p| p.duration(0, wanted))?);
        self.expect(TokenKind::Comma, wanted.context, wanted.expected)?;
        let b = Box::new(self.deeper(|p| p.duration(0, wanted))?);
        let end = self.expect(TokenKind::RightParen, wanted.context, wanted.expected)?;
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
        DurationKind::Paren(inner) if inner.is_number() => Duration { pos, ..*inner },
        kind => Duration { kind, pos },
    }
}

/// An offset as it can be printed and read again: in parentheses where operators are in it that begin with none.
fn enclosed(duration: Duration) -> Duration {
    let begins_with_paren = |mut duration: &Duration| {
        while let DurationKind::Binary(_, first, _) = &duration.kind {
            duration = first;
        }
        duration.is_paren()
    };
    let needs = match &duration.kind {
        DurationKind::Binary(..) => !begins_with_paren(&duration),
        DurationKind::Unary(_, inner) => matches!(inner.kind, DurationKind::Binary(..)),
        _ => false,
    };
    let pos = duration.pos;
    match needs {
        true => Duration { kind: DurationKind::Paren(Box::new(duration)), pos },
        false => duration,
    }
}

/// `duration` without signs and parentheses of its own that say nothing: `+x` is `x`, `-5m` a number, and so is `(5m)`.
/// What is in it has been simplified.
fn simplified(Duration { kind, pos }: Duration) -> Duration {
    let kind = match kind {
        DurationKind::Unary(UnaryOp::Plus, inner) => simplified(*inner).kind,
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
        DurationKind::Paren(inner) if inner.is_number() => *inner,
        kind => Duration { kind, pos: duration.pos },
    }
}
