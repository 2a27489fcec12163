//! Histograms of scripts: `schema:1 sum:-0.3 count:3.1 z_bucket:7.1 buckets:[1 2] offset:-3`.

use std::collections::BTreeMap;

use pando_model::histogram::Span;
use pando_model::number::{go_float, parse_go_float};
use pando_model::{Histogram, ResetHint};

use crate::engine::histogram::{cells, text};

/// Reads what stands between the double braces.
pub(super) fn parse(text: &str) -> Result<Histogram, &'static str> {
    let mut h = Histogram::default();
    let (mut offset, mut n_offset) = (0, 0);
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, after) = rest.split_once(':').ok_or("a colon is missing in a histogram")?;
        let after = after.trim_start();
        let end = match after.starts_with('[') {
            true => after.find(']').ok_or("an unclosed bracket in a histogram")? + 1,
            false => after.find(char::is_whitespace).unwrap_or(after.len()),
        };
        let value = &after[..end];
        let number = || parse_go_float(value).ok_or("not a number in a histogram");
        let list = || {
            let inner = value.trim_matches(['[', ']']);
            let numbers = inner.split_whitespace().map(parse_go_float).collect::<Option<Vec<_>>>();
            numbers.ok_or("not a number in a histogram's list")
        };
        let integer = || value.parse::<i32>().map_err(|_| "not an integer in a histogram");
        match key.trim() {
            "schema" => h.schema = integer()?,
            "sum" => h.sum = number()?,
            "count" => h.count = number()?,
            "z_bucket" => h.zero_count = number()?,
            "z_bucket_w" => h.zero_threshold = number()?,
            "buckets" => h.positive_buckets = list()?,
            "n_buckets" => h.negative_buckets = list()?,
            "offset" => offset = integer()?,
            "n_offset" => n_offset = integer()?,
            "custom_values" => h.custom_values = list()?,
            "counter_reset_hint" => {
                h.reset_hint = match value {
                    "unknown" => ResetHint::Unknown,
                    "reset" => ResetHint::Reset,
                    "not_reset" => ResetHint::NotReset,
                    "gauge" => ResetHint::Gauge,
                    _ => return Err("unknown counter_reset_hint"),
                };
            }
            _ => return Err("unknown field of a histogram"),
        }
        rest = after[end..].trim_start();
    }
    let span = |offset: i32, buckets: &[f64]| match buckets.len() {
        0 => Vec::new(),
        n => vec![Span { offset, length: n as u32 }],
    };
    h.positive_spans = span(offset, &h.positive_buckets);
    h.negative_spans = span(n_offset, &h.negative_buckets);
    Ok(h)
}

/// All of `h` that is compared, with its hint if that is.
pub(super) fn described(h: &Histogram, hint: bool) -> String {
    let mut out = text(h);
    out.push_str(&format!(" schema:{} zero_threshold:{}", h.schema, go_float(h.zero_threshold)));
    if h.uses_custom_buckets() {
        let bounds: Vec<String> = h.custom_values.iter().copied().map(go_float).collect();
        out.push_str(&format!(" custom_values:[{}]", bounds.join(" ")));
    }
    if hint {
        out.push_str(match h.reset_hint {
            ResetHint::Unknown => " counter_reset_hint:unknown",
            ResetHint::Reset => " counter_reset_hint:reset",
            ResetHint::NotReset => " counter_reset_hint:not_reset",
            ResetHint::Gauge => " counter_reset_hint:gauge",
        });
    }
    out
}

/// The buckets that are not empty, by index.
pub(super) fn buckets(spans: &[Span], counts: &[f64]) -> BTreeMap<i32, f64> {
    cells(spans, counts).filter(|(_, count)| *count != 0.0).collect()
}
