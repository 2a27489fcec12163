//! Series lines: `metric{a="b"} 0+10x5 _x2 stale {{schema:0 count:1}}`.

use std::sync::Arc;

use pando_model::duration::parse_duration;
use pando_model::number::parse_go_float;
use pando_model::{Histogram, Labels, STALE_NAN, SampleValue};

use super::histogram;
use crate::engine::histogram::{HistogramSum, Incompatible};

/// The most values of one line: scripts are written by hand.
const POINTS_MAX: usize = 10_000_000;

/// A value of a sequence; `None` where it is omitted (`_`).
pub(super) type Point = Option<SampleValue>;

/// A start timestamp relative to its sample's own time, ms; `None` where it is unknown.
pub(super) type Start = Option<i64>;

/// A series of a `load`, or an expected one.
pub(super) struct SeriesLine {
    pub(super) labels: Labels,
    pub(super) points: Vec<Point>,
    /// Whether counter reset hints are written, so that an unknown one is expected to be so.
    pub(super) hints: bool,
    /// One per point, or none at all.
    pub(super) starts: Vec<Start>,
}

/// Labels and start timestamps of a line `metric{a="b"}@st _ -30s-1mx2`; `None` for any other line.
pub(super) fn start_line(line: &str) -> Option<Result<(Labels, Vec<Start>), String>> {
    // A label's value may hold the same letters, a sequence never does.
    let at = line.rfind("@st ")?;
    let rest = line[at + "@st ".len()..].trim();
    if rest.contains(['"', '{', '\'']) {
        return None;
    }
    let labels = crate::syntax::parse_series(&line[..at]).map_err(|e| e.to_string());
    Some(labels.and_then(|(labels, _)| Ok((labels, starts(rest)?))))
}

fn starts(text: &str) -> Result<Vec<Start>, String> {
    let mut out = Vec::new();
    for item in text.split_whitespace() {
        let wrong = |why: &str| format!("{why}: item={item:?}");
        let (body, times) = split_times(item).map_err(wrong)?;
        if out.len().saturating_add(times) > POINTS_MAX {
            return Err(wrong("too many repetitions"));
        }
        if body == "_" {
            out.extend(std::iter::repeat_n(None, times.max(1)));
            continue;
        }
        let sign = body.char_indices().skip(1).find(|(_, c)| matches!(c, '+' | '-'));
        let (first, step) = sign.map_or((body, "0"), |(at, _)| body.split_at(at));
        let (first, step) = (signed(first).map_err(wrong)?, signed(step).map_err(wrong)?);
        let later = |i: usize| first.saturating_add(step.saturating_mul(i as i64));
        out.extend((0..=times).map(|i| Some(later(i))));
    }
    Ok(out)
}

fn signed(text: &str) -> Result<i64, &'static str> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    parse_duration(digits).map(|ms| sign * ms).map_err(|_| "not a duration")
}

/// Reads a series line: its labels and values.
pub(super) fn series_line(line: &str) -> Result<SeriesLine, String> {
    let (labels, end) = crate::syntax::parse_series(line).map_err(|e| e.to_string())?;
    let hints = line[end..].contains("counter_reset_hint");
    Ok(SeriesLine { labels, points: points(&line[end..])?, hints, starts: Vec::new() })
}

/// Reads a sequence of values.
pub(super) fn points(text: &str) -> Result<Vec<Point>, String> {
    let mut out = Vec::new();
    for item in items(text) {
        push_item(item, &mut out).map_err(|why| format!("{why}: item={item:?}"))?;
        if out.len() > POINTS_MAX {
            return Err(format!("too many values: points_max={POINTS_MAX}"));
        }
    }
    Ok(out)
}

/// Items are parted by blanks, but not within `{{ }}`.
fn items(text: &str) -> Vec<&str> {
    let (mut out, mut start, mut inside) = (Vec::new(), None, false);
    let bytes = text.as_bytes();
    for (i, b) in bytes.iter().enumerate() {
        let pair = |c: u8| *b == c && bytes.get(i + 1) == Some(&c);
        if pair(b'{') {
            inside = true;
        } else if pair(b'}') {
            inside = false;
        }
        let blank = b.is_ascii_whitespace() && !inside;
        match (start, blank) {
            (None, false) => start = Some(i),
            (Some(from), true) => {
                out.push(&text[from..i]);
                start = None;
            }
            _ => {}
        }
    }
    out.extend(start.map(|from| &text[from..]));
    out
}

fn push_item(item: &str, out: &mut Vec<Point>) -> Result<(), &'static str> {
    let (body, times) = split_times(item)?;
    if times > POINTS_MAX {
        return Err("too many repetitions");
    }
    match body {
        "_" => out.extend(std::iter::repeat_n(None, times.max(1))),
        "stale" => {
            out.extend(std::iter::repeat_n(Some(SampleValue::Float(STALE_NAN)), times + 1));
        }
        _ if body.starts_with("{{") => push_histograms(body, times, out)?,
        _ => push_floats(body, times, out)?,
    }
    Ok(())
}

/// `body x n`; no `x` is 0 more times.
fn split_times(item: &str) -> Result<(&str, usize), &'static str> {
    let tail = item.rfind('x').filter(|at| !item[*at..].contains('}'));
    let Some(at) = tail else { return Ok((item, 0)) };
    match item[at + 1..].parse() {
        Ok(times) => Ok((&item[..at], times)),
        Err(_) => Err("a number is expected behind x"),
    }
}

fn push_floats(body: &str, times: usize, out: &mut Vec<Point>) -> Result<(), &'static str> {
    let bytes = body.as_bytes();
    // The sign of the increment: not the first byte, and not that of an exponent.
    let sign = (1..bytes.len()).find(|i| {
        matches!(bytes[*i], b'+' | b'-') && !matches!(bytes[i - 1], b'e' | b'E' | b'+' | b'-')
    });
    let number = |text: &str| parse_go_float(&text.replace('_', "")).ok_or("not a number");
    let (first, step) = match sign {
        Some(at) => (number(&body[..at])?, number(&body[at..])?),
        None => (number(body)?, 0.0),
    };
    let mut value = first;
    for i in 0..=times {
        if i > 0 {
            value += step;
        }
        out.push(Some(SampleValue::Float(value)));
    }
    Ok(())
}

fn push_histograms(body: &str, times: usize, out: &mut Vec<Point>) -> Result<(), &'static str> {
    let end = body.find("}}").ok_or("unclosed histogram")? + 2;
    let first = histogram::parse(&body[2..end - 2])?;
    let rest = &body[end..];
    let step = match rest.get(..1) {
        None => None,
        Some(sign @ ("+" | "-")) => {
            let inner = rest[1..].strip_prefix("{{").and_then(|r| r.strip_suffix("}}"));
            let step = histogram::parse(inner.ok_or("a histogram is expected")?)?;
            Some((step, if sign == "-" { -1.0 } else { 1.0 }))
        }
        Some(_) => return Err("garbage behind a histogram"),
    };
    let mut value: Histogram = first;
    for i in 0..=times {
        if let (Some((step, sign)), true) = (&step, i > 0) {
            value = next(&value, step, *sign)?;
        }
        out.push(Some(SampleValue::Histogram(Arc::new(value.clone()))));
    }
    Ok(())
}

/// `value` and one more `step`, added or subtracted.
fn next(value: &Histogram, step: &Histogram, sign: f64) -> Result<Histogram, &'static str> {
    let mut sum = HistogramSum::of(value);
    let added = if sign < 0.0 { sum.subtract(step) } else { sum.add(step) };
    match added {
        Ok(_) => Ok(sum.finish()),
        Err(Incompatible) => Err("exponential and custom buckets do not add up"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_timestamps_unfold() {
        let line = start_line(r#"m{a="@st "}@st _ -30s-1mx2 _x2 0-1msx1 +5ms"#);
        let (labels, starts) = line.expect("a line of starts").expect("which is right");
        assert_eq!(labels.to_string(), r#"{__name__="m", a="@st "}"#);
        let wanted = [i64::MIN, -30_000, -90_000, -150_000, i64::MIN, i64::MIN, 0, -1, 5];
        assert_eq!(starts, wanted.map(|ms| (ms != i64::MIN).then_some(ms)));
        assert!(start_line(r#"m{a="@st "} 1 2"#).is_none());
        assert!(start_line("m@st 1 x").expect("a line of starts").is_err());
    }

    #[test]
    fn sequences_unfold() {
        let SeriesLine { labels, points: values, .. } =
            series_line(r#"m{a="x y"} 1 2x1 _x2 1-2x2 -1e-1+1x1 stale"#).expect("a line");
        assert_eq!(labels.to_string(), r#"{__name__="m", a="x y"}"#);
        let floats: Vec<Option<f64>> = values
            .iter()
            .map(|p| match p {
                Some(SampleValue::Float(v)) => Some(*v),
                _ => None,
            })
            .collect();
        assert_eq!(
            floats[..10],
            [1.0, 2.0, 2.0, f64::NAN, f64::NAN, 1.0, -1.0, -3.0, -0.1, 0.9]
                .map(|v: f64| (!v.is_nan()).then_some(v))
        );
        assert!(values[10].as_ref().is_some_and(SampleValue::is_stale));
        let histograms = series_line("{} {{schema:1 buckets:[1 2]}}+{{count:1}}x2").expect("h");
        assert_eq!((histograms.points.len(), histograms.hints), (3, false));
    }
}
