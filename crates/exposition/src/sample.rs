//! `SampleRef`: a sample line as it stands in the body. Its labels are read only when somebody asks, which
//! a scrape does for lines it has not seen before.

use std::borrow::Cow;

use pando_model::labels::METRIC_NAME;
use pando_model::{Labels, MetricType};

use crate::error::LabelsProblem;
use crate::float::normal_float;
use crate::format::ScrapeFormat;
use crate::lexer::{Lexer, State, Token};

/// A sample line, borrowed from the body. Its grammar has been checked.
#[derive(Clone, Copy, Debug)]
pub struct SampleRef<'a> {
    /// The value.
    pub value: f64,
    /// The timestamp on the line, ms since the epoch.
    pub timestamp_ms: Option<i64>,
    /// When the series began, ms since the epoch, where a `_created` line says so and
    /// [`CreatedLines::AsStart`](crate::CreatedLines) was asked for.
    pub start_ms: Option<i64>,
    /// The exemplar on the line.
    pub exemplar: Option<ExemplarRef<'a>>,
    /// Name and labels as they stand in the body.
    pub(crate) series: &'a [u8],
    /// The line up to its value.
    pub(crate) prefix: &'a [u8],
    /// The value as it stands in the body.
    pub(crate) value_text: &'a [u8],
    pub(crate) format: ScrapeFormat,
    /// The type that the last TYPE line said.
    pub(crate) metric_type: MetricType,
}

impl<'a> SampleRef<'a> {
    /// The bytes of name and labels, without the blanks around them: what a cache of series is keyed by.
    pub fn series(&self) -> &'a [u8] {
        self.series
    }

    /// The type of the family that the line stands in, as far as the last TYPE line goes.
    pub fn metric_type(&self) -> MetricType {
        self.metric_type
    }

    /// The labels, the metric's name among them. The bounds of histograms and the quantiles of summaries
    /// come in the one form in which they are stored: `le="1"` is `1.0`.
    pub fn labels(&self) -> Result<Labels, LabelsProblem> {
        let metric_type = self.metric_type;
        let mut pairs = pairs_of(Lexer::new(self.format, self.series))?;
        for (name, value) in &mut pairs {
            let is_bound = match metric_type {
                MetricType::Summary => name == "quantile",
                MetricType::Histogram => name == "le",
                _ => false,
            };
            if is_bound && let Some(normal) = normal_float(value) {
                *value = Cow::Owned(normal);
            }
        }
        build(pairs)
    }

    /// The names of labels that the line gives an empty value. Such a label is none, so [`SampleRef::labels`] does
    /// not have it; but where a target's labels are honored, it keeps the server from adding its own.
    ///
    /// # Errors
    /// As [`SampleRef::labels`].
    pub fn empty_labels(&self) -> Result<Vec<Cow<'a, str>>, LabelsProblem> {
        let pairs = pairs_of(Lexer::new(self.format, self.series))?;
        Ok(pairs.into_iter().filter(|(_, value)| value.is_empty()).map(|(name, _)| name).collect())
    }
}

/// An exemplar, borrowed from the body.
#[derive(Clone, Copy, Debug)]
pub struct ExemplarRef<'a> {
    /// The observed value.
    pub value: f64,
    /// When it was observed, ms since the epoch.
    pub timestamp_ms: Option<i64>,
    /// What stands after the opening brace, the closing one included.
    pub(crate) labels: &'a [u8],
}

impl ExemplarRef<'_> {
    /// Its own labels, such as `trace_id`.
    pub fn labels(&self) -> Result<Labels, LabelsProblem> {
        build(pairs_of(Lexer::in_state(ScrapeFormat::OpenMetrics, self.labels, State::Exemplar))?)
    }
}

/// The parts of a series, raw: quotes are gone, escapes are not.
pub(crate) enum Piece<'a> {
    MetricName(&'a [u8]),
    Label(&'a [u8], &'a [u8]),
}

/// Walks over a series or label set whose grammar has been checked.
pub(crate) fn walk<'a>(mut lexer: Lexer<'a>, mut visit: impl FnMut(Piece<'a>)) {
    let mut name: Option<&'a [u8]> = None;
    loop {
        match lexer.next() {
            Token::MetricName => visit(Piece::MetricName(lexer.token())),
            Token::LabelName => name = Some(lexer.token()),
            Token::Quoted => name = Some(unquoted(lexer.token())),
            Token::LabelValue => {
                visit(Piece::Label(name.take().unwrap_or_default(), unquoted(lexer.token())));
            }
            // A quoted name that no value follows is the metric's.
            end @ (Token::Comma | Token::BraceClose) => {
                if let Some(name) = name.take() {
                    visit(Piece::MetricName(name));
                }
                if end == Token::BraceClose {
                    return;
                }
            }
            Token::BraceOpen | Token::Equal => {}
            _ => return,
        }
    }
}

fn unquoted(token: &[u8]) -> &[u8] {
    token.get(1..token.len().saturating_sub(1)).unwrap_or_default()
}

type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

fn pairs_of(lexer: Lexer<'_>) -> Result<Vec<Pair<'_>>, LabelsProblem> {
    let mut pairs = Vec::with_capacity(8);
    let mut problem = None;
    walk(lexer, |piece| {
        let (name, value) = match piece {
            Piece::MetricName(name) => (Ok(METRIC_NAME), std::str::from_utf8(name)),
            Piece::Label(name, value) => (std::str::from_utf8(name), std::str::from_utf8(value)),
        };
        match (name, value) {
            (Ok(name), Ok(value)) => pairs.push((unescaped(name), unescaped(value))),
            _ => {
                let (Piece::MetricName(name) | Piece::Label(name, _)) = piece;
                let name = String::from_utf8_lossy(name).into_owned();
                problem = Some(LabelsProblem::NotUtf8 { name });
            }
        }
    });
    problem.map_or(Ok(pairs), Err)
}

fn build(mut pairs: Vec<Pair<'_>>) -> Result<Labels, LabelsProblem> {
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    if let Some(pair) = pairs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let name = pair[0].0.clone().into_owned();
        return Err(LabelsProblem::Duplicate { name, labels: Labels::from_pairs(pairs) });
    }
    let nameless =
        |(name, value): &Pair<'_>| name.is_empty() || (value.is_empty() && name == METRIC_NAME);
    if pairs.iter().any(nameless) {
        return Err(LabelsProblem::EmptyName { labels: Labels::from_pairs(pairs) });
    }
    let filled = pairs.iter().filter(|(_, value)| !value.is_empty());
    // Sorted, unique and filled: the fast way in always takes them.
    let labels = Labels::from_sorted(filled.map(|(name, value)| (name.as_ref(), value.as_ref())));
    Ok(labels.unwrap_or_default())
}

/// Undoes `\\`, `\"` and `\n`; other backslashes stand for themselves.
pub(crate) fn unescaped(text: &str) -> Cow<'_, str> {
    unescape(text, true)
}

/// As [`unescaped`]; whether `\"` is an escape depends on where the text stands.
pub(crate) fn unescape(text: &str, quotes: bool) -> Cow<'_, str> {
    if memchr::memchr(b'\\', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let (plain, taken) = match rest.as_bytes().get(at + 1) {
            Some(b'\\') => ('\\', 2),
            Some(b'n') => ('\n', 2),
            Some(b'"') if quotes => ('"', 2),
            _ => ('\\', 1),
        };
        out.push(plain);
        rest = &rest[at + taken..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}
