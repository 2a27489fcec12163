//! Binary operators and their modifiers: `bool`, `on`, `ignoring`, `group_left`, `group_right`, `fill`.

use super::{Parsed, Parser};
use crate::syntax::ast::{
    Binary, BinaryOp, Cardinality, Expr, ExprKind, Matching, UnaryOp, ValueType,
};
use crate::syntax::token::TokenKind;

impl Parser<'_> {
    /// The operator at hand, not passed.
    pub(super) fn binary_op(&self) -> Option<BinaryOp> {
        use TokenKind as T;
        Some(match self.kind() {
            T::Add => BinaryOp::Add,
            T::Sub => BinaryOp::Sub,
            T::Mul => BinaryOp::Mul,
            T::Div => BinaryOp::Div,
            T::Mod => BinaryOp::Mod,
            T::Pow => BinaryOp::Pow,
            T::EqualEqual => BinaryOp::Equal,
            T::NotEqual => BinaryOp::NotEqual,
            T::Greater => BinaryOp::Greater,
            T::Less => BinaryOp::Less,
            T::GreaterEqual => BinaryOp::GreaterEqual,
            T::LessEqual => BinaryOp::LessEqual,
            T::TrimUpper => BinaryOp::TrimUpper,
            T::TrimLower => BinaryOp::TrimLower,
            T::Identifier => match self.word().as_str() {
                "and" => BinaryOp::And,
                "or" => BinaryOp::Or,
                "unless" => BinaryOp::Unless,
                "atan2" => BinaryOp::Atan2,
                _ => return None,
            },
            _ => return None,
        })
    }

    /// The rest of `lhs op ...`; the operator is at hand.
    pub(super) fn binary(&mut self, op: BinaryOp, lhs: Expr) -> Parsed<Expr> {
        let op_pos = self.advance();
        let (return_bool, mut matching) = self.binary_modifiers()?;
        let filled = matching.fill_left.is_some() || matching.fill_right.is_some();
        // Right-associative: `^` takes another `^` on its right, the others only what binds tighter.
        let rhs = match op {
            BinaryOp::Pow => self.deeper(|p| p.expr(op.precedence()))?,
            _ => self.deeper(|p| p.expr(op.precedence() + 1))?,
        };
        let pos = lhs.pos.to(rhs.pos);
        if filled && !self.features.fill_modifiers {
            self.past_error()?;
            self.fault(pos, "binop fill modifiers are experimental and not enabled");
        }
        if op.is_set() && matching.cardinality == Cardinality::OneToOne {
            matching.cardinality = Cardinality::ManyToMany;
        }
        let scalar = |e: &Expr| e.value_type() == ValueType::Scalar;
        let both = scalar(&lhs) && scalar(&rhs);
        let value_type = if both { ValueType::Scalar } else { ValueType::Vector };
        let binary = Binary { op, op_pos, lhs, rhs, matching, return_bool, value_type };
        Ok(Expr::new(ExprKind::Binary(Box::new(binary)), pos))
    }

    fn binary_modifiers(&mut self) -> Parsed<(bool, Matching)> {
        let return_bool = self.accept_word("bool").is_some();
        let mut matching = Matching::default();
        let on = self.accept_word("on").is_some();
        if on || self.accept_word("ignoring").is_some() {
            matching.on = on;
            matching.labels = self.grouping_labels()?;
            let left = self.accept_word("group_left").is_some();
            if left || self.accept_word("group_right").is_some() {
                matching.cardinality =
                    if left { Cardinality::ManyToOne } else { Cardinality::OneToMany };
                if self.kind() == TokenKind::LeftParen || !self.begins_expr() {
                    matching.include = self.grouping_labels()?;
                }
            }
        }
        self.fill_modifiers(&mut matching)?;
        Ok((return_bool, matching))
    }

    /// `fill(v)`, or `fill_left(v)` and `fill_right(v)` in any order.
    fn fill_modifiers(&mut self, matching: &mut Matching) -> Parsed<()> {
        if let Some(value) = self.fill_value("fill")? {
            (matching.fill_left, matching.fill_right) = (Some(value), Some(value));
            return Ok(());
        }
        matching.fill_left = self.fill_value("fill_left")?;
        matching.fill_right = self.fill_value("fill_right")?;
        if matching.fill_left.is_none() {
            matching.fill_left = self.fill_value("fill_left")?;
        }
        Ok(())
    }

    /// `word(v)`, where it is at hand; without a parenthesis `word` is a metric's name.
    fn fill_value(&mut self, word: &str) -> Parsed<Option<f64>> {
        if self.word() != word || self.next.kind != TokenKind::LeftParen {
            return Ok(None);
        }
        self.advance();
        self.advance();
        let sign = match self.kind() {
            TokenKind::Sub => Some(UnaryOp::Minus),
            TokenKind::Add => Some(UnaryOp::Plus),
            _ => None,
        };
        if sign.is_some() {
            self.advance();
        }
        if !self.at_number() {
            return Err(self.unexpected("", ""));
        }
        let value = self.number().value;
        self.expect(TokenKind::RightParen, "", "")?;
        Ok(Some(if sign == Some(UnaryOp::Minus) { -value } else { value }))
    }
}
