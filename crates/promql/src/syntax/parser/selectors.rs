//! Series selectors: `name{label="value", "quoted.label"=~"x"}`, `{"quoted.metric"}`.

use pando_model::{Labels, METRIC_NAME, MatchOp, Matcher};

use super::{Parsed, Parser};
use crate::syntax::ast::{Expr, ExprKind, VectorSelector};
use crate::syntax::error::Fault;
use crate::syntax::position::PosRange;
use crate::syntax::token::TokenKind;

const CONTEXT: &str = "label matching";

impl Parser<'_> {
    /// A selector; the name at `name_pos` has been passed, an opening brace may be at hand.
    pub(super) fn selector(&mut self, name_pos: Option<PosRange>) -> Parsed<Expr> {
        let mut pos = name_pos.unwrap_or_else(|| self.pos());
        let name = name_pos.map(|p| self.text_of(p).to_string());
        let mut matchers = Vec::new();
        if self.accept(TokenKind::LeftBrace).is_some() {
            pos = pos.to(self.matchers(&mut matchers)?);
        }
        if let Some(name) = &name {
            matchers.push(Matcher::equal(METRIC_NAME, name.as_str()));
        }
        let selector = VectorSelector {
            name,
            matchers,
            offset: None,
            at: None,
            anchored: false,
            smoothed: false,
        };
        Ok(Expr::new(ExprKind::Vector(Box::new(selector)), pos))
    }

    /// A series: a selector of equality matchers alone, in the order of its text.
    pub(super) fn series(&mut self) -> Parsed<(Labels, usize)> {
        let name_pos = match self.kind() {
            TokenKind::Identifier => Some(self.advance()),
            TokenKind::LeftBrace => None,
            _ => return Err(self.unexpected("series", "metric name or \"{\"")),
        };
        let expr = self.selector(name_pos)?;
        let ExprKind::Vector(selector) = expr.kind else {
            return Err(Fault::new(expr.pos, "a series is expected"));
        };
        if let Some(m) = selector.matchers.iter().find(|m| m.op() != MatchOp::Equal) {
            let message = format!("a series has no matchers but \"=\": {m}");
            return Err(Fault::new(expr.pos, message));
        }
        let pairs = selector.matchers.iter().map(|m| (m.name(), m.value()));
        Ok((Labels::from_pairs(pairs), expr.pos.end as usize))
    }

    /// The matchers up to the closing brace, whose place is the result.
    fn matchers(&mut self, matchers: &mut Vec<Matcher>) -> Parsed<PosRange> {
        loop {
            if let Some(end) = self.accept(TokenKind::RightBrace) {
                return Ok(end);
            }
            let quoted = self.kind() == TokenKind::String;
            let label_pos = self.pos();
            let label = match self.kind() {
                TokenKind::String => self.string(),
                TokenKind::LabelName => {
                    self.advance();
                    self.text_of(label_pos).to_string()
                }
                _ => return Err(self.unexpected(CONTEXT, "identifier or \"}\"")),
            };
            match self.match_op() {
                Some(op) => matchers.push(self.matcher(label, op, label_pos)?),
                None if quoted => matchers.push(Matcher::equal(METRIC_NAME, label.as_str())),
                None => return Err(self.unexpected(CONTEXT, "label matching operator")),
            }
            match self.kind() {
                TokenKind::Comma => {
                    self.advance();
                }
                TokenKind::RightBrace => {}
                _ => return Err(self.unexpected(CONTEXT, "\",\" or \"}\"")),
            }
        }
    }

    fn match_op(&mut self) -> Option<MatchOp> {
        let op = match self.kind() {
            TokenKind::Equal => MatchOp::Equal,
            TokenKind::NotEqual => MatchOp::NotEqual,
            TokenKind::RegexMatch => MatchOp::Regex,
            TokenKind::RegexNotMatch => MatchOp::NotRegex,
            _ => return None,
        };
        self.advance();
        Some(op)
    }

    fn matcher(&mut self, label: String, op: MatchOp, start: PosRange) -> Parsed<Matcher> {
        if self.kind() != TokenKind::String {
            return Err(self.unexpected(CONTEXT, "string"));
        }
        let pos = start.to(self.pos());
        let value = self.string();
        let (matcher, counted) = match Matcher::new(label.as_str(), op, value) {
            Ok(matcher) => {
                let counted = self.regex_budget.add(&matcher);
                (matcher, counted)
            }
            Err(why) => {
                self.fault(pos, why.to_string());
                // One that is not empty in its place.
                (Matcher::equal(label, "?"), self.regex_budget.add_refused(&why))
            }
        };
        counted.map_err(|why| Fault::new(pos, format!("query has {why}")))?;
        Ok(matcher)
    }
}
