//! PromQL's syntax: text to tree and back. Knows the grammar of Prometheus 3.14, positions and types; knows
//! neither data nor time.

pub mod ast;
mod check;
pub(crate) mod durations;
mod error;
pub mod functions;
pub(crate) mod lexer;
mod parser;
pub mod position;
mod printed;
mod printer;
#[cfg(test)]
mod problems_tests;
mod regex_budget;
mod strings;
#[cfg(test)]
mod tests;
pub(crate) mod token;

pub use ast::{Expr, ExprKind, ValueType};
pub use error::{PROBLEMS_MAX, ParseError};
pub(crate) use parser::parse_series;
pub use position::{LineColumn, PosRange};
pub use printed::Printed;
pub(crate) use printer::LabelList;
pub use regex_budget::{RegexBudget, RegexBudgetError};
pub(crate) use strings::{quote, unquote};

/// The longest query, bytes. Longer than any that people or dashboards write; bounds memory and time.
pub const QUERY_BYTES_MAX: usize = 64 * 1024;
/// How deep a query may nest: parentheses, calls, signs, right-hand sides. Bounds the stack.
pub const DEPTH_MAX: usize = 100;
/// How many binary operators a query may hold: a chain of them is as deep a tree.
pub const OPERATORS_MAX: usize = 500;

/// Syntax that is behind a switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyntaxFeatures {
    /// Experimental functions and aggregations.
    pub experimental_functions: bool,
    /// `anchored` and `smoothed`.
    pub extended_range_selectors: bool,
    /// `fill`, `fill_left`, `fill_right`.
    pub fill_modifiers: bool,
}

/// Reads `text` as a PromQL expression. Linear in the text's length.
///
/// # Errors
/// All problems that can be told apart, each with its place. A text that the grammar cannot go on with is read no further,
/// and its types are not checked.
pub fn parse(text: &str, features: &SyntaxFeatures) -> Result<Expr, ParseError> {
    parser::parse(text, features)
}

/// Reads `text` as a series selector and gives its matchers: what `match[]` takes.
///
/// # Errors
/// Where `text` is anything but a selector without modifiers, or would match everything.
pub fn parse_matchers(text: &str) -> Result<Vec<pando_model::Matcher>, ParseError> {
    match parser::parse_selector(text)?.kind {
        ExprKind::Vector(selector) => Ok(selector.matchers),
        _ => Ok(Vec::new()),
    }
}
