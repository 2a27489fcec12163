//! `ParseError`: why a text is no PromQL, in Prometheus' words and with the place.

use super::position::{LineColumn, PosRange};

/// A text that is no valid query. Displays as Prometheus' API does: `1:5: parse error: ...`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: parse error: {message}")]
pub struct ParseError {
    /// `line:column` of `pos`.
    pub place: String,
    /// What is wrong.
    pub message: String,
    /// Where.
    pub pos: PosRange,
}

impl ParseError {
    /// The error `message` at `pos` of `text`.
    pub fn new(text: &str, pos: PosRange, message: impl Into<String>) -> Self {
        let place = LineColumn::of(text, pos.start).to_string();
        ParseError { place, message: message.into(), pos }
    }
}

/// An error that does not know the text yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) pos: PosRange,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(pos: PosRange, message: impl Into<String>) -> Self {
        Fault { pos, message: message.into() }
    }

    pub(crate) fn in_text(self, text: &str) -> ParseError {
        ParseError::new(text, self.pos, self.message)
    }
}
