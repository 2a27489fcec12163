//! What begins with a name: function calls, aggregations, numbers in words, and metric selectors.

use super::{Parsed, Parser};
use crate::syntax::ast::{Aggregate, AggregateOp, Call, Expr, ExprKind, Number};
use crate::syntax::functions::function;
use crate::syntax::position::PosRange;
use crate::syntax::token::TokenKind;
use pando_model::duration::parse_duration;

/// Words that can never be a metric's name.
const RESERVED: [&str; 6] = ["on", "ignoring", "group_left", "group_right", "bool", "atan2"];
/// Words that are numbers where no brace follows.
pub(super) const NUMBERS: [&str; 2] = ["inf", "nan"];

/// Whether a metric's name that reads `word` has to be quoted: it would not be taken for a name everywhere.
pub(in crate::syntax) fn is_reserved(word: &str) -> bool {
    let is = |reserved: &&str| word.eq_ignore_ascii_case(reserved);
    RESERVED.iter().chain(&NUMBERS).any(is)
}

impl Parser<'_> {
    /// The expression that begins with the identifier at hand.
    pub(super) fn named(&mut self) -> Parsed<Expr> {
        let pos = self.pos();
        let word = self.word();
        if NUMBERS.contains(&word.as_str()) && self.next.kind != TokenKind::LeftBrace {
            let number = self.number();
            return Ok(Expr::new(ExprKind::Number(number), pos));
        }
        let next = self.next.kind;
        if let Some(op) = AggregateOp::from_name(&word) {
            let next_word = self.text_of(self.next.pos);
            let grouped = next == TokenKind::Identifier
                && ["by", "without"].iter().any(|word| next_word.eq_ignore_ascii_case(word));
            if next == TokenKind::LeftParen || grouped {
                return self.aggregate(op);
            }
        }
        if RESERVED.contains(&word.as_str()) {
            return Err(self.unexpected("", ""));
        }
        if next == TokenKind::LeftParen {
            return self.call();
        }
        self.advance();
        self.selector(Some(pos))
    }

    fn call(&mut self) -> Parsed<Expr> {
        let name_pos = self.advance();
        let written = self.text_of(name_pos);
        let lower = written.to_ascii_lowercase();
        // `start`, `end`, `step`, `range`, `min_of` and `max_of` are keywords, so their case is free.
        let name = match lower.as_str() {
            "start" | "end" | "step" | "range" | "min_of" | "max_of" => lower.as_str(),
            _ => written,
        };
        let (args, end) = self.arguments()?;
        let pos = name_pos.to(end);
        let Some(function) = function(name) else {
            let written = pando_model::number::go_quote(written);
            self.fault(name_pos, format!("unknown function with name {written}"));
            return Ok(Self::refused(args, pos));
        };
        if function.experimental && !self.features.experimental_functions {
            self.fault(name_pos, format!("function {name:?} is not enabled"));
        }
        Ok(Expr::new(ExprKind::Call(Box::new(Call { function, args })), pos))
    }

    /// `(a, b, ...)`; gives the place of the closing parenthesis too.
    fn arguments(&mut self) -> Parsed<(Vec<Expr>, PosRange)> {
        self.expect(TokenKind::LeftParen, "", "")?;
        let mut args = Vec::new();
        if let Some(end) = self.accept(TokenKind::RightParen) {
            return Ok((args, end));
        }
        loop {
            args.push(self.deeper(|p| p.expr(0))?);
            match self.kind() {
                TokenKind::Comma => {
                    let comma = self.advance();
                    if self.kind() == TokenKind::RightParen {
                        self.fault(comma, "trailing commas not allowed in function call args");
                        return Ok((args, self.advance()));
                    }
                }
                TokenKind::RightParen => return Ok((args, self.advance())),
                _ => return Err(self.unexpected("", "")),
            }
        }
    }

    fn aggregate(&mut self, op: AggregateOp) -> Parsed<Expr> {
        let start = self.advance();
        let mut modifier = self.grouping()?;
        if self.kind() != TokenKind::LeftParen {
            return Err(self.unexpected("aggregation", ""));
        }
        let (mut args, mut end) = self.arguments()?;
        if modifier.is_none() {
            modifier = self.grouping()?;
            if modifier.is_some() {
                end = self.passed;
            }
        }
        let pos = start.to(end);
        if op.is_experimental() && !self.features.experimental_functions {
            let message = format!(
                "{}() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
                op.as_str()
            );
            self.fault(pos, message);
            return Ok(Self::refused(args, pos));
        }
        let (without, grouping) = modifier.unwrap_or_default();
        let wanted = if op.has_param() { 2 } else { 1 };
        if args.is_empty() {
            self.fault(pos, "no arguments for aggregate expression provided");
            return Ok(Self::refused(args, pos));
        }
        if args.len() != wanted {
            let message = format!(
                "wrong number of arguments for aggregate expression provided, expected {wanted}, got {}",
                args.len()
            );
            self.fault(pos, message);
            return Ok(Self::refused(args, pos));
        }
        let expr = args.remove(wanted - 1);
        let aggregate = Aggregate { op, param: args.pop(), expr, grouping, without };
        Ok(Expr::new(ExprKind::Aggregate(Box::new(aggregate)), pos))
    }

    /// `by (...)` or `without (...)`: whether it is `without`, and its labels.
    fn grouping(&mut self) -> Parsed<Option<(bool, Vec<String>)>> {
        let without = match self.word().as_str() {
            "by" => false,
            "without" => true,
            _ => return Ok(None),
        };
        self.advance();
        Ok(Some((without, self.grouping_labels()?)))
    }

    /// `(a, b, "c.d")`.
    pub(super) fn grouping_labels(&mut self) -> Parsed<Vec<String>> {
        const CONTEXT: &str = "grouping opts";
        self.expect(TokenKind::LeftParen, CONTEXT, "\"(\"")?;
        let mut labels = Vec::new();
        while self.accept(TokenKind::RightParen).is_none() {
            match self.kind() {
                TokenKind::Identifier if !self.text_of(self.pos()).contains(':') => {
                    let pos = self.advance();
                    labels.push(self.text_of(pos).to_string());
                }
                TokenKind::String => labels.push(self.string()),
                _ => return Err(self.unexpected(CONTEXT, "label")),
            }
            match self.kind() {
                TokenKind::Comma => {
                    self.advance();
                }
                TokenKind::RightParen => {}
                _ => return Err(self.unexpected(CONTEXT, "\",\" or \")\"")),
            }
        }
        Ok(labels)
    }

    /// Whether a number is at hand.
    pub(super) fn at_number(&self) -> bool {
        matches!(self.kind(), TokenKind::Number | TokenKind::Duration)
            || NUMBERS.contains(&self.word().as_str())
    }

    /// The number at hand: digits, hex, `Inf`, `NaN` or a duration in seconds.
    pub(super) fn number(&mut self) -> Number {
        let pos = self.pos();
        let text = self.text_of(pos);
        let number = match self.kind() {
            TokenKind::Duration => parse_duration(text)
                .ok()
                .map(|ms| Number { value: ms as f64 / 1000.0, duration: true }),
            _ => read_number(text).map(|value| Number { value, duration: false }),
        };
        if number.is_none() {
            let what = if self.kind() == TokenKind::Duration { "duration" } else { "number" };
            self.fault(pos, format!("error parsing {what}: {text:?} out of range"));
        }
        self.advance();
        number.unwrap_or(Number { value: 1.0, duration: false })
    }
}

/// Reads a number as Go's `ParseInt(text, 0)` and then `ParseFloat` would.
fn read_number(text: &str) -> Option<f64> {
    let plain = text.replace('_', "");
    if let Some(hex) = plain.strip_prefix("0x").or_else(|| plain.strip_prefix("0X")) {
        return i64::from_str_radix(hex, 16).ok().map(|v| v as f64);
    }
    // A leading zero means octal, where all digits are octal ones.
    let octal = plain.len() > 1 && plain.starts_with('0');
    if octal && plain.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
        return i64::from_str_radix(&plain, 8).ok().map(|v| v as f64);
    }
    pando_model::number::parse_go_float(&plain)
}
