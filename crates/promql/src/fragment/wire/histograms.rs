//! Histograms and their partial sums in batches.
//!
//! ```text
//! histogram  place, hint, schema, 4 scalars, spans, counts, custom bounds
//! sum        place, flags, number of histograms, hint, schema, threshold,
//!            3 scalars with compensation, spans, counts with compensation, custom bounds
//! ```

use std::sync::Arc;

use pando_model::{Histogram, ResetHint, histogram::Span};

use super::batch::{corrupt, decode_floats, encode_floats};
use super::messages::{GroupMessage, HistogramMessage, HistogramSumMessage};
use crate::engine::aggregate::{HistogramColumn, HistogramFlags};
use crate::engine::histogram::{HistogramMean, HistogramSum};
use crate::engine::kahan::Kahan;
use crate::error::QueryError;

pub(super) fn encode_histogram(at: u32, h: &Histogram) -> HistogramMessage {
    let spans = |spans: &[Span]| {
        spans.iter().flat_map(|s| [i64::from(s.offset), i64::from(s.length)]).collect()
    };
    HistogramMessage {
        at,
        integer: h.integer,
        reset_hint: h.reset_hint as u32,
        schema: h.schema,
        scalars: encode_floats(&[h.zero_threshold, h.zero_count, h.count, h.sum]),
        positive_spans: spans(&h.positive_spans),
        negative_spans: spans(&h.negative_spans),
        positive_buckets: encode_floats(&h.positive_buckets),
        negative_buckets: encode_floats(&h.negative_buckets),
        custom_values: encode_floats(&h.custom_values),
    }
}

pub(super) fn decode_histograms(
    messages: Vec<HistogramMessage>,
    places: usize,
) -> Result<Vec<(u32, Arc<Histogram>)>, QueryError> {
    let mut out: Vec<(u32, Arc<Histogram>)> = Vec::with_capacity(messages.len());
    for message in messages {
        let at = message.at;
        if at as usize >= places || out.last().is_some_and(|(last, _)| *last >= at) {
            return Err(corrupt(format!("histogram at={at} places={places}")));
        }
        out.push((at, Arc::new(decode_histogram(message)?)));
    }
    Ok(out)
}

fn decode_histogram(message: HistogramMessage) -> Result<Histogram, QueryError> {
    let scalars = decode_floats(&message.scalars)?;
    let [zero_threshold, zero_count, count, sum] = scalars[..] else {
        return Err(corrupt(format!("histogram scalars={}", scalars.len())));
    };
    let (positive_spans, positive) = decode_spans(&message.positive_spans)?;
    let (negative_spans, negative) = decode_spans(&message.negative_spans)?;
    let positive_buckets = decode_floats(&message.positive_buckets)?;
    let negative_buckets = decode_floats(&message.negative_buckets)?;
    if positive != positive_buckets.len() as u64 || negative != negative_buckets.len() as u64 {
        return Err(corrupt("spans and buckets differ"));
    }
    Ok(Histogram {
        integer: message.integer,
        reset_hint: ResetHint::from_number(message.reset_hint),
        schema: message.schema,
        zero_threshold,
        zero_count,
        count,
        sum,
        positive_spans,
        negative_spans,
        positive_buckets,
        negative_buckets,
        custom_values: decode_floats(&message.custom_values)?,
    })
}

/// The spans, and how many buckets they name.
fn decode_spans(numbers: &[i64]) -> Result<(Vec<Span>, u64), QueryError> {
    let (pairs, rest) = numbers.as_chunks::<2>();
    let mut buckets = 0u64;
    let mut spans = Vec::with_capacity(pairs.len());
    for [offset, length] in pairs {
        let span = i32::try_from(*offset).ok().zip(u32::try_from(*length).ok());
        let (offset, length) = span.ok_or_else(|| corrupt("span out of range"))?;
        buckets += u64::from(length);
        spans.push(Span { offset, length });
    }
    if !rest.is_empty() {
        return Err(corrupt("half a span"));
    }
    Ok((spans, buckets))
}

/// Puts the partial sums of a group into its message: one for each layout of each step.
pub(super) fn encode_column_of_histograms(column: &HistogramColumn, message: &mut GroupMessage) {
    message.histogram_name.clone_from(&column.name);
    for (at, state) in &column.states {
        let sums = state.layouts.iter().map(|mean| encode_mean(*at, mean, state.flags));
        message.histogram_sums.extend(sums);
    }
}

/// The partial sums of a group.
pub(super) fn decode_column_of_histograms(
    name: String,
    messages: Vec<HistogramSumMessage>,
    steps: usize,
) -> Result<HistogramColumn, QueryError> {
    let mut column = HistogramColumn { name, ..HistogramColumn::default() };
    for message in messages {
        let at = message.at;
        if at as usize >= steps || column.last_step().is_some_and(|last| last > at) {
            return Err(corrupt(format!("histogram sum at={at} steps={steps}")));
        }
        let state = column.states.entry(at).or_default();
        state.flags = decode_flags(message.flags);
        state.layouts.push(decode_mean(message)?);
    }
    Ok(column)
}

const INCREMENTAL: u32 = 1;
const INCOMPATIBLE: u32 = 2;
const RECONCILED: u32 = 4;
const RESET: u32 = 8;
const NOT_RESET: u32 = 16;

fn encode_mean(at: u32, mean: &HistogramMean, flags: HistogramFlags) -> HistogramSumMessage {
    let flag = |set: bool, flag: u32| if set { flag } else { 0 };
    let sum = &mean.sum;
    let scalars = [sum.zero_count, sum.count, sum.sum];
    HistogramSumMessage {
        at,
        flags: flag(mean.incremental, INCREMENTAL)
            | flag(flags.incompatible, INCOMPATIBLE)
            | flag(flags.reconciled, RECONCILED)
            | flag(flags.reset, RESET)
            | flag(flags.not_reset, NOT_RESET),
        count: mean.count,
        reset_hint: sum.hint as u32,
        schema: sum.schema,
        zero_threshold: sum.zero_threshold,
        scalars: encode_floats(&scalars.map(|k| [k.sum, k.compensation]).concat()),
        positive_spans: encode_indexes(&sum.positive),
        negative_spans: encode_indexes(&sum.negative),
        positive_buckets: encode_cells(&sum.positive),
        negative_buckets: encode_cells(&sum.negative),
        custom_values: encode_floats(&sum.custom_values),
    }
}

fn decode_flags(flags: u32) -> HistogramFlags {
    let has = |flag: u32| flags & flag != 0;
    HistogramFlags {
        incompatible: has(INCOMPATIBLE),
        reconciled: has(RECONCILED),
        reset: has(RESET),
        not_reset: has(NOT_RESET),
    }
}

fn decode_mean(message: HistogramSumMessage) -> Result<HistogramMean, QueryError> {
    let scalars = decode_floats(&message.scalars)?;
    let ([zero_count, count, sum], []) = kahans(&scalars) else {
        return Err(corrupt(format!("histogram sum scalars={}", scalars.len())));
    };
    let sum = HistogramSum {
        hint: ResetHint::from_number(message.reset_hint),
        schema: message.schema,
        custom_values: decode_floats(&message.custom_values)?,
        zero_threshold: message.zero_threshold,
        zero_count: kahan(zero_count),
        count: kahan(count),
        sum: kahan(sum),
        positive: decode_cells(&message.positive_spans, &message.positive_buckets)?,
        negative: decode_cells(&message.negative_spans, &message.negative_buckets)?,
    };
    if !sum.is_sound() {
        return Err(corrupt("histogram sum with buckets that it cannot have"));
    }
    Ok(HistogramMean { sum, count: message.count, incremental: message.flags & INCREMENTAL != 0 })
}

/// Sums and what they lost, by turns.
fn kahans(floats: &[f64]) -> (&[[f64; 2]], &[f64]) {
    floats.as_chunks::<2>()
}

fn kahan([sum, compensation]: &[f64; 2]) -> Kahan {
    Kahan { sum: *sum, compensation: *compensation }
}

fn encode_cells(cells: &[(i32, Kahan)]) -> Vec<u8> {
    let numbers: Vec<f64> =
        cells.iter().flat_map(|(_, kahan)| [kahan.sum, kahan.compensation]).collect();
    encode_floats(&numbers)
}

/// The indexes of cells as spans: offset, length, offset, length ...
fn encode_indexes(cells: &[(i32, Kahan)]) -> Vec<i64> {
    let (mut out, mut end): (Vec<i64>, i64) = (Vec::new(), 0);
    for (index, _) in cells {
        let index = i64::from(*index);
        match out.last_mut() {
            Some(length) if index == end => *length += 1,
            _ => out.extend([index - end, 1]),
        }
        end = index + 1;
    }
    out
}

fn decode_cells(spans: &[i64], counts: &[u8]) -> Result<Vec<(i32, Kahan)>, QueryError> {
    let (spans, named) = decode_spans(spans)?;
    let floats = decode_floats(counts)?;
    let (counts, []) = kahans(&floats) else { return Err(corrupt("half a histogram sum")) };
    if named != counts.len() as u64 {
        return Err(corrupt("spans and sums differ"));
    }
    let (mut out, mut index, mut counts) = (Vec::with_capacity(counts.len()), 0i64, counts.iter());
    for span in spans {
        index += i64::from(span.offset);
        for count in counts.by_ref().take(span.length as usize) {
            let at = i32::try_from(index).map_err(|_| corrupt("bucket out of range"))?;
            out.push((at, kahan(count)));
            index += 1;
        }
    }
    Ok(out)
}
