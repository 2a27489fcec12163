//! The parts of an expression that are queries of their own: the way to the smallest one that still fails, which is
//! what a person wants to look at.

use crate::testing::SYNTAX;
use crate::{ValueType, parse};

/// The outermost vectors and scalars within `text`; none where it is no expression.
pub fn parts(text: &str) -> Vec<String> {
    let Ok(tree) = parse(text, &SYNTAX) else { return Vec::new() };
    let mut out = Vec::new();
    let mut children = tree.children();
    while let Some(child) = children.pop() {
        match child.value_type() {
            ValueType::Vector | ValueType::Scalar => out.push(child.to_string()),
            _ => children.extend(child.children()),
        }
    }
    out
}
