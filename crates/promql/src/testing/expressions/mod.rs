//! A generator of expressions by type. It reads the table of functions, so that what is added there is generated; it
//! knows the metrics of [`crate::testing::data`], so that most of what it makes has an answer.

mod calls;
#[cfg(test)]
mod coverage;
#[cfg(test)]
mod forms;
mod operators;
mod selectors;

#[cfg(test)]
pub(crate) use forms::operations;

use crate::Features;
use crate::syntax::{SyntaxFeatures, parse};

use crate::testing::Chance;

/// All that is behind a switch.
pub const FEATURES: Features = Features {
    experimental_functions: true,
    extended_range_selectors: true,
    fill_modifiers: true,
    delayed_name_removal: true,
    start_timestamps: true,
};

/// What of it the syntax knows.
pub const SYNTAX: SyntaxFeatures = SyntaxFeatures {
    experimental_functions: true,
    extended_range_selectors: true,
    fill_modifiers: true,
};

/// The greatest depth of expressions: enough for every construct within every other.
const DEPTH: usize = 5;

/// Makes expressions.
pub struct Expressions<'a> {
    chance: &'a mut Chance,
    /// Whether all metrics are native histograms, or hold some.
    native: bool,
}

impl<'a> Expressions<'a> {
    /// Makes them of `chance`.
    pub fn new(chance: &'a mut Chance) -> Self {
        Expressions { chance, native: false }
    }

    /// Makes those of native histograms alone.
    #[cfg(test)]
    pub(crate) fn of_histograms(chance: &'a mut Chance) -> Self {
        Expressions { chance, native: true }
    }

    /// An expression that a query of the kind can have.
    pub fn query(&mut self, instant: bool) -> String {
        let depth = 1 + self.chance.below(DEPTH);
        match self.chance.below(20) {
            0 if instant => self.string(),
            1 | 2 if instant => self.matrix(depth, ""),
            3 | 4 => self.scalar(depth),
            _ => self.vector(depth),
        }
    }

    pub(crate) fn vector(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.instant_selector();
        }
        let depth = depth - 1;
        match self.chance.below(20) {
            0 => self.instant_selector(),
            1..=7 => self.vector_call(depth),
            8..=11 => self.aggregation(depth),
            12..=17 => self.vector_operator(depth),
            18 => self.signed(|made| made.vector(depth)),
            _ => format!("({})", self.vector(depth)),
        }
    }

    /// An aggregation that takes no parameter.
    #[cfg(test)]
    pub(crate) fn plain_aggregation(&mut self) -> &'static str {
        self.chance.pick(&["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"])
    }

    pub(crate) fn scalar(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.number();
        }
        let depth = depth - 1;
        match self.chance.below(12) {
            0..=2 => self.number(),
            3..=7 => self.scalar_call(depth),
            8 | 9 => self.scalar_operator(depth),
            10 => self.signed(|made| made.scalar(depth)),
            _ => format!("({})", self.scalar(depth)),
        }
    }

    pub(crate) fn string(&mut self) -> String {
        let quoted =
            ["\"x\"", "'a \"b\" c'", "`raw\\n`", "\"\\u00e9\\n\\x41\"", "\"\"", "\"\\xff\""];
        self.chance.pick(&quoted).to_string()
    }

    fn number(&mut self) -> String {
        let plain = ["0", "1", "2", "3", "0.5", "10", "1e3", ".25", "0x1F", "1_000", "017"];
        let rare = ["Inf", "NaN", "5m", "1h30m", "1s1ms", "1e-3", "-Inf", "0.1", "1e100"];
        match self.chance.below(6) {
            0 => self.chance.pick(&rare).to_string(),
            1 => format!("-{}", self.chance.pick(&plain)),
            _ => self.chance.pick(&plain).to_string(),
        }
    }

    fn signed(&mut self, inner: impl FnOnce(&mut Self) -> String) -> String {
        let sign = self.chance.pick(&["-", "+"]);
        let inner = inner(self);
        let loose = format!("{sign}{inner}");
        if parse(&loose, &SYNTAX).is_ok() { loose } else { format!("{sign}({inner})") }
    }
}
