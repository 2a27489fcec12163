//! `RegexBudget`: what the patterns of one query or request may compile to.

use pando_model::Matcher;
use pando_model::regex::{COMPILED_BYTES_MAX, RegexError};

/// What the patterns of one query or request may compile to, bytes: a few that are as large as one may be, or
/// thousands of ordinary ones.
const REGEX_BYTES_MAX: usize = 64 << 20;

/// What the patterns of one query or request have compiled to so far, and what they may.
#[derive(Debug)]
pub struct RegexBudget {
    bytes: usize,
    bytes_max: usize,
}

/// The patterns are larger than they may be together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too large regular expressions: regex_bytes_max={bytes_max}")]
pub struct RegexBudgetError {
    /// The limit, bytes.
    pub bytes_max: usize,
}

impl RegexBudget {
    /// For patterns of `bytes_max` bytes together.
    pub fn new(bytes_max: usize) -> Self {
        RegexBudget { bytes: 0, bytes_max }
    }

    /// Counts the pattern of `matcher`, if it has one.
    ///
    /// # Errors
    /// It is too large together with those before it.
    pub fn add(&mut self, matcher: &Matcher) -> Result<(), RegexBudgetError> {
        self.count(matcher.regex_bytes())
    }

    /// Counts a pattern that cannot be compiled: one that is too large has taken as much as one may before that is
    /// known.
    ///
    /// # Errors
    /// As [`RegexBudget::add`].
    pub fn add_refused(&mut self, refused: &RegexError) -> Result<(), RegexBudgetError> {
        self.count(if refused.too_large { COMPILED_BYTES_MAX } else { 0 })
    }

    fn count(&mut self, bytes: usize) -> Result<(), RegexBudgetError> {
        self.bytes = self.bytes.saturating_add(bytes);
        match self.bytes > self.bytes_max {
            true => Err(RegexBudgetError { bytes_max: self.bytes_max }),
            false => Ok(()),
        }
    }
}

impl Default for RegexBudget {
    /// 64 MiB.
    fn default() -> Self {
        RegexBudget::new(REGEX_BYTES_MAX)
    }
}
