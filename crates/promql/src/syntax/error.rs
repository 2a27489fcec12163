//! `ParseError`: why a text is no PromQL, in Prometheus' words and with the place; of several problems, all of them.

use super::position::{LineColumn, PosRange};

/// The problems of one text that are kept; more are counted.
pub const PROBLEMS_MAX: usize = 10;

/// A text that is no valid query. Displays as Prometheus' API does: `1:5: parse error: ...`. Of several problems that is
/// the one which Prometheus names: what the grammar refuses is before wrong types.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: parse error: {message}")]
pub struct ParseError {
    /// `line:column` of `pos`.
    pub place: LineColumn,
    /// What is wrong.
    pub message: String,
    /// Where.
    pub pos: PosRange,
    /// Apart, since most results that could hold an error hold none.
    rest: Option<Box<Rest>>,
}

/// What is wrong beside the problem that an error names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rest {
    further: Vec<ParseError>,
    omitted: usize,
}

impl ParseError {
    /// The error `message` at `pos` of `text`.
    pub fn new(text: &str, pos: PosRange, message: impl Into<String>) -> Self {
        let place = LineColumn::of(text, pos.start);
        ParseError { place, message: message.into(), pos, rest: None }
    }

    /// What else is wrong, in the order of the text; at most [`PROBLEMS_MAX`] with this one.
    pub fn further(&self) -> &[ParseError] {
        self.rest.as_ref().map_or(&[], |rest| &rest.further)
    }

    /// How many problems there are beside this one and [`Self::further`].
    pub fn omitted(&self) -> usize {
        self.rest.as_ref().map_or(0, |rest| rest.omitted)
    }

    /// All problems that are kept, in the order of the text, a line each; a last line says how many there are beside.
    pub fn report(&self) -> String {
        let mut problems: Vec<&ParseError> = std::iter::once(self).chain(self.further()).collect();
        problems.sort_by_key(|problem| problem.pos);
        let mut lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        if self.omitted() > 0 {
            lines.push(format!("and {} more", self.omitted()));
        }
        lines.join("\n")
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

/// What has been found of a text, the first apart: it is the one that Prometheus names.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    first: Option<Fault>,
    /// In the order of the text.
    others: Vec<Fault>,
    omitted: usize,
}

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        match self.first {
            None => self.first = Some(fault),
            Some(_) => self.add_other(fault),
        }
    }

    fn add_other(&mut self, fault: Fault) {
        let at = self.others.partition_point(|other| other.pos <= fault.pos);
        self.others.insert(at, fault);
        if self.others.len() >= PROBLEMS_MAX {
            self.others.pop();
            self.omitted += 1;
        }
    }

    /// What was read of `text`, where nothing is wrong with it.
    pub(super) fn verdict<T>(
        mut self,
        read: Result<T, Fault>,
        text: &str,
    ) -> Result<T, ParseError> {
        let (first, last) = match (self.first.take(), read) {
            (None, Ok(value)) => return Ok(value),
            (None, Err(only)) => (only, None),
            (Some(first), read) => (first, read.err()),
        };
        last.into_iter().for_each(|fault| self.add_other(fault));
        let omitted = self.omitted;
        let further: Vec<_> = self.others.into_iter().map(|fault| fault.in_text(text)).collect();
        let rest = (!further.is_empty()).then(|| Box::new(Rest { further, omitted }));
        Err(ParseError { rest, ..first.in_text(text) })
    }
}
