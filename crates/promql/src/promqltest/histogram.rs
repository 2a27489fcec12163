//! Histograms of scripts: `schema:1 sum:-0.3 count:3.1 z_bucket:7.1 buckets:[1 2] offset:-3`.

use std::collections::BTreeMap;

use pando_model::histogram::Span;
use pando_model::number::parse_go_float;
use pando_model::{Histogram, ResetHint};

use crate::engine::histogram::cells;

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

/// What [`parse`] reads, with its braces: what is not said is zero.
pub(super) fn notation(h: &Histogram) -> String {
    let mut items = vec![format!("schema:{} count:{} sum:{}", h.schema, h.count, h.sum)];
    if h.zero_count != 0.0 || h.zero_threshold != 0.0 {
        items.push(format!("z_bucket:{} z_bucket_w:{}", h.zero_count, h.zero_threshold));
    }
    if h.uses_custom_buckets() {
        items.push(format!("custom_values:{}", list(&h.custom_values)));
    }
    let sides = [
        ("", &h.positive_spans, &h.positive_buckets),
        ("n_", &h.negative_spans, &h.negative_buckets),
    ];
    for (side, spans, counts) in sides {
        let counts = buckets(spans, counts);
        let (Some((&first, _)), Some((&last, _))) =
            (counts.first_key_value(), counts.last_key_value())
        else {
            continue;
        };
        let all: Vec<f64> =
            (first..=last).map(|index| counts.get(&index).copied().unwrap_or(0.0)).collect();
        items.push(format!("{side}offset:{first} {side}buckets:{}", list(&all)));
    }
    let hint = match h.reset_hint {
        ResetHint::Unknown => "unknown",
        ResetHint::Reset => "reset",
        ResetHint::NotReset => "not_reset",
        ResetHint::Gauge => "gauge",
    };
    items.push(format!("counter_reset_hint:{hint}"));
    format!("{{{{{}}}}}", items.join(" "))
}

fn list(numbers: &[f64]) -> String {
    let numbers: Vec<String> = numbers.iter().map(f64::to_string).collect();
    format!("[{}]", numbers.join(" "))
}

/// The buckets that are not empty, by index.
pub(super) fn buckets(spans: &[Span], counts: &[f64]) -> BTreeMap<i32, f64> {
    cells(spans, counts).filter(|(_, count)| *count != 0.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let texts = [
            "{{schema:0 count:0 sum:NaN counter_reset_hint:unknown}}",
            "{{schema:2 count:9.5 sum:-1 z_bucket:1 z_bucket_w:0.5 offset:-1 buckets:[1 0 2] n_offset:3 n_buckets:[4] counter_reset_hint:gauge}}",
            "{{schema:-53 count:3 sum:1 custom_values:[5 10] offset:1 buckets:[1 2] counter_reset_hint:not_reset}}",
        ];
        for text in texts {
            let h = parse(text.trim_matches(['{', '}'])).expect("a histogram");
            assert_eq!(notation(&h), text);
        }
    }
}
