//! The parser: tokens to a tree, by operator precedence (Pratt). Each construct is one function; recursion is
//! bounded by [`DEPTH_MAX`], work by [`OPERATORS_MAX`] and [`QUERY_BYTES_MAX`].

#[cfg(test)]
mod bounds_tests;
mod calls;
mod durations;
mod modifiers;
mod operators;
mod selectors;

pub(super) use calls::{is_grouping_label, is_reserved};

use pando_model::number::go_quote;

use super::ast::{Call, Expr, ExprKind, Number, UnaryOp};
use super::check;
use super::error::{Fault, Faults, ParseError};
use super::functions::REFUSED;
use super::lexer::Lexer;
use super::position::PosRange;
use super::token::{Token, TokenKind, describe};
use super::{DEPTH_MAX, OPERATORS_MAX, QUERY_BYTES_MAX, RegexBudget, SyntaxFeatures};

/// Reads `text` as one expression and checks its types.
pub(crate) fn parse(text: &str, features: &SyntaxFeatures) -> Result<Expr, ParseError> {
    check_length(text)?;
    Parser::new(text, features).query()
}

/// Refuses a text that is too long before any of it is read.
fn check_length(text: &str) -> Result<(), ParseError> {
    let bytes = text.len();
    if bytes <= QUERY_BYTES_MAX {
        return Ok(());
    }
    let message = format!("query is too long: bytes={bytes} query_bytes_max={QUERY_BYTES_MAX}");
    Err(ParseError::new(text, PosRange::new(QUERY_BYTES_MAX, bytes), message))
}

/// Reads `text` as a series selector alone, as `match[]` takes it.
pub(crate) fn parse_selector(text: &str) -> Result<Expr, ParseError> {
    let expr = parse(text, &SyntaxFeatures::default())?;
    match &expr.kind {
        ExprKind::Vector(s) if s.offset.is_none() && s.at.is_none() => Ok(expr),
        _ => Err(ParseError::new(text, expr.pos, "expected a series selector without modifiers")),
    }
}

/// Reads the series that `text` begins with, `name{a="b"}`: its labels and where it ends.
pub(crate) fn parse_series(text: &str) -> Result<(pando_model::Labels, usize), ParseError> {
    let features = SyntaxFeatures::default();
    let mut parser = Parser::over(text, Lexer::of_series(text), &features);
    let series = parser.series();
    parser.faults.verdict(series, text)
}

/// What was read, or why nothing more can be.
type Parsed<T> = Result<T, Fault>;

pub(super) struct Parser<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    /// The token at hand; the last one is never passed.
    token: Token,
    /// The one behind it: tokens are read no further ahead, so that what is refused costs no more than its beginning.
    next: Token,
    /// The place of the token that was passed last.
    passed: PosRange,
    depth: usize,
    /// How many aggregations' parentheses are open: that is what is said of a token that can stand nowhere.
    aggregations: usize,
    operators: usize,
    /// What the regular expressions so far are compiled to.
    regex_budget: RegexBudget,
    features: &'a SyntaxFeatures,
    /// What is wrong so far, and could be read nevertheless.
    faults: Faults,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, features: &'a SyntaxFeatures) -> Self {
        Parser::over(text, Lexer::new(text), features)
    }

    fn over(text: &'a str, mut lexer: Lexer<'a>, features: &'a SyntaxFeatures) -> Self {
        let token = lexer.token();
        let next = if token.kind.is_last() { token.clone() } else { lexer.token() };
        let passed = PosRange::default();
        Parser {
            text,
            lexer,
            token,
            next,
            passed,
            depth: 0,
            aggregations: 0,
            operators: 0,
            regex_budget: RegexBudget::default(),
            features,
            faults: Faults::default(),
        }
    }

    /// The expression that the whole text is. Reports all that is wrong.
    fn query(&mut self) -> Result<Expr, ParseError> {
        let read = self.whole();
        let mut faults = std::mem::take(&mut self.faults);
        if let Ok(expr) = &read {
            check::check(expr, &mut faults);
        }
        faults.verdict(read, self.text)
    }

    fn whole(&mut self) -> Parsed<Expr> {
        if self.kind() == TokenKind::Eof {
            return Err(Fault::new(PosRange::default(), "no expression found in input"));
        }
        let expr = self.expr(0)?;
        if self.kind() != TokenKind::Eof {
            return Err(self.unexpected("", ""));
        }
        Ok(expr)
    }

    // --- faults that do not end the reading

    fn fault(&mut self, pos: PosRange, message: impl Into<String>) {
        self.faults.add(Fault::new(pos, message));
    }

    fn note(&mut self, checked: Parsed<()>) {
        checked.err().into_iter().for_each(|fault| self.faults.add(fault));
    }

    /// What stands for something without a meaning that was made of `args`.
    fn refused(args: Vec<Expr>, pos: PosRange) -> Expr {
        Expr::new(ExprKind::Call(Box::new(Call { function: &REFUSED, args })), pos)
    }

    // --- tokens

    fn kind(&self) -> TokenKind {
        self.token.kind
    }

    fn pos(&self) -> PosRange {
        self.token.pos
    }

    fn text_of(&self, pos: PosRange) -> &'a str {
        &self.text[pos.start as usize..pos.end as usize]
    }

    /// The identifier at hand in lower case; empty for other tokens.
    fn word(&self) -> String {
        match self.kind() {
            TokenKind::Identifier => self.text_of(self.pos()).to_ascii_lowercase(),
            _ => String::new(),
        }
    }

    /// Passes the token at hand and gives its place.
    fn advance(&mut self) -> PosRange {
        let pos = self.pos();
        if !self.kind().is_last() {
            self.passed = pos;
            let after =
                if self.next.kind.is_last() { self.next.clone() } else { self.lexer.token() };
            self.token = std::mem::replace(&mut self.next, after);
        }
        pos
    }

    fn accept(&mut self, kind: TokenKind) -> Option<PosRange> {
        (self.kind() == kind).then(|| self.advance())
    }

    fn accept_word(&mut self, word: &str) -> Option<PosRange> {
        let here = self.kind() == TokenKind::Identifier
            && self.text_of(self.pos()).eq_ignore_ascii_case(word);
        here.then(|| self.advance())
    }

    /// The fault of finding the token at hand in `context` where `expected` should stand.
    fn unexpected(&self, context: &str, expected: &str) -> Fault {
        let token = &self.token;
        if let Some(error) = &token.error {
            return Fault::new(token.pos, error.to_string());
        }
        let text = self.text_of(token.pos);
        // Without a parenthesis it is a metric's name.
        let fills = matches!(self.word().as_str(), "fill" | "fill_left" | "fill_right");
        let is_name = fills && self.next.kind != TokenKind::LeftParen;
        let kind = if is_name { TokenKind::LabelName } else { token.kind };
        let mut message = format!("unexpected {}", describe(kind, text));
        let context =
            if context.is_empty() && self.aggregations > 0 { "aggregation" } else { context };
        if !context.is_empty() {
            message.push_str(&format!(" in {context}"));
        }
        if !expected.is_empty() {
            message.push_str(&format!(", expected {expected}"));
        }
        Fault::new(token.pos, message)
    }

    /// Stops at a token that could not be read: Prometheus looks at it before it judges what stands in front of it.
    fn past_error(&self) -> Parsed<()> {
        match self.kind() {
            TokenKind::Error => Err(self.unexpected("", "")),
            _ => Ok(()),
        }
    }

    fn expect(&mut self, kind: TokenKind, context: &str, expected: &str) -> Parsed<PosRange> {
        self.accept(kind).ok_or_else(|| self.unexpected(context, expected))
    }

    // --- expressions

    /// Runs `inner` one level deeper.
    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= DEPTH_MAX {
            let message = format!("query nests too deep: depth_max={DEPTH_MAX}");
            return Err(Fault::new(self.pos(), message));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// An expression whose operators bind at least as tight as `precedence`.
    fn expr(&mut self, precedence: u8) -> Parsed<Expr> {
        let mut lhs = self.operand()?;
        while let Some(op) = self.binary_op() {
            if op.precedence() < precedence {
                break;
            }
            self.count_operator()?;
            lhs = self.binary(op, lhs)?;
        }
        Ok(lhs)
    }

    /// Counts the binary operator at hand, of an expression or a duration: both make chains that are deep trees.
    fn count_operator(&mut self) -> Parsed<()> {
        self.operators += 1;
        if self.operators > OPERATORS_MAX {
            let message = format!("query has too many operators: operators_max={OPERATORS_MAX}");
            return Err(Fault::new(self.pos(), message));
        }
        Ok(())
    }

    /// A signed or plain operand with its modifiers.
    fn operand(&mut self) -> Parsed<Expr> {
        let op = match self.kind() {
            TokenKind::Add => UnaryOp::Plus,
            TokenKind::Sub => UnaryOp::Minus,
            _ => {
                let primary = self.primary()?;
                return self.modifiers(primary);
            }
        };
        let start = self.advance();
        // A sign binds like a multiplication: looser than `^`, tighter than all else.
        let power = super::ast::BinaryOp::Pow.precedence();
        let inner = self.deeper(|p| p.expr(power))?;
        let pos = start.to(inner.pos);
        if let (ExprKind::Number(number), UnaryOp::Minus) = (&inner.kind, op) {
            let number = Number { value: -number.value, ..*number };
            return Ok(Expr::new(ExprKind::Number(number), pos));
        }
        if let (ExprKind::Number(_), UnaryOp::Plus) = (&inner.kind, op) {
            return Ok(Expr::new(inner.kind, pos));
        }
        Ok(Expr::new(ExprKind::Unary(op, Box::new(inner)), pos))
    }

    fn primary(&mut self) -> Parsed<Expr> {
        match self.kind() {
            TokenKind::Number | TokenKind::Duration => {
                let pos = self.pos();
                let number = self.number();
                Ok(Expr::new(ExprKind::Number(number), pos))
            }
            TokenKind::String => {
                let pos = self.pos();
                let bytes = super::strings::bytes(self.text_of(pos));
                let bytes = self.unquoted(bytes);
                self.advance();
                let kind = String::from_utf8(bytes).map_or_else(
                    |not_text| ExprKind::Bytes(not_text.into_bytes()),
                    ExprKind::String,
                );
                Ok(Expr::new(kind, pos))
            }
            TokenKind::LeftParen => {
                let start = self.advance();
                let inner = self.deeper(|p| p.expr(0))?;
                let end = self.expect(TokenKind::RightParen, "", "")?;
                Ok(Expr::new(ExprKind::Paren(Box::new(inner)), start.to(end)))
            }
            TokenKind::LeftBrace => self.selector(None),
            TokenKind::Identifier => self.named(),
            _ => Err(self.unexpected("", "")),
        }
    }

    /// A string literal, unquoted.
    fn string(&mut self) -> String {
        let pos = self.pos();
        let text = super::strings::unquote(self.text_of(pos));
        let text = self.unquoted(text);
        self.advance();
        text
    }

    /// The string literal at hand as it was unquoted, or something that is not empty.
    fn unquoted<T: From<&'static str>>(&mut self, read: Result<T, String>) -> T {
        let pos = self.pos();
        read.unwrap_or_else(|why| {
            let literal = go_quote(self.text_of(pos));
            self.fault(pos, format!("error unquoting string {literal}: {why}"));
            T::from("x")
        })
    }
}
