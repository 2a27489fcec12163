//! The lexer: text to tokens, one at a time as they are asked for, in one pass and linear time. It knows whether it
//! is inside braces (label matchers) or brackets (ranges), and little else of the grammar. What it refuses, where and in
//! which words, is what Prometheus' lexer does (promql/parser/lex.go).

use pando_model::number::go_quote;

use super::position::PosRange;
use super::strings::escape;
use super::token::{Token, TokenKind};

/// Reads the tokens of a text.
pub(crate) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    parens: usize,
    brace_open: bool,
    bracket_open: bool,
    /// Whether a duration is expected: from a left bracket to the first number behind it.
    in_duration: bool,
    /// Whether any range so far had a number.
    got_duration: bool,
    /// Whether the bracket that is open had a colon.
    got_colon: bool,
    /// Whether two left braces end the text: a histogram begins there, in the series lines of test scripts.
    in_series: bool,
    /// How many tokens were read: the work that was done.
    tokens: usize,
}

impl<'a> Lexer<'a> {
    /// Begins to read `text`.
    pub(crate) fn new(text: &'a str) -> Self {
        Lexer {
            text,
            at: 0,
            parens: 0,
            brace_open: false,
            bracket_open: false,
            in_duration: false,
            got_duration: false,
            got_colon: false,
            in_series: false,
            tokens: 0,
        }
    }

    /// Begins to read a text that begins with a series.
    pub(crate) fn of_series(text: &'a str) -> Self {
        Lexer { in_series: true, ..Lexer::new(text) }
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

    /// The character so many bytes ahead, quoted.
    fn quoted_at(&self, ahead: usize) -> String {
        quoted(self.text[self.at + ahead..].chars().next())
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
                b'#' if !self.in_duration => {
                    let rest = &self.text.as_bytes()[self.at..];
                    let end = rest.iter().position(|b| matches!(b, b'\n' | b'\r'));
                    self.at += end.unwrap_or(rest.len());
                }
                _ => return,
            }
        }
    }

    fn next_token(&mut self) -> Token {
        self.skip_blank();
        if self.brace_open {
            return self.inside_braces();
        }
        if self.in_duration {
            return self.in_duration();
        }
        let Some(b) = self.peek() else { return self.end() };
        match b {
            b',' => self.take(TokenKind::Comma, 1),
            b'(' => self.left_paren(),
            b')' => self.right_paren(),
            b'{' if self.in_series && self.peek_at(1) == Some(b'{') => self.take(TokenKind::Eof, 0),
            b'{' => {
                self.brace_open = true;
                self.take(TokenKind::LeftBrace, 1)
            }
            b'[' if self.bracket_open => self.error(self.at, "unexpected left bracket '['"),
            b'[' => {
                (self.bracket_open, self.in_duration, self.got_colon) = (true, true, false);
                self.take(TokenKind::LeftBracket, 1)
            }
            b']' if !self.bracket_open => self.error(self.at, "unexpected right bracket ']'"),
            b']' => {
                self.bracket_open = false;
                self.take(TokenKind::RightBracket, 1)
            }
            b'"' | b'\'' => self.string(b),
            b'`' => self.raw_string(),
            b'0'..=b'9' => self.number(),
            b'.' if self.peek_at(1).is_some_and(|b| b.is_ascii_digit()) => self.number(),
            b':' if self.bracket_open => {
                if std::mem::replace(&mut self.got_colon, true) {
                    return self.error(self.at, "unexpected colon ':'");
                }
                self.take(TokenKind::Colon, 1)
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' if self.bracket_open => {
                self.duration_word().unwrap_or_else(|| {
                    let c = self.quoted_at(0);
                    self.error(self.at, format!("unexpected character: {c}, expected ':'"))
                })
            }
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
        self.take(TokenKind::Eof, 0)
    }

    fn left_paren(&mut self) -> Token {
        self.parens += 1;
        self.take(TokenKind::LeftParen, 1)
    }

    fn right_paren(&mut self) -> Token {
        match self.parens.checked_sub(1) {
            Some(parens) => {
                self.parens = parens;
                self.take(TokenKind::RightParen, 1)
            }
            // Prometheus passes it first.
            None => self.error(self.at + 1, "unexpected right parenthesis ')'"),
        }
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
                let after = self.quoted_at(1);
                return self.error(self.at, format!("unexpected character after '!': {after}"));
            }
            (b'<', Some(b'=')) => (T::LessEqual, 2),
            (b'<', Some(b'/')) => (T::TrimUpper, 2),
            (b'<', _) => (T::Less, 1),
            (b'>', Some(b'=')) => (T::GreaterEqual, 2),
            (b'>', Some(b'/')) => (T::TrimLower, 2),
            (b'>', _) => (T::Greater, 1),
            _ => {
                let c = self.quoted_at(0);
                return self.error(self.at, format!("unexpected character: {c}"));
            }
        };
        self.take(kind, bytes)
    }

    fn inside_braces(&mut self) -> Token {
        use TokenKind as T;
        let Some(b) = self.peek() else {
            return self.error(self.at, "unexpected end of input inside braces");
        };
        match (b, self.peek_at(1)) {
            (b',', _) => self.take(T::Comma, 1),
            (b'"' | b'\'', _) => self.string(b),
            (b'`', _) => self.raw_string(),
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
                let after = self.quoted_at(1);
                let message = format!("unexpected character after '!' inside braces: {after}");
                self.error(self.at, message)
            }
            (b'a'..=b'z' | b'A'..=b'Z' | b'_', _) => {
                let bytes = self.run(|b| b.is_ascii_alphanumeric() || b == b'_');
                self.take(T::LabelName, bytes)
            }
            _ => {
                let c = self.quoted_at(0);
                self.error(self.at, format!("unexpected character inside braces: {c}"))
            }
        }
    }

    /// What stands behind a left bracket, up to the first number.
    fn in_duration(&mut self) -> Token {
        use TokenKind as T;
        let Some(b) = self.peek() else {
            return self.error(self.at, "unexpected end of input in duration expression");
        };
        match b {
            b']' => {
                (self.bracket_open, self.in_duration, self.got_colon) = (false, false, false);
                self.take(T::RightBracket, 1)
            }
            b':' if !self.got_duration => {
                self.error(self.at + 1, "unexpected colon before duration in duration expression")
            }
            b':' if std::mem::replace(&mut self.got_colon, true) => {
                self.error(self.at + 1, "unexpected repeated colon in duration expression")
            }
            b':' => self.take(T::Colon, 1),
            b'(' => self.left_paren(),
            b')' => self.right_paren(),
            b'+' => self.take(T::Add, 1),
            b'-' => self.take(T::Sub, 1),
            b'*' => self.take(T::Mul, 1),
            b'/' => self.take(T::Div, 1),
            b'%' => self.take(T::Mod, 1),
            b'^' => self.take(T::Pow, 1),
            b',' => self.take(T::Comma, 1),
            _ if b.is_ascii_digit()
                || (b == b'.' && self.peek_at(1).is_some_and(|b| b.is_ascii_digit())) =>
            {
                (self.got_duration, self.in_duration) = (true, false);
                self.number()
            }
            _ => self.duration_word().unwrap_or_else(|| {
                let c = self.quoted_at(0);
                self.error(self.at, format!("unexpected character in duration expression: {c}"))
            }),
        }
    }

    /// One of the words that stand in a duration.
    fn duration_word(&mut self) -> Option<Token> {
        let bytes = self.run(|b| b.is_ascii_alphabetic() || b == b'_');
        let word = &self.text[self.at..self.at + bytes];
        let known = ["step", "range", "max_of", "min_of"];
        let known = known.iter().any(|known| word.eq_ignore_ascii_case(known));
        known.then(|| self.take(TokenKind::Identifier, bytes))
    }

    /// How many bytes from here on are like this.
    fn run(&self, like: impl Fn(u8) -> bool) -> usize {
        self.text.as_bytes()[self.at..].iter().take_while(|b| like(**b)).count()
    }

    /// A name, or a keyword.
    fn identifier(&mut self) -> Token {
        let bytes = self.run(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':');
        self.take(TokenKind::Identifier, bytes)
    }

    fn string(&mut self, quote: u8) -> Token {
        let rest = &self.text[self.at..];
        let mut at = 1;
        while let Some(c) = rest[at..].chars().next() {
            at += c.len_utf8();
            match c {
                '\\' => match escape(&rest[at..], quote) {
                    Ok(escape) => at += escape.bytes,
                    Err(why) => return self.error(self.at, why),
                },
                char::REPLACEMENT_CHARACTER => return self.error(self.at, "invalid UTF-8 rune"),
                '\n' => break,
                c if c == char::from(quote) => return self.take(TokenKind::String, at),
                _ => {}
            }
        }
        self.error(self.at, "unterminated quoted string")
    }

    fn raw_string(&mut self) -> Token {
        for (at, c) in self.text[self.at + 1..].char_indices() {
            match c {
                char::REPLACEMENT_CHARACTER => return self.error(self.at, "invalid UTF-8 rune"),
                '`' => return self.take(TokenKind::String, 1 + at + 1),
                _ => {}
            }
        }
        self.error(self.at, "unterminated raw string")
    }

    /// A number or a duration: both begin with digits, a unit tells them apart. A number may still turn out to be none.
    fn number(&mut self) -> Token {
        let mut reader = Reader { bytes: &self.text.as_bytes()[self.at..], at: 0 };
        if reader.number() {
            return self.take(TokenKind::Number, reader.at);
        }
        if reader.rest_of_duration() {
            return self.take(TokenKind::Duration, reader.at);
        }
        let read = &self.text[self.at..self.at + reader.at];
        self.error(self.at, format!("bad number or duration syntax: {}", go_quote(read)))
    }
}

/// Reads bytes one by one.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn is(&self, any: &[u8]) -> bool {
        self.peek().is_some_and(|b| any.contains(&b))
    }

    /// Passes one of `any`.
    fn accept(&mut self, any: &[u8]) -> bool {
        let here = self.is(any);
        self.at += usize::from(here);
        here
    }

    fn accept_run(&mut self, any: &[u8]) {
        while self.accept(any) {}
    }

    fn is_in_word(&self) -> bool {
        self.peek().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
    }

    /// Passes a number, `1_000`, `.5`, `2.`, `1e-3`, `0x1f`, or as much of it as could begin one. Dots, exponents and
    /// underscores may stand where the number's value will be refused.
    fn number(&mut self) -> bool {
        let mut digits: &[u8] = b"0123456789";
        if self.accept(b"0") && self.accept(b"xX") {
            self.accept(b"_");
            digits = b"0123456789abcdefABCDEF";
        }
        let hex = digits.len() > 10;
        self.accept(b".");
        self.accept(digits);
        let (mut dot, mut exponent) = (false, false);
        while self.is(digits) || self.is(b"._eE") {
            if (dot && self.accept(b".")) || (exponent && self.accept(b"eE")) {
                return false;
            }
            if self.accept(b".") {
                dot = true;
                if self.accept(b"_.") || hex {
                    return false;
                }
            } else if self.accept(b"eE") {
                exponent = true;
                self.accept(b"+-");
                if self.accept(b"._eE") || self.peek().is_none() {
                    return false;
                }
            } else if self.accept(b"_") {
                if self.accept(b"._eE") || self.peek().is_none() {
                    return false;
                }
            } else {
                self.accept_run(digits);
            }
        }
        self.at > 0 && !self.is_in_word()
    }

    /// Passes the rest of a duration whose first digits have been passed. Units may stand that will be refused.
    fn rest_of_duration(&mut self) -> bool {
        if !self.accept(b"smhdwy") {
            return false;
        }
        self.accept(b"s");
        while self.is(b"0123456789") {
            self.accept_run(b"0123456789");
            if !self.accept(b"smhdw") {
                return false;
            }
            self.accept(b"s");
        }
        let glued = self.is_in_word();
        self.at += usize::from(glued);
        !glued
    }
}

/// A character in single quotes, as Go's `%q` writes a rune. The end of a text is none.
fn quoted(c: Option<char>) -> String {
    match c.unwrap_or(char::REPLACEMENT_CHARACTER) {
        '\'' => "'\\''".to_string(),
        '"' => "'\"'".to_string(),
        c => {
            let text = go_quote(c.encode_utf8(&mut [0; 4]));
            format!("'{}'", &text[1..text.len() - 1])
        }
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
        for bad in ["0deadbeef", "1__0", "5mm", "1x", "5m_", "1_", "1e", "1.5.2", "0x1.5", "0x1ee"]
        {
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
