//! The tokens of a scrape body, with the states in which Prometheus' own lexers find them.
//!
//! A token is found by the state that the tokens before it left: the same `a` is a metric's name at the
//! start of a line and a label's name between braces. Where no token fits, the place where the search got
//! stuck is kept, because messages quote the body up to there. Text is read as if it ended with a newline;
//! OpenMetrics is not. What tokens mean is the parser's business.

use memchr::memchr;

use crate::format::ScrapeFormat;
use crate::quote::quote_bytes;

/// A kind of token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Token {
    Invalid,
    Eof,
    Linebreak,
    Help,
    Type,
    Unit,
    EofWord,
    Text,
    Comment,
    MetricName,
    Quoted,
    BraceOpen,
    BraceClose,
    LabelName,
    LabelValue,
    Comma,
    Equal,
    Timestamp,
    Value,
}

impl Token {
    /// The word for it in messages.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Token::Invalid => "INVALID",
            Token::Eof => "EOF",
            Token::Linebreak => "LINEBREAK",
            Token::Help => "HELP",
            Token::Type => "TYPE",
            Token::Unit => "UNIT",
            Token::EofWord => "EOFWORD",
            Token::Text => "TEXT",
            Token::Comment => "COMMENT",
            Token::MetricName => "MNAME",
            Token::Quoted => "QSTRING",
            Token::BraceOpen => "BOPEN",
            Token::BraceClose => "BCLOSE",
            Token::LabelName => "LNAME",
            Token::LabelValue => "LVALUE",
            Token::Comma => "COMMA",
            Token::Equal => "EQUAL",
            Token::Timestamp => "TIMESTAMP",
            Token::Value => "VALUE",
        }
    }
}

/// What the lexer looks for next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Line,
    Comment,
    MetaName,
    MetaText,
    Labels,
    LabelValue,
    Value,
    Timestamp,
    Exemplar,
    ExemplarValue,
    ExemplarTimestamp,
}

/// Finds one token after the other.
#[derive(Clone, Debug)]
pub(crate) struct Lexer<'a> {
    body: &'a [u8],
    format: ScrapeFormat,
    start: usize,
    at: usize,
    state: State,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(format: ScrapeFormat, body: &'a [u8]) -> Self {
        Self::in_state(format, body, State::Line)
    }

    /// A lexer for a piece of a body, such as a label set.
    pub(crate) fn in_state(format: ScrapeFormat, body: &'a [u8], state: State) -> Self {
        Lexer { body, format, start: 0, at: 0, state }
    }

    pub(crate) fn body(&self) -> &'a [u8] {
        self.body
    }

    pub(crate) fn format(&self) -> ScrapeFormat {
        self.format
    }

    /// Where the next token begins.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Where the last token began.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    pub(crate) fn is_at_line_start(&self) -> bool {
        self.state == State::Line
    }

    /// Goes on at `at` in `state`; for a caller who knows what lies before.
    pub(crate) fn resume(&mut self, at: usize, state: State) {
        (self.at, self.state) = (at, state);
    }

    /// The bytes of the last token.
    pub(crate) fn token(&self) -> &'a [u8] {
        self.slice(self.start, self.at)
    }

    /// The body from `from` up to `to`, within bounds.
    pub(crate) fn slice(&self, from: usize, to: usize) -> &'a [u8] {
        let to = to.min(self.body.len());
        &self.body[from.min(to)..to]
    }

    /// The body from `from` up to `to`, quoted for a message, with the newline that text is taken to end with.
    pub(crate) fn excerpt(&self, from: usize, to: usize) -> String {
        if to > self.body.len() && self.format == ScrapeFormat::Text {
            return quote_bytes(&[self.slice(from, to), b"\n"].concat());
        }
        quote_bytes(self.slice(from, to))
    }

    /// The message for a token that was not expected, in a line that began at `line_start`.
    pub(crate) fn unexpected(&self, expected: &str, got: Token, line_start: usize) -> String {
        let end = self.at.saturating_add(1);
        format!(
            "{expected}, got {} (\"{}\") while parsing: {}",
            self.excerpt(self.start, end),
            got.as_str(),
            self.excerpt(line_start, end)
        )
    }

    /// The next token.
    pub(crate) fn next(&mut self) -> Token {
        match self.format {
            ScrapeFormat::Text => self.next_of_text(),
            ScrapeFormat::OpenMetrics => self.next_of_open_metrics(),
        }
    }

    fn next_of_text(&mut self) -> Token {
        // Blanks between tokens mean nothing; those before a help text are taken with it.
        loop {
            if self.at > self.body.len() {
                return Token::Eof;
            }
            self.start = self.at;
            if self.state == State::MetaText || !is_blank(self.peek()) {
                break;
            }
            self.skip(is_blank);
        }
        match self.state {
            State::Line => self.text_line(),
            State::Comment => self.text_comment(),
            State::MetaName => self.metric_name(State::MetaText),
            State::MetaText => self.text_meta(),
            State::Labels => self.label_token(true),
            State::LabelValue => self.quoted(State::Labels, Token::LabelValue, true, true),
            State::Value => match self.peek() {
                b'{' => self.single(State::Labels, Token::BraceOpen),
                _ => self.run(State::Timestamp, Token::Value, |b| {
                    !matches!(b, b'{' | b' ' | b'\t' | b'\n' | 0)
                }),
            },
            State::Timestamp => match self.peek() {
                b'\n' => self.single(State::Line, Token::Linebreak),
                _ => self.run(State::Timestamp, Token::Timestamp, |b| b.is_ascii_digit()),
            },
            // Text has no exemplars, so that these are never entered.
            State::Exemplar | State::ExemplarValue | State::ExemplarTimestamp => Token::Invalid,
        }
    }

    fn text_line(&mut self) -> Token {
        match self.peek() {
            0 => self.single(State::Line, Token::Eof),
            b'\n' => self.single(State::Line, Token::Linebreak),
            b'{' => self.single(State::Labels, Token::BraceOpen),
            b'#' => {
                self.at += 1;
                if !is_blank(self.peek()) {
                    return self.rest_of_comment(false);
                }
                self.skip(is_blank);
                self.state = State::Comment;
                self.text_comment()
            }
            _ => self.run_of_name(State::Value, Token::MetricName, is_metric_byte),
        }
    }

    fn text_comment(&mut self) -> Token {
        for (word, token) in [(b"HELP", Token::Help), (b"TYPE", Token::Type)] {
            let rest = self.slice(self.at, self.body.len());
            if rest.starts_with(word) && rest.get(4).is_some_and(|b| is_blank(*b)) {
                self.at += word.len();
                self.skip(is_blank);
                self.state = State::MetaName;
                return token;
            }
        }
        self.rest_of_comment(true)
    }

    /// A comment up to its newline. A zero byte in one without a blank after `#` ends the body.
    fn rest_of_comment(&mut self, zero_allowed: bool) -> Token {
        let rest = self.slice(self.at, self.body.len());
        let end = memchr(b'\n', rest).unwrap_or(rest.len());
        let zero = if zero_allowed { rest.first() == Some(&0) } else { rest[..end].contains(&0) };
        if zero {
            self.at = self.body.len() + 1;
            return Token::Eof;
        }
        self.at += end;
        self.state = State::Line;
        Token::Comment
    }

    /// The text after a family's name, with the blanks before it; empty where there are only blanks, and
    /// before a zero byte, which the parser refuses then.
    fn text_meta(&mut self) -> Token {
        if self.peek() == 0 {
            self.state = State::Line;
            return Token::Text;
        }
        let rest = self.slice(self.at, self.body.len());
        let end = memchr(b'\n', rest).unwrap_or(rest.len());
        if rest[..end].iter().all(|b| is_blank(*b)) {
            self.start += end;
        }
        self.at += end;
        self.state = State::Line;
        Token::Text
    }

    fn next_of_open_metrics(&mut self) -> Token {
        if self.at >= self.body.len() {
            return Token::Eof;
        }
        self.start = self.at;
        let word = |b: u8| !matches!(b, b' ' | b'\n' | 0);
        match self.state {
            State::Line => self.open_metrics_line(),
            State::Comment => self.open_metrics_comment(),
            State::MetaName => self.metric_name(State::MetaText),
            State::MetaText => self.open_metrics_meta(),
            State::Labels => self.label_token(true),
            State::Exemplar => self.label_token(false),
            State::LabelValue => self.quoted(State::Labels, Token::LabelValue, false, true),
            State::ExemplarValue if self.peek() == b'"' => {
                self.quoted(State::Exemplar, Token::LabelValue, false, false)
            }
            State::Value if self.peek() == b'{' => self.single(State::Labels, Token::BraceOpen),
            State::Timestamp | State::ExemplarTimestamp if self.peek() == b'\n' => {
                self.single(State::Line, Token::Linebreak)
            }
            State::Timestamp if self.peek_at(1) == b'#' && self.peek_at(2) == b' ' => {
                if self.peek() != b' ' {
                    return Token::Invalid;
                }
                self.at += 3;
                match self.peek() {
                    b'{' => self.single(State::Exemplar, Token::Comment),
                    _ => Token::Invalid,
                }
            }
            State::Value => self.spaced(State::Timestamp, Token::Value, word),
            State::ExemplarValue => self.spaced(State::ExemplarTimestamp, Token::Value, word),
            state @ (State::Timestamp | State::ExemplarTimestamp) => {
                self.spaced(state, Token::Timestamp, word)
            }
        }
    }

    fn open_metrics_line(&mut self) -> Token {
        match self.peek() {
            b'{' => self.single(State::Labels, Token::BraceOpen),
            b'#' => {
                self.at += 1;
                if self.peek() != b' ' {
                    return Token::Invalid;
                }
                self.at += 1;
                self.state = State::Comment;
                self.open_metrics_comment()
            }
            _ => self.run_of_name(State::Value, Token::MetricName, is_metric_byte),
        }
    }

    fn open_metrics_comment(&mut self) -> Token {
        let word: &[u8] = match self.peek() {
            b'H' => b"HELP ",
            b'T' => b"TYPE ",
            b'U' => b"UNIT ",
            b'E' => b"EOF",
            _ => return Token::Invalid,
        };
        for expected in word {
            if self.peek() != *expected {
                return Token::Invalid;
            }
            self.at += 1;
        }
        self.state = State::MetaName;
        match word[0] {
            b'H' => Token::Help,
            b'T' => Token::Type,
            b'U' => Token::Unit,
            _ => {
                self.at += usize::from(self.peek() == b'\n');
                self.state = State::Line;
                Token::EofWord
            }
        }
    }

    /// ` text\n`, all of it.
    fn open_metrics_meta(&mut self) -> Token {
        if self.peek() != b' ' {
            return Token::Invalid;
        }
        let rest = self.slice(self.at, self.body.len());
        match memchr(b'\n', rest) {
            Some(end) => {
                self.at += end + 1;
                self.state = State::Line;
                Token::Text
            }
            None => {
                self.at = self.body.len();
                Token::Invalid
            }
        }
    }

    /// A token between braces: those of a series, or of an exemplar.
    fn label_token(&mut self, of_series: bool) -> Token {
        let here = if of_series { State::Labels } else { State::Exemplar };
        let (closed, equal) = match of_series {
            true => (State::Value, State::LabelValue),
            false => (State::ExemplarValue, State::ExemplarValue),
        };
        match self.peek() {
            b'"' => self.quoted(here, Token::Quoted, of_series, false),
            b',' => self.single(here, Token::Comma),
            b'=' => self.single(equal, Token::Equal),
            b'}' => self.single(closed, Token::BraceClose),
            _ => self.run_of_name(here, Token::LabelName, |b| b != b':' && is_metric_byte(b)),
        }
    }

    fn metric_name(&mut self, then: State) -> Token {
        match self.peek() {
            b'"' => self.quoted(then, Token::MetricName, true, false),
            _ => self.run_of_name(then, Token::MetricName, is_metric_byte),
        }
    }

    /// A quoted string with its quotes. A backslash takes the byte after it along, unless that is a newline.
    fn quoted(&mut self, then: State, token: Token, newlines: bool, zeros: bool) -> Token {
        if self.peek() != b'"' {
            return Token::Invalid;
        }
        let mut escaped = false;
        loop {
            self.at += 1;
            match self.peek() {
                0 if zeros && self.at < self.body.len() => continue,
                0 => return Token::Invalid,
                b'\n' if escaped || !newlines => return Token::Invalid,
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => return self.single(then, token),
                _ => {}
            }
        }
    }

    fn single(&mut self, then: State, token: Token) -> Token {
        self.at += 1;
        self.state = then;
        token
    }

    /// One or more bytes that are `wanted`.
    fn run(&mut self, then: State, token: Token, wanted: impl Fn(u8) -> bool) -> Token {
        let from = self.at;
        self.skip(wanted);
        if self.at == from {
            return Token::Invalid;
        }
        self.state = then;
        token
    }

    /// A name: bytes that are `wanted`, the first one no digit.
    fn run_of_name(&mut self, then: State, token: Token, wanted: impl Fn(u8) -> bool) -> Token {
        match self.peek() {
            digit if digit.is_ascii_digit() => Token::Invalid,
            _ => self.run(then, token, wanted),
        }
    }

    /// A space and a run.
    fn spaced(&mut self, then: State, token: Token, wanted: impl Fn(u8) -> bool) -> Token {
        if self.peek() != b' ' {
            return Token::Invalid;
        }
        self.at += 1;
        self.run(then, token, wanted)
    }

    fn skip(&mut self, wanted: impl Fn(u8) -> bool) {
        let rest = self.slice(self.at, self.body.len());
        self.at += rest.iter().position(|b| !wanted(*b)).unwrap_or(rest.len());
    }

    #[inline]
    fn peek(&self) -> u8 {
        self.peek_at(0)
    }

    #[inline]
    fn peek_at(&self, ahead: usize) -> u8 {
        match self.body.get(self.at + ahead) {
            Some(byte) => *byte,
            None if self.format == ScrapeFormat::Text && self.at + ahead == self.body.len() => {
                b'\n'
            }
            None => 0,
        }
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn is_metric_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':')
}
