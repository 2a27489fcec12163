//! Histograms of scripts: `schema:1 sum:-0.3 count:3.1 z_bucket:7.1 buckets:[1 2] offset:-3`.

use std::collections::BTreeMap;

use pando_model::histogram::Span;
use pando_model::number::parse_go_float;
use pando_model::{Histogram, ResetHint};

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

/// The buckets that are not empty, by index.
pub(super) fn buckets(spans: &[Span], counts: &[f64]) -> BTreeMap<i32, f64> {
    let (mut out, mut index, mut counts) = (BTreeMap::new(), 0i32, counts.iter());
    for span in spans {
        index = index.saturating_add(span.offset);
        for _ in 0..span.length {
            if let Some(count) = counts.next().filter(|c| **c != 0.0) {
                out.insert(index, *count);
            }
            index = index.saturating_add(1);
        }
    }
    out
}

/// [`buckets`] of an exponential schema, merged into those of the coarser schema `to`.
fn coarser(spans: &[Span], counts: &[f64], from: i32, to: i32) -> BTreeMap<i32, f64> {
    let halvings = from.saturating_sub(to).clamp(0, 31);
    let mut out = BTreeMap::new();
    for (i, count) in buckets(spans, counts) {
        *out.entry(((i - 1) >> halvings) + 1).or_default() += count;
    }
    out
}

/// `a + sign * b`, in the coarser of two exponential schemas; custom buckets must be the same.
pub(super) fn add(a: &Histogram, b: &Histogram, sign: f64) -> Option<Histogram> {
    if a.uses_custom_buckets() != b.uses_custom_buckets() || a.custom_values != b.custom_values {
        return None;
    }
    let mut out = a.clone();
    out.schema = a.schema.min(b.schema);
    let schema = out.schema;
    out.count += sign * b.count;
    out.sum += sign * b.sum;
    out.zero_count += sign * b.zero_count;
    let join = |spans: &[Span], counts: &[f64], more_spans: &[Span], more: &[f64]| {
        let mut all = coarser(spans, counts, a.schema, schema);
        for (i, count) in coarser(more_spans, more, b.schema, schema) {
            *all.entry(i).or_default() += sign * count;
        }
        let (Some(first), Some(last)) =
            (all.keys().next().copied(), all.keys().next_back().copied())
        else {
            return (Vec::new(), Vec::new());
        };
        let counts: Vec<f64> =
            (first..=last).map(|i| all.get(&i).copied().unwrap_or(0.0)).collect();
        (vec![Span { offset: first, length: counts.len() as u32 }], counts)
    };
    (out.positive_spans, out.positive_buckets) =
        join(&a.positive_spans, &a.positive_buckets, &b.positive_spans, &b.positive_buckets);
    (out.negative_spans, out.negative_buckets) =
        join(&a.negative_spans, &a.negative_buckets, &b.negative_spans, &b.negative_buckets);
    Some(out)
}
