//! What begins with a name: function calls, aggregations, numbers in words, and metric selectors.

use super::{Parsed, Parser};
use crate::syntax::ast::{Aggregate, AggregateOp, Call, Expr, ExprKind, Number};
use crate::syntax::functions::function;
use crate::syntax::position::PosRange;
use crate::syntax::strings::{bytes, quote};
use crate::syntax::token::{TokenKind, is_keyword};
use pando_model::duration::parse_duration;
use pando_model::number::go_quote;

/// Words that can never be a metric's name.
const RESERVED: [&str; 6] = ["on", "ignoring", "group_left", "group_right", "bool", "atan2"];
/// Words that are numbers.
const NUMBERS: [&str; 2] = ["inf", "nan"];

/// Whether a metric's name that reads `word` has to be quoted: it would not be taken for a name everywhere.
pub(in crate::syntax) fn is_reserved(word: &str) -> bool {
    let is = |reserved: &&str| word.eq_ignore_ascii_case(reserved);
    RESERVED.iter().chain(&NUMBERS).any(is)
}

/// Whether `word` is a label where labels are grouped by: all words are but these.
pub(in crate::syntax) fn is_grouping_label(word: &str) -> bool {
    let is = |other: &&str| word.eq_ignore_ascii_case(other);
    !NUMBERS.iter().chain(&["without"]).any(is)
}

impl Parser<'_> {
    /// The expression that begins with the identifier at hand.
    pub(super) fn named(&mut self) -> Parsed<Expr> {
        let pos = self.pos();
        let word = self.word();
        if NUMBERS.contains(&word.as_str()) {
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
        if next == TokenKind::LeftParen && can_be_called(&word) {
            return self.call();
        }
        self.advance();
        self.selector(Some(pos))
    }

    fn call(&mut self) -> Parsed<Expr> {
        let name_pos = self.advance();
        let written = self.text_of(name_pos);
        let (args, end) = self.arguments()?;
        let pos = name_pos.to(end);
        let Some(function) = function(written) else {
            let written = go_quote(written);
            self.fault(name_pos, format!("unknown function with name {written}"));
            return Ok(Self::refused(args, pos));
        };
        if function.experimental && !self.features.experimental_functions {
            self.fault(name_pos, format!("function {written:?} is not enabled"));
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
                TokenKind::RightParen => return Ok((args, self.advance())),
                TokenKind::Comma => {}
                _ => return Err(self.unexpected("", "")),
            }
            while let Some(comma) = self.accept(TokenKind::Comma) {
                if !self.begins_expr() {
                    self.fault(comma, "trailing commas not allowed in function call args");
                }
            }
            if let Some(end) = self.accept(TokenKind::RightParen) {
                return Ok((args, end));
            }
        }
    }

    /// Whether an expression can begin with the token at hand, or nothing is known because there is none.
    pub(super) fn begins_expr(&self) -> bool {
        use TokenKind as T;
        match self.kind() {
            T::Number | T::Duration | T::String | T::LeftParen | T::LeftBrace | T::Add | T::Sub => {
                true
            }
            T::Identifier => !RESERVED.contains(&self.word().as_str()),
            kind => kind == T::Error,
        }
    }

    fn aggregate(&mut self, op: AggregateOp) -> Parsed<Expr> {
        let start = self.advance();
        let mut modifier = self.grouping()?;
        if self.kind() != TokenKind::LeftParen {
            return Err(self.unexpected("aggregation", ""));
        }
        self.aggregations += 1;
        let (mut args, mut end) = self.arguments()?;
        self.aggregations -= 1;
        if modifier.is_none() {
            self.past_error()?;
            modifier = self.grouping()?;
            if modifier.is_some() {
                end = self.passed;
            }
        }
        let pos = start.to(end);
        let (without, grouping) = modifier.unwrap_or_default();
        let wanted = if op.has_param() { 2 } else { 1 };
        if args.is_empty() {
            self.fault(pos, "no arguments for aggregate expression provided");
            return Ok(Self::refused(args, pos));
        }
        if op.is_experimental() && !self.features.experimental_functions {
            let message = format!(
                "{}() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
                op.as_str()
            );
            self.fault(pos, message);
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
                TokenKind::Identifier if is_grouping_label(self.text_of(self.pos())) => {
                    let pos = self.advance();
                    labels.push(self.text_of(pos).to_string());
                }
                TokenKind::String => labels.push(self.quoted_label()),
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

    /// The string literal at hand, as a label of a grouping.
    fn quoted_label(&mut self) -> String {
        let pos = self.pos();
        let read = bytes(self.text_of(pos));
        let label: Vec<u8> = self.unquoted(read);
        self.advance();
        if label.is_empty() || std::str::from_utf8(&label).is_err() {
            self.fault(pos, format!("invalid label name for grouping: {}", quote(&label)));
        }
        String::from_utf8_lossy(&label).into_owned()
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
                .map(|ms| Number { value: ms as f64 / 1000.0, duration: true })
                .map_err(|why| why.to_string()),
            _ => read_number(text).map(|value| Number { value, duration: false }),
        };
        self.advance();
        number.unwrap_or_else(|why| {
            self.fault(pos, why);
            Number { value: 1.0, duration: false }
        })
    }
}

/// Whether `word` names a function where a parenthesis follows: it is no keyword, or one of those that are functions, too.
fn can_be_called(word: &str) -> bool {
    matches!(word, "start" | "end" | "step" | "range" | "min_of" | "max_of")
        || (!word.contains(':') && !is_keyword(word))
}

/// Whether each underscore of a number is between two digits; the prefix of a base counts as one.
fn joins_digits(text: &str) -> bool {
    let bytes = text.as_bytes();
    let hex = matches!(bytes, [b'0', b'x' | b'X', ..]);
    let is_digit = |b: &u8| if hex { b.is_ascii_hexdigit() } else { b.is_ascii_digit() };
    let joins = |(at, _): (usize, &u8)| {
        let before = at > 0 && (is_digit(&bytes[at - 1]) || (hex && at == 2));
        before && bytes.get(at + 1).is_some_and(is_digit)
    };
    bytes.iter().enumerate().filter(|(_, b)| **b == b'_').all(joins)
}

/// Reads a number as Go's `ParseInt(text, 0)` and then `ParseFloat` would.
fn read_number(text: &str) -> Result<f64, String> {
    let refused = |why| {
        let text = go_quote(text);
        format!("error parsing number: strconv.ParseFloat: parsing {text}: {why}")
    };
    if !joins_digits(text) {
        return Err(refused("invalid syntax"));
    }
    let plain = text.replace('_', "");
    if let Some(hex) = plain.strip_prefix("0x").or_else(|| plain.strip_prefix("0X")) {
        let value = i64::from_str_radix(hex, 16).ok().map(|v| v as f64);
        return value.ok_or_else(|| refused("invalid syntax"));
    }
    // A leading zero means octal, where all digits are octal ones.
    let octal = plain.len() > 1 && plain.bytes().all(|b| (b'0'..=b'7').contains(&b));
    if octal
        && plain.starts_with('0')
        && let Ok(value) = i64::from_str_radix(&plain, 8)
    {
        return Ok(value as f64);
    }
    let value = pando_model::number::parse_go_float(&plain);
    value.ok_or_else(|| {
        let is_number = plain.parse::<f64>().is_ok();
        refused(if is_number { "value out of range" } else { "invalid syntax" })
    })
}
