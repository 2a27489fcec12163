//! Tokens of PromQL, and how Prometheus names them in its messages.

use pando_model::number::go_quote;

use super::position::PosRange;

/// What a token is. Keywords are identifiers to the lexer; the parser knows them by place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum TokenKind {
    /// End of the text.
    Eof,
    /// What the lexer could not read; the message is in [`Token::error`].
    Error,
    /// `foo`, `foo:bar`, any keyword.
    Identifier,
    /// `foo` within braces, where no word is a keyword.
    LabelName,
    /// `1`, `0x1f`, `1e3`, `Inf` is an identifier.
    Number,
    /// `5m`.
    Duration,
    /// A quoted string, quotes included.
    String,
    /// `(`
    LeftParen,
    /// `)`
    RightParen,
    /// `{`
    LeftBrace,
    /// `}`
    RightBrace,
    /// `[`
    LeftBracket,
    /// `]`
    RightBracket,
    /// `,`
    Comma,
    /// `:` within brackets.
    Colon,
    /// `=` within braces.
    Equal,
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
    /// `==`
    EqualEqual,
    /// `!=`
    NotEqual,
    /// `>`
    Greater,
    /// `<`
    Less,
    /// `>=`
    GreaterEqual,
    /// `<=`
    LessEqual,
    /// `=~`
    RegexMatch,
    /// `!~`
    RegexNotMatch,
    /// `@`
    At,
    /// `</`
    TrimUpper,
    /// `>/`
    TrimLower,
}

impl TokenKind {
    /// Whether no token follows.
    pub(crate) fn is_last(self) -> bool {
        matches!(self, TokenKind::Eof | TokenKind::Error)
    }
}

/// A token and its place.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) pos: PosRange,
    /// The message of an [`TokenKind::Error`].
    pub(crate) error: Option<Box<str>>,
}

/// The words that Prometheus' grammar reserves, besides operators and aggregations.
const KEYWORDS: [&str; 21] = [
    "offset",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "bool",
    "fill",
    "fill_left",
    "fill_right",
    "anchored",
    "smoothed",
    "start",
    "end",
    "step",
    "range",
    "min_of",
    "max_of",
    "inf",
    "nan",
];

/// How a message names the token of `kind` that reads `text`.
pub(crate) fn describe(kind: TokenKind, text: &str) -> String {
    use TokenKind as T;
    match kind {
        T::Eof => "end of input".to_string(),
        T::Error => text.to_string(),
        T::Identifier => describe_word(text),
        T::LabelName => format!("identifier {}", go_quote(text)),
        T::Number => format!("number {}", shortened(text)),
        T::Duration => format!("duration {}", shortened(text)),
        T::String => format!("string {}", shortened(text)),
        T::LeftParen
        | T::RightParen
        | T::LeftBrace
        | T::RightBrace
        | T::LeftBracket
        | T::RightBracket
        | T::Comma
        | T::Colon
        | T::Equal => go_quote(text),
        _ => format!("<op:{text}>"),
    }
}

/// Whether `word`, in lower case, is reserved by the grammar in some place.
pub(super) fn is_keyword(word: &str) -> bool {
    matches!(word, "and" | "or" | "unless" | "atan2")
        || super::ast::AggregateOp::from_name(word).is_some()
        || KEYWORDS.contains(&word)
}

fn describe_word(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let lower = lower.as_str();
    if matches!(lower, "and" | "or" | "unless" | "atan2") {
        format!("<op:{text}>")
    } else if super::ast::AggregateOp::from_name(lower).is_some() {
        format!("<aggr:{text}>")
    } else if matches!(lower, "inf" | "nan") {
        format!("number {}", go_quote(text))
    } else if matches!(lower, "start" | "end" | "step" | "range" | "min_of" | "max_of") {
        go_quote(text)
    } else if KEYWORDS.contains(&lower) {
        format!("<{text}>")
    } else if text.contains(':') {
        format!("metric identifier {}", go_quote(text))
    } else {
        format!("identifier {}", go_quote(text))
    }
}

fn shortened(text: &str) -> String {
    if text.len() <= 10 {
        return go_quote(text);
    }
    let short: String = text.chars().take(10).collect();
    format!("{}...", go_quote(&short))
}
