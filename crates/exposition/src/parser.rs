//! `Parser`: a scrape body as a sequence of events, without a copy.
//!
//! It takes what Prometheus 3.14 takes and refuses what it refuses, in its words: an exporter that works
//! there works here. That includes forgiveness without reason, such as a missing comma between labels in
//! text, and strictness without reason, such as a second space in OpenMetrics. What a series' labels mean
//! for storage (empty or doubled names) is not grammar: see [`SampleRef::labels`].

use std::borrow::Cow;

use memchr::memchr_iter;
use pando_model::MetricType;

use crate::created::{CreatedIndex, has_created_name, has_start, seconds_to_ms};
use crate::error::ParseError;
use crate::float::{NORMAL_NAN, parse_float};
use crate::format::ScrapeFormat;
use crate::lexer::{Lexer, State, Token};
use crate::quote::quote_bytes;
use crate::sample::{ExemplarRef, SampleRef, unescape};

/// What happens to the `_created` lines of counters, histograms and summaries in OpenMetrics.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum CreatedLines {
    /// They are series, as everything else: Prometheus' default.
    #[default]
    AsSeries,
    /// They are the start timestamps of their family's samples, and no series.
    AsStart,
}

/// What a body says.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// A TYPE line.
    Type {
        /// The family's name, unescaped.
        family: Cow<'a, str>,
        /// Its type.
        metric_type: MetricType,
    },
    /// A HELP line.
    Help {
        /// The family's name, unescaped.
        family: Cow<'a, str>,
        /// The text, unescaped.
        help: Cow<'a, str>,
    },
    /// A UNIT line of OpenMetrics.
    Unit {
        /// The family's name, unescaped.
        family: Cow<'a, str>,
        /// The unit, a suffix of the name, or empty.
        unit: Cow<'a, str>,
    },
    /// A comment of text, from its `#` on.
    Comment(&'a [u8]),
    /// A sample.
    Sample(SampleRef<'a>),
}

/// What a line was, for whoever keeps lines.
pub(crate) enum Step<'a> {
    Event(Event<'a>),
    /// A `_created` line that was read as a start timestamp.
    Created(SampleRef<'a>),
    End,
}

/// Where a sample's line stops being the same from scrape to scrape, and what comes then.
pub(crate) struct Tail<'a> {
    pub(crate) timestamp_ms: Option<i64>,
    pub(crate) exemplar: Option<ExemplarRef<'a>>,
}

/// Reads a body, event by event. After an error there is nothing more.
#[derive(Clone, Debug)]
pub struct Parser<'a> {
    lexer: Lexer<'a>,
    line_start: usize,
    metric_type: MetricType,
    created: Option<CreatedIndex>,
    done: bool,
}

impl<'a> Parser<'a> {
    /// A parser of `body`; `_created` lines are series.
    pub fn new(format: ScrapeFormat, body: &'a [u8]) -> Self {
        Parser {
            lexer: Lexer::new(format, body),
            line_start: 0,
            metric_type: MetricType::Unknown,
            created: None,
            done: false,
        }
    }

    /// A parser of `body` that treats `_created` lines as `created` says.
    pub fn with_created(format: ScrapeFormat, body: &'a [u8], created: CreatedLines) -> Self {
        let index = format == ScrapeFormat::OpenMetrics && created == CreatedLines::AsStart;
        Parser { created: index.then(CreatedIndex::default), ..Self::new(format, body) }
    }

    pub(crate) fn body(&self) -> &'a [u8] {
        self.lexer.body()
    }

    pub(crate) fn at(&self) -> usize {
        self.lexer.at()
    }

    pub(crate) fn is_at_line_start(&self) -> bool {
        self.lexer.is_at_line_start() && !self.done
    }

    pub(crate) fn metric_type(&self) -> MetricType {
        self.metric_type
    }

    pub(crate) fn created(&mut self) -> Option<&mut CreatedIndex> {
        self.created.as_mut()
    }

    /// Goes on at `at`, the start of a line, in a family of type `metric_type`.
    pub(crate) fn skip_to_line(&mut self, at: usize, metric_type: MetricType) {
        self.lexer.resume(at, State::Line);
        self.metric_type = metric_type;
    }

    /// Reads what follows a value that ends at `value_end`, in the line that begins at `line_start`.
    pub(crate) fn tail_at(
        &mut self,
        line_start: usize,
        value_end: usize,
    ) -> Result<Tail<'a>, ParseError> {
        self.line_start = line_start;
        self.lexer.resume(value_end, State::Timestamp);
        let tail = match self.lexer.format() {
            ScrapeFormat::Text => self.text_tail(),
            ScrapeFormat::OpenMetrics => self.open_metrics_tail(),
        };
        tail.map_err(|message| self.fault(message))
    }

    /// The next line that means something.
    pub(crate) fn step(&mut self) -> Result<Step<'a>, ParseError> {
        if self.done {
            return Ok(Step::End);
        }
        let step = match self.lexer.format() {
            ScrapeFormat::Text => self.text_step(),
            ScrapeFormat::OpenMetrics => self.open_metrics_step(),
        };
        if matches!(step, Ok(Step::End)) {
            self.done = true;
        }
        step.map_err(|message| self.fault(message))
    }

    fn fault(&mut self, message: String) -> ParseError {
        self.done = true;
        let before = self.lexer.slice(0, self.line_start);
        ParseError { line: memchr_iter(b'\n', before).count() + 1, message }
    }

    fn text_step(&mut self) -> Result<Step<'a>, String> {
        loop {
            self.line_start = self.lexer.at();
            let token = self.lexer.next();
            return match token {
                Token::Eof => Ok(Step::End),
                Token::Linebreak => continue,
                Token::Help | Token::Type => {
                    let event = self.metadata(token)?;
                    match self.lexer.next() {
                        Token::Linebreak => Ok(Step::Event(event)),
                        other => Err(self.unexpected("linebreak expected after metadata", other)),
                    }
                }
                Token::Comment => {
                    let comment = self.lexer.token();
                    match self.lexer.next() {
                        Token::Linebreak => Ok(Step::Event(Event::Comment(comment))),
                        other => Err(self.unexpected("linebreak expected after comment", other)),
                    }
                }
                Token::BraceOpen | Token::MetricName => {
                    Ok(Step::Event(Event::Sample(self.sample(token)?)))
                }
                other => Err(self.unexpected("expected a valid start token", other)),
            };
        }
    }

    fn open_metrics_step(&mut self) -> Result<Step<'a>, String> {
        self.line_start = self.lexer.at();
        let token = self.lexer.next();
        match token {
            Token::EofWord => match self.lexer.next() {
                Token::Eof => Ok(Step::End),
                _ => Err("unexpected data after # EOF".to_string()),
            },
            Token::Eof => Err(NO_EOF.to_string()),
            Token::Help | Token::Type | Token::Unit => self.metadata(token).map(Step::Event),
            Token::BraceOpen | Token::MetricName => {
                let mut sample = self.sample(token)?;
                let metric_type = self.metric_type;
                if let Some(created) = &mut self.created {
                    if has_start(metric_type) && has_created_name(sample.series) {
                        return Ok(Step::Created(sample));
                    }
                    sample.start_ms = created.start_ms(sample.series);
                }
                Ok(Step::Event(Event::Sample(sample)))
            }
            other => Err(self.unexpected("expected a valid start token", other)),
        }
    }

    /// A HELP, TYPE or UNIT line after its first word.
    fn metadata(&mut self, word: Token) -> Result<Event<'a>, String> {
        let is_text = self.lexer.format() == ScrapeFormat::Text;
        let found = self.lexer.next();
        if found != Token::MetricName {
            let expected = format!("expected metric name after {}", word.as_str());
            return Err(self.unexpected(&expected, found));
        }
        let quoted = self.lexer.token();
        let name = quoted.strip_prefix(b"\"").and_then(|n| n.strip_suffix(b"\"")).unwrap_or(quoted);
        let family = unescaped_lossy(name, true);
        let found = self.lexer.next();
        if found != Token::Text {
            return Err(match is_text {
                true => format!("expected text in {}, got {}", word.as_str(), found.as_str()),
                false => format!("expected text in {}", word.as_str()),
            });
        }
        // One blank divides name and text; in OpenMetrics the token has the newline, too.
        let token = self.lexer.token();
        let text = token.get(1..token.len() - usize::from(!is_text)).unwrap_or_default();
        match word {
            Token::Type => {
                self.metric_type = metric_type(text, is_text)
                    .ok_or_else(|| format!("invalid metric type {}", quote_bytes(text)))?;
                let rest = self.lexer.slice(self.lexer.at(), usize::MAX);
                if let Some(created) = &mut self.created {
                    created.enter(name, self.metric_type, rest);
                }
                Ok(Event::Type { family, metric_type: self.metric_type })
            }
            Token::Help => match std::str::from_utf8(text) {
                Ok(help) => Ok(Event::Help { family, help: unescape(help, !is_text) }),
                Err(_) => {
                    Err(format!("help text {} is not a valid utf8 string", quote_bytes(text)))
                }
            },
            _ => {
                let stem = name.strip_suffix(text);
                if !text.is_empty() && !stem.is_some_and(|stem| stem.ends_with(b"_")) {
                    let (unit, name) = (quote_bytes(text), quote_bytes(name));
                    return Err(format!("unit {unit} not a suffix of metric {name}"));
                }
                Ok(Event::Unit { family, unit: unescaped_lossy(text, false) })
            }
        }
    }

    /// A sample line after its first token.
    fn sample(&mut self, first: Token) -> Result<SampleRef<'a>, String> {
        let series_start = self.lexer.start();
        let mut series_end = self.lexer.at();
        let mut named = first == Token::MetricName;
        let mut token = if named { self.lexer.next() } else { Token::BraceOpen };
        if token == Token::BraceOpen {
            named = self.label_set(named, false)?;
            series_end = self.lexer.at();
            token = self.lexer.next();
        }
        if !named {
            return Err(format!("metric name not set while parsing: {}", self.line_so_far()));
        }
        let value = self.value(token, "metric")?;
        let is_text = self.lexer.format() == ScrapeFormat::Text;
        let value_start = self.lexer.start() + usize::from(!is_text);
        let value_end = self.lexer.at();
        let tail = if is_text { self.text_tail()? } else { self.open_metrics_tail()? };
        Ok(SampleRef {
            value,
            timestamp_ms: tail.timestamp_ms,
            start_ms: None,
            exemplar: tail.exemplar,
            series: self.lexer.slice(series_start, series_end),
            prefix: self.lexer.slice(self.line_start, value_start),
            value_text: self.lexer.slice(value_start, value_end),
            format: self.lexer.format(),
            metric_type: self.metric_type,
        })
    }

    /// What stands between braces. Answers whether the metric has a name by now: `named` says that it had
    /// one before, and a quoted string without a value is one.
    fn label_set(&mut self, mut named: bool, in_exemplar: bool) -> Result<bool, String> {
        let mut token = self.lexer.next();
        loop {
            let quoted = match token {
                Token::BraceClose => return Ok(named),
                Token::LabelName => false,
                Token::Quoted => true,
                other => return Err(self.unexpected("expected label name", other)),
            };
            token = self.lexer.next();
            if quoted && matches!(token, Token::Comma | Token::BraceClose) {
                if in_exemplar {
                    return Err(self.unexpected("expected label name", token));
                }
                if named {
                    let line = self.line_so_far();
                    return Err(format!("metric name already set while parsing: {line}"));
                }
                named = true;
                if token == Token::BraceClose {
                    return Ok(named);
                }
                token = self.lexer.next();
                continue;
            }
            if token != Token::Equal {
                return Err(self.unexpected("expected equal", token));
            }
            token = self.lexer.next();
            if token != Token::LabelValue {
                return Err(self.unexpected("expected label value", token));
            }
            if std::str::from_utf8(self.lexer.token()).is_err() {
                let value = quote_bytes(self.lexer.token());
                return Err(format!("invalid UTF-8 label value: {value}"));
            }
            token = self.lexer.next();
            let is_text = self.lexer.format() == ScrapeFormat::Text;
            if token == Token::Comma {
                token = self.lexer.next();
            } else if !is_text && token != Token::BraceClose {
                return Err(self.unexpected("expected comma or brace close", token));
            }
        }
    }

    fn value(&mut self, token: Token, after: &str) -> Result<f64, String> {
        if token != Token::Value {
            return Err(self.unexpected(&format!("expected value after {after}"), token));
        }
        self.float()
    }

    /// The token as a float, without the space that OpenMetrics' tokens begin with.
    fn float(&self) -> Result<f64, String> {
        let token = self.lexer.token();
        let text = match self.lexer.format() {
            ScrapeFormat::Text => token,
            ScrapeFormat::OpenMetrics => token.get(1..).unwrap_or_default(),
        };
        match parse_float(text) {
            Ok(value) if value.is_nan() => Ok(NORMAL_NAN),
            Ok(value) => Ok(value),
            Err(e) => Err(format!("{} while parsing: {}", e.message(text), self.line_so_far())),
        }
    }

    fn text_tail(&mut self) -> Result<Tail<'a>, String> {
        let mut timestamp_ms = None;
        match self.lexer.next() {
            Token::Linebreak => {}
            Token::Timestamp => {
                let text = self.lexer.token();
                let digits = std::str::from_utf8(text).ok().and_then(|t| t.parse::<i64>().ok());
                timestamp_ms = Some(digits.ok_or_else(|| {
                    let (text, line) = (quote_bytes(text), self.line_so_far());
                    format!(
                        "strconv.ParseInt: parsing {text}: value out of range while parsing: {line}"
                    )
                })?);
                let token = self.lexer.next();
                if token != Token::Linebreak {
                    return Err(self.unexpected("expected next entry after timestamp", token));
                }
            }
            other => return Err(self.unexpected("expected timestamp or new record", other)),
        }
        Ok(Tail { timestamp_ms, exemplar: None })
    }

    fn open_metrics_tail(&mut self) -> Result<Tail<'a>, String> {
        let mut tail = Tail { timestamp_ms: None, exemplar: None };
        match self.lexer.next() {
            Token::Eof => return Err(NO_EOF.to_string()),
            Token::Comment => tail.exemplar = Some(self.exemplar()?),
            Token::Timestamp => {
                tail.timestamp_ms = Some(self.timestamp_ms("timestamp")?);
                match self.lexer.next() {
                    Token::Linebreak => {}
                    Token::Comment => tail.exemplar = Some(self.exemplar()?),
                    other => {
                        return Err(self.unexpected("expected next entry after timestamp", other));
                    }
                }
            }
            // Anything else is found again, and refused, as the start of the next line.
            _ => {}
        }
        Ok(tail)
    }

    fn timestamp_ms(&self, what: &str) -> Result<i64, String> {
        let seconds = self.float()?;
        if seconds.is_finite() {
            return Ok(seconds_to_ms(seconds));
        }
        let mut text = String::new();
        pando_model::number::push_api_float(&mut text, seconds);
        Err(format!("invalid {what} {text}"))
    }

    /// An exemplar after its opening brace.
    fn exemplar(&mut self) -> Result<ExemplarRef<'a>, String> {
        let start = self.lexer.at();
        self.label_set(true, true)?;
        let labels = self.lexer.slice(start, self.lexer.at());
        let token = self.lexer.next();
        let value = self.value(token, "exemplar labels")?;
        let mut timestamp_ms = None;
        match self.lexer.next() {
            Token::Eof => return Err(NO_EOF.to_string()),
            Token::Linebreak => {}
            Token::Timestamp => {
                timestamp_ms = Some(self.timestamp_ms("exemplar timestamp")?);
                let token = self.lexer.next();
                if token != Token::Linebreak {
                    let expected = "expected next entry after exemplar timestamp";
                    return Err(self.unexpected(expected, token));
                }
            }
            other => return Err(self.unexpected("expected timestamp or comment", other)),
        }
        Ok(ExemplarRef { value, timestamp_ms, labels })
    }

    fn unexpected(&self, expected: &str, got: Token) -> String {
        self.lexer.unexpected(expected, got, self.line_start)
    }

    fn line_so_far(&self) -> String {
        self.lexer.excerpt(self.line_start, self.lexer.at())
    }
}

impl<'a> Iterator for Parser<'a> {
    type Item = Result<Event<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.step() {
                Ok(Step::Event(event)) => return Some(Ok(event)),
                Ok(Step::Created(_)) => {}
                Ok(Step::End) => return None,
                Err(e) => return Some(Err(e)),
            }
        }
    }
}

const NO_EOF: &str = "data does not end with # EOF";

fn metric_type(word: &[u8], is_text: bool) -> Option<MetricType> {
    Some(match word {
        b"counter" => MetricType::Counter,
        b"gauge" => MetricType::Gauge,
        b"histogram" => MetricType::Histogram,
        b"summary" => MetricType::Summary,
        b"untyped" if is_text => MetricType::Unknown,
        b"unknown" if !is_text => MetricType::Unknown,
        b"gaugehistogram" if !is_text => MetricType::GaugeHistogram,
        b"info" if !is_text => MetricType::Info,
        b"stateset" if !is_text => MetricType::StateSet,
        _ => return None,
    })
}

/// Metadata is for people: bytes that are no UTF-8 are replaced rather than refused, where Prometheus
/// does not refuse them either.
fn unescaped_lossy(bytes: &[u8], quotes: bool) -> Cow<'_, str> {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => unescape(text, quotes),
        Cow::Owned(text) => Cow::Owned(unescape(&text, quotes).into_owned()),
    }
}

#[cfg(test)]
mod tests;
