//! Test scripts as commands. Blocks are parted by blank lines; `#` begins a comment.

use std::fmt;

use pando_model::GoRegex;
use pando_model::duration::parse_duration;
use pando_model::number::parse_go_float;

use super::nhcb;
use super::points::{SeriesLine, series_line, start_line};
use super::subject::EvalTimes;

/// A script that was read.
pub struct Script {
    /// The commands, each with the line in which it begins.
    pub(super) commands: Vec<(usize, Command)>,
}

/// What is wrong in a line of a script.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{why} line={line}")]
pub struct ScriptError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub why: String,
}

/// A command of a script.
pub(super) enum Command {
    /// Adds samples, `step_ms` apart, from time 0 on; `text` is its first line.
    Load { step_ms: i64, series: Vec<SeriesLine>, text: String },
    /// Forgets all samples.
    Clear,
    /// Evaluates and compares.
    Eval(Box<Eval>),
}

/// An evaluation and what is expected of it.
pub(super) struct Eval {
    pub(super) expr: String,
    pub(super) times: EvalTimes,
    pub(super) expect: Expect,
}

impl Command {
    /// What names it in a report.
    pub(super) fn text(&self) -> &str {
        match self {
            Command::Load { text, .. } => text,
            Command::Clear => "clear",
            Command::Eval(eval) => &eval.expr,
        }
    }
}

/// How a text is compared.
pub(super) enum TextTest {
    Any,
    Exact(String),
    Regex(GoRegex),
}

impl TextTest {
    pub(super) fn passes(&self, text: &str) -> bool {
        match self {
            TextTest::Any => true,
            TextTest::Exact(wanted) => text == wanted,
            TextTest::Regex(regex) => regex.is_match(text),
        }
    }
}

impl fmt::Display for TextTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TextTest::Any => f.write_str("any"),
            TextTest::Exact(wanted) => write!(f, "{wanted:?}"),
            TextTest::Regex(regex) => write!(f, "/{}/", regex.as_str()),
        }
    }
}

/// What is expected.
#[derive(Default)]
pub(super) struct Expect {
    pub(super) fail: Option<TextTest>,
    pub(super) warn: Vec<TextTest>,
    pub(super) info: Vec<TextTest>,
    pub(super) no_warn: bool,
    pub(super) no_info: bool,
    pub(super) ordered: bool,
    pub(super) string: Option<String>,
    /// The times of an expected range vector: first and step.
    pub(super) range_vector: Option<(i64, i64)>,
    pub(super) scalar: Option<f64>,
    pub(super) series: Vec<SeriesLine>,
    /// The kinds of `expect` lines so far.
    said: Vec<String>,
}

impl Expect {
    fn said(&self, kind: &str) -> bool {
        self.said.iter().any(|said| said == kind)
    }
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// The first line that is no part of one.
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        let lines: Vec<&str> = text.lines().map(without_comment).collect();
        let (mut at, mut commands) = (0, Vec::new());
        while at < lines.len() {
            let (number, line) = (at + 1, lines[at]);
            at += 1;
            if line.is_empty() {
                continue;
            }
            let body: Vec<(usize, &str)> = lines[at..]
                .iter()
                .take_while(|l| !l.is_empty())
                .enumerate()
                .map(|(i, l)| (at + i + 1, *l))
                .collect();
            let here = |why: String| ScriptError { line: number, why };
            let command = match line.split_whitespace().next().unwrap_or_default() {
                "clear" => Command::Clear,
                "load" | "load_with_nhcb" => load(number, line, &body)?,
                word if word.starts_with("eval") => {
                    let mut eval = eval(line).map_err(here)?;
                    for (line, text) in &body {
                        at += 1;
                        let there = |why| ScriptError { line: *line, why };
                        if eval.expects(text).map_err(there)? == Rest::Nothing {
                            break;
                        }
                    }
                    Command::Eval(Box::new(eval))
                }
                word => return Err(here(format!("unknown command {word:?}"))),
            };
            if matches!(command, Command::Load { .. }) {
                at += body.len();
            }
            commands.push((number, command));
        }
        Ok(Script { commands })
    }
}

/// Lines that begin with `#` are comments and end a block as blank lines do.
fn without_comment(line: &str) -> &str {
    let line = line.trim();
    if line.starts_with('#') { "" } else { line }
}

fn duration(text: &str) -> Result<i64, String> {
    parse_duration(text).map_err(|e| e.to_string())
}

/// Start, end and step of `from A to B step C`, and what is behind it.
fn range(rest: &mut &str) -> Result<[i64; 3], String> {
    let mut times = [0; 3];
    for (name, time) in ["from", "to", "step"].iter().zip(&mut times) {
        if word(rest) != *name {
            return Err(format!("{name} is expected"));
        }
        *time = duration(word(rest))?;
    }
    let [start_ms, end_ms, step_ms] = times;
    if end_ms < start_ms {
        return Err(format!("the end is before the start: start_ms={start_ms} end_ms={end_ms}"));
    }
    Ok([start_ms, end_ms, step_ms])
}

fn load(first: usize, text: &str, body: &[(usize, &str)]) -> Result<Command, ScriptError> {
    let here = |why: String| ScriptError { line: first, why };
    let mut rest = text;
    let with_nhcb = word(&mut rest) == "load_with_nhcb";
    let step_ms = duration(word(&mut rest)).map_err(here)?;
    if !rest.trim().is_empty() {
        return Err(here(format!("unexpected words behind the step: {:?}", rest.trim())));
    }
    let (mut series, mut pending) = (Vec::<SeriesLine>::new(), None);
    for (number, line) in body {
        let at = |why: String| ScriptError { line: *number, why };
        // Start timestamps stand in a line of their own before the samples that they belong to.
        if let Some(starts) = start_line(line) {
            if pending.replace(starts.map_err(at)?).is_some() {
                return Err(at("start timestamps without samples".to_string()));
            }
            continue;
        }
        let mut one = series_line(line).map_err(|why| at(format!("{why}{}", if_command(line))))?;
        if let Some((labels, starts)) = pending.take() {
            if labels != one.labels || starts.len() != one.points.len() {
                return Err(at("start timestamps do not fit the samples".to_string()));
            }
            one.starts = starts;
        }
        // Of two lines of one series the later one is it, as in Prometheus' runner.
        match series.iter_mut().find(|other| other.labels == one.labels) {
            Some(other) => *other = one,
            None => series.push(one),
        }
    }
    if pending.is_some() {
        return Err(here("start timestamps without samples".to_string()));
    }
    if with_nhcb {
        series.extend(nhcb::converted(&series).map_err(here)?);
    }
    Ok(Command::Load { step_ms, series, text: text.to_string() })
}

/// What may be wrong with a line of a `load` that is no series.
fn if_command(line: &str) -> &'static str {
    let mut rest = line;
    let first = word(&mut rest);
    match first.starts_with("eval") || ["clear", "load", "load_with_nhcb"].contains(&first) {
        true => ": a blank line ends a load",
        false => "",
    }
}

/// Takes the next word of `rest`.
fn word<'a>(rest: &mut &'a str) -> &'a str {
    let text = rest.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    *rest = &text[end..];
    &text[..end]
}

/// The first line of an eval.
fn eval(text: &str) -> Result<Eval, String> {
    let mut rest = text;
    let mut expect = Expect::default();
    match word(&mut rest) {
        "eval" => {}
        "eval_fail" => expect.fail = Some(TextTest::Any),
        "eval_warn" => expect.warn.push(TextTest::Any),
        "eval_info" => expect.info.push(TextTest::Any),
        "eval_ordered" => expect.ordered = true,
        other => return Err(format!("unknown command {other:?}")),
    }
    let times = match word(&mut rest) {
        "instant" => {
            if word(&mut rest) != "at" {
                return Err("at is expected".to_string());
            }
            EvalTimes::Instant { t_ms: duration(word(&mut rest))? }
        }
        "range" => {
            let [start_ms, end_ms, step_ms] = range(&mut rest)?;
            EvalTimes::Range { start_ms, end_ms, step_ms }
        }
        other => return Err(format!("unknown kind of eval {other:?}")),
    };
    Ok(Eval { expr: rest.trim().to_string(), times, expect })
}

/// Whether further lines may say what is expected.
#[derive(PartialEq, Eq)]
enum Rest {
    More,
    Nothing,
}

impl Eval {
    /// Takes what `line` says of what is expected.
    fn expects(&mut self, line: &str) -> Result<Rest, String> {
        let expect = &mut self.expect;
        if expect.fail.is_some()
            && let Some(message) = line.strip_prefix("expected_fail_message")
        {
            expect.fail = Some(TextTest::Exact(message.trim().to_string()));
            return Ok(Rest::Nothing);
        }
        if expect.fail.is_some()
            && let Some(pattern) = line.strip_prefix("expected_fail_regexp")
        {
            expect.fail = Some(TextTest::Regex(anywhere(pattern.trim())?));
            return Ok(Rest::Nothing);
        }
        if let Some(mut times) = line.strip_prefix("expect range vector") {
            let [start_ms, end_ms, step_ms] = range(&mut times)?;
            if !times.trim().is_empty() {
                return Err("expect range vector from a to b step c".to_string());
            }
            self.times = match self.times {
                // It is the window that ends there.
                EvalTimes::Instant { .. } => EvalTimes::Instant { t_ms: end_ms },
                EvalTimes::Range { .. } => EvalTimes::Range { start_ms, end_ms, step_ms },
            };
            expect.range_vector = Some((start_ms, step_ms));
            return Ok(Rest::More);
        }
        if line.split_whitespace().next() == Some("expect") {
            expect_line(line["expect".len()..].trim(), expect)?;
            return Ok(Rest::More);
        }
        if let Some(value) = parse_go_float(line) {
            expect.scalar = Some(value);
            return Ok(Rest::Nothing);
        }
        let series = series_line(line)?;
        let instant = matches!(self.times, EvalTimes::Instant { .. });
        if instant && series.points.len() > 1 && expect.range_vector.is_none() {
            return Err("several values at one time: `expect range vector from a to b step c` \
                        says of which"
                .to_string());
        }
        // Of two lines of one series the later one is it, as in Prometheus' runner.
        expect.series.retain(|other| other.labels != series.labels);
        expect.series.push(series);
        Ok(Rest::More)
    }
}

fn expect_line(text: &str, expect: &mut Expect) -> Result<(), String> {
    if let Some(quoted) = text.strip_prefix("string") {
        let quoted = quoted.trim();
        let quote = quoted.chars().next().filter(|c| ['"', '\'', '`'].contains(c));
        if quoted.len() < 2 || quote.is_none_or(|quote| !quoted.ends_with(quote)) {
            return Err(format!("not a quoted string: {quoted}"));
        }
        expect.string = Some(crate::syntax::unquote(quoted)?);
        return Ok(());
    }
    let mut rest = text;
    let kind = word(&mut rest);
    let rest = rest.trim();
    let test = match rest {
        "" => TextTest::Any,
        _ => match (rest.strip_prefix("msg:"), rest.strip_prefix("regex:")) {
            (Some(message), _) => TextTest::Exact(message.trim().to_string()),
            (_, Some(pattern)) => TextTest::Regex(anywhere(pattern.trim())?),
            _ => return Err(format!("unknown expectation {text:?}")),
        },
    };
    match kind {
        "fail" if expect.said("fail") => return Err("a second expect fail".to_string()),
        "fail" => expect.fail = Some(test),
        "warn" => expect.warn.push(test),
        "info" => expect.info.push(test),
        "no_warn" => expect.no_warn = true,
        "no_info" => expect.no_info = true,
        "ordered" => expect.ordered = true,
        other => return Err(format!("unknown expectation {other:?}")),
    }
    expect.said.push(kind.to_string());
    for (some, none) in [("warn", "no_warn"), ("info", "no_info")] {
        if expect.said(some) && expect.said(none) {
            return Err(format!("{some} and {none} are both expected"));
        }
    }
    Ok(())
}

/// A pattern that may match any part of a text.
fn anywhere(pattern: &str) -> Result<GoRegex, String> {
    GoRegex::new(&format!("(?s:.*)(?:{pattern})(?s:.*)")).map_err(|e| e.to_string())
}
