//! `GoRegex`: regular expressions with Go RE2's meaning.
use regex_automata::meta;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct GoRegex {
    pattern: String,
    engine: meta::Regex,
}

/// A pattern that Go would refuse.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("error parsing regexp: {message}")]
pub struct RegexError {
    /// What is wrong, in Go's words.
    pub message: String,
}

impl GoRegex {
    /// Compiles `pattern`, anchored at both ends.
    pub fn new(pattern: &str) -> Result<Self, RegexError> {
        let engine = meta::Regex::new(&format!("^(?s:{pattern})$"))
            .map_err(|e| RegexError { message: e.to_string() })?;
        Ok(GoRegex { pattern: pattern.to_string(), engine })
    }

    /// Whether the whole of `text` matches.
    pub fn is_match(&self, text: &str) -> bool {
        self.engine.is_match(text)
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.pattern
    }
}
