//! Byte positions in a query's text, and the `line:column` form that messages end with.

use std::fmt;

/// A half-open range of bytes `[start, end)` of the query's text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct PosRange {
    /// The first byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl PosRange {
    /// The range from byte `start` to before byte `end`.
    pub fn new(start: usize, end: usize) -> Self {
        PosRange { start: clamp(start), end: clamp(end) }
    }

    /// The smallest range that holds both.
    pub fn to(self, other: PosRange) -> PosRange {
        PosRange { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// Queries are far shorter than 4 GiB ([`super::QUERY_BYTES_MAX`]), so nothing is ever cut.
fn clamp(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// A place in a text: both counted from 1, columns in bytes. An empty text has none, line 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LineColumn {
    /// The line.
    pub line: usize,
    /// The column, in bytes.
    pub column: usize,
}

impl LineColumn {
    /// The place of byte `at` of `text`.
    pub fn of(text: &str, at: u32) -> Self {
        if text.is_empty() {
            return LineColumn { line: 0, column: 0 };
        }
        let before = &text.as_bytes()[..(at as usize).min(text.len())];
        let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
        let line_start = before.iter().rposition(|&b| b == b'\n').map_or(0, |p| p + 1);
        LineColumn { line, column: before.len() - line_start + 1 }
    }
}

impl fmt::Display for LineColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str("unknown position"),
            line => write!(f, "{line}:{}", self.column),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_lines_and_bytes_from_one() {
        assert_eq!(LineColumn::of("ab\ncd", 0).to_string(), "1:1");
        assert_eq!(LineColumn::of("ab\ncd", 3).to_string(), "2:1");
        assert_eq!(LineColumn::of("ab\ncd", 99).to_string(), "2:3");
    }
}
