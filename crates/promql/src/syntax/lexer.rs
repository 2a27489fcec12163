//! The lexer: text to tokens, one at a time as they are asked for, in one pass and linear time. It knows whether it
//! is inside braces (label matchers) or brackets (ranges), and nothing else of the grammar.

use pando_model::number::go_quote;

use super::position::PosRange;
use super::token::{Token, TokenKind};

/// Reads the tokens of a text.
pub(crate) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    parens: usize,
    brace_open: bool,
    bracket_open: bool,
    /// How many tokens were read: the work that was done.
    tokens: usize,
}

impl<'a> Lexer<'a> {
    /// Begins to read `text`.
    pub(crate) fn new(text: &'a str) -> Self {
        Lexer { text, at: 0, parens: 0, brace_open: false, bracket_open: false, tokens: 0 }
    }

    /// How many tokens were read so far.
    #[cfg(test)]
    pub(crate) fn tokens(&self) -> usize {
        self.tokens
    }

    /// Reads the next token. The last one is `Eof` or `Error`; none is behind it.
    pub(crate) fn token(&mut self) -> Token {
        self.tokens += 1;
        self.next_token()
    }
}

impl Lexer<'_> {
    fn peek(&self) -> Option<u8> {
        self.peek_at(0)
    }

    fn peek_at(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn here(&self) -> char {
        self.text[self.at..].chars().next().unwrap_or('\u{0}')
    }

    fn take(&mut self, kind: TokenKind, bytes: usize) -> Token {
        let start = self.at;
        self.at += bytes;
        Token { kind, pos: PosRange::new(start, self.at), error: None }
    }

    fn error(&self, start: usize, message: impl Into<String>) -> Token {
        let pos = PosRange::new(start, self.text.len());
        Token { kind: TokenKind::Error, pos, error: Some(message.into().into_boxed_str()) }
    }

    fn skip_blank(&mut self) {
        while let Some(b) = self.peek() {
            match b {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                b'#' => {
                    let rest = &self.text.as_bytes()[self.at..];
                    self.at += rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
                }
                _ => return,
            }
        }
    }

    fn next_token(&mut self) -> Token {
        self.skip_blank();
        let Some(b) = self.peek() else { return self.end() };
        if self.brace_open {
            return self.inside_braces(b);
        }
        match b {
            b',' => self.take(TokenKind::Comma, 1),
            b'(' => {
                self.parens += 1;
                self.take(TokenKind::LeftParen, 1)
            }
            b')' if self.parens == 0 => self.error(self.at, "unexpected right parenthesis ')'"),
            b')' => {
                self.parens -= 1;
                self.take(TokenKind::RightParen, 1)
            }
            b'{' => {
                self.brace_open = true;
                self.take(TokenKind::LeftBrace, 1)
            }
            b'}' => self.error(self.at, "unexpected right bracket '}'"),
            b'[' if self.bracket_open => self.error(self.at, "unexpected left bracket '['"),
            b'[' => {
                self.bracket_open = true;
                self.take(TokenKind::LeftBracket, 1)
            }
            b']' if !self.bracket_open => self.error(self.at, "unexpected right bracket ']'"),
            b']' => {
                self.bracket_open = false;
                self.take(TokenKind::RightBracket, 1)
            }
            b'"' | b'\'' | b'`' => self.string(b),
            b'0'..=b'9' => self.number(),
            b'.' if self.peek_at(1).is_some_and(|b| b.is_ascii_digit()) => self.number(),
            b':' if self.bracket_open => self.take(TokenKind::Colon, 1),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b':' => self.identifier(),
            _ => self.operator(b),
        }
    }

    fn end(&mut self) -> Token {
        if self.parens > 0 {
            return self.error(self.at, "unclosed left parenthesis");
        }
        if self.bracket_open {
            return self.error(self.at, "unclosed left bracket");
        }
        if self.brace_open {
            return self.error(self.at, "unexpected end of input inside braces");
        }
        self.take(TokenKind::Eof, 0)
    }

    fn operator(&mut self, b: u8) -> Token {
        use TokenKind as T;
        let next = self.peek_at(1);
        let (kind, bytes) = match (b, next) {
            (b'+', _) => (T::Add, 1),
            (b'-', _) => (T::Sub, 1),
            (b'*', _) => (T::Mul, 1),
            (b'/', _) => (T::Div, 1),
            (b'%', _) => (T::Mod, 1),
            (b'^', _) => (T::Pow, 1),
            (b'@', _) => (T::At, 1),
            (b'=', Some(b'=')) => (T::EqualEqual, 2),
            (b'=', Some(b'~')) => {
                return self.error(self.at, "unexpected character after '=': '~'");
            }
            (b'=', _) => (T::Equal, 1),
            (b'!', Some(b'=')) => (T::NotEqual, 2),
            (b'!', _) => {
                let after = self.text[self.at + 1..].chars().next().map_or("EOF".into(), quoted);
                return self.error(self.at, format!("unexpected character after '!': {after}"));
            }
            (b'<', Some(b'=')) => (T::LessEqual, 2),
            (b'<', Some(b'/')) => (T::TrimUpper, 2),
            (b'<', _) => (T::Less, 1),
            (b'>', Some(b'=')) => (T::GreaterEqual, 2),
            (b'>', Some(b'/')) => (T::TrimLower, 2),
            (b'>', _) => (T::Greater, 1),
            _ => {
                let c = quoted(self.here());
                return self.error(self.at, format!("unexpected character: {c}"));
            }
        };
        self.take(kind, bytes)
    }

    fn inside_braces(&mut self, b: u8) -> Token {
        use TokenKind as T;
        let next = self.peek_at(1);
        match (b, next) {
            (b',', _) => self.take(T::Comma, 1),
            (b'"' | b'\'' | b'`', _) => self.string(b),
            (b'{', _) => self.error(self.at, "unexpected left brace '{'"),
            (b'}', _) => {
                self.brace_open = false;
                self.take(T::RightBrace, 1)
            }
            (b'=', Some(b'~')) => self.take(T::RegexMatch, 2),
            (b'=', _) => self.take(T::Equal, 1),
            (b'!', Some(b'~')) => self.take(T::RegexNotMatch, 2),
            (b'!', Some(b'=')) => self.take(T::NotEqual, 2),
            (b'!', _) => {
                let after = self.text[self.at + 1..].chars().next().map_or("EOF".into(), quoted);
                let message = format!("unexpected character after '!' inside braces: {after}");
                self.error(self.at, message)
            }
            (b'a'..=b'z' | b'A'..=b'Z' | b'_', _) => {
                let rest = &self.text.as_bytes()[self.at..];
                let bytes =
                    rest.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
                self.take(T::Identifier, bytes)
            }
            _ => {
                let c = quoted(self.here());
                self.error(self.at, format!("unexpected character inside braces: {c}"))
            }
        }
    }

    /// A name, or a keyword. `:` belongs to it outside of brackets only.
    fn identifier(&mut self) -> Token {
        let colon = !self.bracket_open;
        let rest = &self.text.as_bytes()[self.at..];
        let bytes = rest
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric() || **b == b'_' || (colon && **b == b':'))
            .count();
        self.take(TokenKind::Identifier, bytes)
    }

    fn string(&mut self, quote: u8) -> Token {
        let bytes = self.text.as_bytes();
        let mut i = self.at + 1;
        while let Some(&b) = bytes.get(i) {
            match b {
                b'\\' if quote != b'`' => i += 1,
                b'\n' if quote != b'`' => break,
                _ if b == quote => return self.take(TokenKind::String, i + 1 - self.at),
                _ => {}
            }
            i += 1;
        }
        let message = match quote {
            b'`' => "unterminated raw string",
            _ => "unterminated quoted string",
        };
        self.error(self.at, message)
    }

    /// A number or a duration: both begin with digits, a unit tells them apart.
    fn number(&mut self) -> Token {
        let bytes = self.text.as_bytes();
        let start = self.at;
        if let Some(end) = duration_end(bytes, start) {
            return self.take(TokenKind::Duration, end - start);
        }
        let end = number_end(bytes, start);
        let glued = bytes.get(end).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
        if end == start || glued {
            let to = bytes.len().min(end + 1);
            let part = self.text.get(start..to).unwrap_or(&self.text[start..]);
            let message = format!("bad number or duration syntax: {}", go_quote(part));
            return self.error(start, message);
        }
        self.take(TokenKind::Number, end - start)
    }
}

/// One past the duration that begins at `start`, where there is one: digits and units, at least once.
fn duration_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut i = start;
    loop {
        let digits = bytes[i..].iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            break;
        }
        let unit = &bytes[i + digits..];
        let letters = match unit {
            [b'm', b's', ..] => 2,
            [b's' | b'm' | b'h' | b'd' | b'w' | b'y', ..] => 1,
            _ => return None,
        };
        i += digits + letters;
    }
    let glued = bytes.get(i).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    (i > start && !glued).then_some(i)
}

/// One past the number that begins at `start`: `1_000`, `.5`, `2.`, `1e-3`, `0x1f`.
fn number_end(bytes: &[u8], start: usize) -> usize {
    let run = |from: usize, hex: bool| {
        let mut i = from;
        while let Some(&b) = bytes.get(i) {
            let digit = if hex { b.is_ascii_hexdigit() } else { b.is_ascii_digit() };
            let joint = b == b'_' && i > from && bytes[i - 1] != b'_';
            if !digit && !joint {
                break;
            }
            i += 1;
        }
        i
    };
    if bytes[start] == b'0' && matches!(bytes.get(start + 1), Some(b'x' | b'X')) {
        return run(start + 2, true);
    }
    let mut i = run(start, false);
    if bytes.get(i) == Some(&b'.') {
        i = run(i + 1, false);
    }
    if matches!(bytes.get(i), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(i + 1), Some(b'+' | b'-')));
        let end = run(i + 1 + sign, false);
        if end > i + 1 + sign {
            i = end;
        }
    }
    i
}

/// A character in single quotes, as Go's `%q` writes a rune.
fn quoted(c: char) -> String {
    match c {
        '\'' => "'\\''".to_string(),
        '\n' => "'\\n'".to_string(),
        '\t' => "'\\t'".to_string(),
        c => format!("'{c}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<TokenKind> {
        let mut lexer = Lexer::new(text);
        let mut kinds = vec![lexer.token().kind];
        while kinds.last().is_some_and(|kind| !kind.is_last()) {
            kinds.push(lexer.token().kind);
        }
        kinds
    }

    #[test]
    fn tells_numbers_from_durations() {
        use TokenKind as T;
        assert_eq!(kinds("5m 1_0.5e-3 0x1F .5 2."), {
            vec![T::Duration, T::Number, T::Number, T::Number, T::Number, T::Eof]
        });
        for bad in ["0deadbeef", "1__0", "5mm", "1x", "5m_"] {
            assert_eq!(kinds(bad).last(), Some(&T::Error), "{bad}");
        }
    }

    #[test]
    fn a_colon_is_a_name_outside_of_brackets_only() {
        use TokenKind as T;
        assert_eq!(kinds("a:b[5m:1m]"), {
            vec![
                T::Identifier,
                T::LeftBracket,
                T::Duration,
                T::Colon,
                T::Duration,
                T::RightBracket,
                T::Eof,
            ]
        });
    }
}
