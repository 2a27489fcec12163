//! The smallest part of an expression on which plans disagree: what a person wants to look at.

use crate::{ValueType, parse};

use super::plans::Case;
use crate::properties::expressions::SYNTAX;

/// `case`, or the one with a part of its expression, of those on which plans still disagree.
pub(super) fn smallest(mut case: Case) -> Case {
    while let Some(smaller) = parts(&case).into_iter().find(|part| part.disagreement().is_some()) {
        case = smaller;
    }
    case
}

fn parts(case: &Case) -> Vec<Case> {
    let Ok(tree) = parse(&case.text, &SYNTAX) else { return Vec::new() };
    let mut out = Vec::new();
    let mut children = tree.children();
    while let Some(child) = children.pop() {
        match child.value_type() {
            ValueType::Vector | ValueType::Scalar => {
                out.push(Case { text: child.to_string(), ..case.clone() });
            }
            _ => children.extend(child.children()),
        }
    }
    out
}
