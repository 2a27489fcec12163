//! What is wrong with a configuration file, and what of it is ignored.

use std::fmt;

use pando_model::ErrorKind;

/// The most faults that one file reports; the last of them counts the rest.
pub(crate) const FAULTS_MAX: usize = 100;

/// One fault, with its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {}{}{message}", .path, if path.is_empty() { "" } else { ": " })]
pub struct ConfigError {
    /// The file's name, as the caller gave it.
    pub file: String,
    /// The line, counted from 1; 0: unknown.
    pub line: u64,
    /// The column in characters, counted from 1; 0: unknown.
    pub column: u64,
    /// The key's path, such as `scrape_configs[0].scrape_interval`; empty for the file as a whole.
    pub path: String,
    /// What is wrong, in Prometheus' words where it has some.
    pub message: String,
}

/// All faults of one file, in the order of their places. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigErrors {
    /// Always [`ErrorKind::Invalid`].
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// One fault a line.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if i > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// A key that is valid but that Pando does not act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoredKey {
    /// The key's path, such as `scrape_configs[2].kubernetes_sd_configs`.
    pub path: String,
    /// The key's line, counted from 1.
    pub line: u64,
    /// Why.
    pub reason: String,
}

impl fmt::Display for IgnoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {} is ignored: {}", self.line, self.path, self.reason)
    }
}
