//! `Printed`: the text of an expression on one line, and where in it each of its parts stands. Who lays a text out
//! over several lines knows by that how long each part is, without printing it again.

use std::fmt;
use std::ops::Range;

use super::ast::Expr;
use super::printer::{Output, print};

/// A printed expression. Its parts are listed in the order they begin, each before those that it is made of.
#[derive(Debug, Default)]
pub struct Printed<'a> {
    text: String,
    parts: Vec<Part<'a>>,
    /// The parts that have begun and not ended.
    open: Vec<usize>,
}

#[derive(Debug)]
struct Part<'a> {
    expr: &'a Expr,
    bytes: Range<usize>,
    /// The number of the first part that is not within this one.
    next: usize,
}

impl<'a> Printed<'a> {
    /// Prints `expr`, once.
    pub fn of(expr: &'a Expr) -> Self {
        let mut printed = Printed::default();
        // A `String` takes everything.
        let _ = print(&mut printed, expr);
        printed
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The expression that the part `at` is. The whole is part 0.
    pub fn expr(&self, at: usize) -> &'a Expr {
        self.parts[at].expr
    }

    /// Where the part `at` stands in the text.
    pub fn bytes(&self, at: usize) -> Range<usize> {
        self.parts[at].bytes.clone()
    }

    /// The direct parts of the part `at`, in the order they stand.
    pub fn children(&self, at: usize) -> impl Iterator<Item = usize> {
        let end = self.parts[at].next;
        let within = move |at: &usize| *at < end;
        let first = Some(at + 1).filter(within);
        std::iter::successors(first, move |&at| Some(self.parts[at].next).filter(within))
    }

    /// How many parts there are.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }
}

impl fmt::Write for Printed<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text.push_str(text);
        Ok(())
    }
}

impl<'a> Output<'a> for Printed<'a> {
    fn begin(&mut self, expr: &'a Expr) {
        self.open.push(self.parts.len());
        let at = self.text.len();
        self.parts.push(Part { expr, bytes: at..at, next: 0 });
    }

    fn end(&mut self) {
        let next = self.parts.len();
        if let Some(part) = self.open.pop().and_then(|at| self.parts.get_mut(at)) {
            part.bytes.end = self.text.len();
            part.next = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::parse;

    /// The texts of the parts within part `at`, and of those within them.
    fn tree(printed: &Printed<'_>, at: usize) -> String {
        let within: Vec<String> = printed.children(at).map(|at| tree(printed, at)).collect();
        format!("<{}|{}>", &printed.text()[printed.bytes(at)], within.join(""))
    }

    #[test]
    fn each_part_has_its_place() {
        let cases = [
            ("1", "<1|>"),
            ("-(a)", "<-(a)|<(a)|<a|>>>"),
            ("a+b*c-d", "<a + b * c - d|<a + b * c|<a|><b * c|<b|><c|>>><d|>>"),
            (
                "topk by(x) (2,rate(m[5m:1m]))",
                "<topk by (x) (2, rate(m[5m:1m]))|<2|><rate(m[5m:1m])|<m[5m:1m]|<m|>>>>",
            ),
            ("time() / Inf ^ 2", "<time() / Inf ^ 2|<time()|><Inf ^ 2|<Inf|><2|>>>"),
        ];
        for (text, want) in cases {
            let expr = parse(text, &Default::default()).expect(text);
            let printed = Printed::of(&expr);
            assert_eq!(printed.text(), expr.to_string());
            assert_eq!(tree(&printed, 0), want);
        }
    }
}
