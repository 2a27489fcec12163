//! Native histograms of both versions:
//!
//! ```text
//! Histogram  1 uint64 count | 2 double count  3 double sum  4 sint32 schema  5 double zero threshold
//!            6 uint64 zero count | 7 double zero count
//!            8 BucketSpan* negative  9 sint64 delta* | 10 double count*
//!            11 BucketSpan* positive  12 sint64 delta* | 13 double count*
//!            14 enum reset hint  15 int64 timestamp  16 double custom bound*  17 int64 start timestamp
//! BucketSpan 1 sint32 offset  2 uint32 length
//! ```
//!
//! Integer buckets travel as deltas; what is stored are absolute counts.

use std::sync::Arc;

use pando_model::histogram::{CUSTOM_BUCKETS_SCHEMA, SCHEMA_MAX, SCHEMA_MIN};
use pando_model::{Histogram, ResetHint, Span};

use super::error::{HistogramProblem, RemoteWriteError};
use super::request::HistogramSample;
use super::wire::{Budget, Field, Reader, zigzag};

type Result<T> = std::result::Result<T, RemoteWriteError>;
type Checked<T> = std::result::Result<T, HistogramProblem>;

/// The message as it stands on the wire.
#[derive(Default)]
struct Wire {
    count: Count,
    zero_count: Count,
    negative_deltas: Vec<i64>,
    positive_deltas: Vec<i64>,
    histogram: Histogram,
    timestamp_ms: i64,
    start_ms: i64,
}

#[derive(Clone, Copy)]
enum Count {
    Integer(u64),
    Float(f64),
}

impl Default for Count {
    fn default() -> Self {
        Count::Integer(0)
    }
}

impl Count {
    fn as_integer(self) -> u64 {
        match self {
            Count::Integer(count) => count,
            // Of the two kinds of count only one is read, as in Prometheus' getters.
            Count::Float(_) => 0,
        }
    }

    fn as_float(self) -> f64 {
        match self {
            Count::Integer(_) => 0.0,
            Count::Float(count) => count,
        }
    }
}

/// Reads a histogram. Faulty protobuf fails the request, a faulty histogram only itself.
pub(super) fn decode(mut reader: Reader<'_>, budget: &mut Budget) -> Result<HistogramSample> {
    let mut wire = Wire::default();
    while let Some((number, field)) = reader.next()? {
        wire.take(number, field, &reader, budget)?;
    }
    let (timestamp_ms, start_ms) = (wire.timestamp_ms, wire.start_ms);
    Ok(HistogramSample { timestamp_ms, start_ms, histogram: wire.histogram().map(Arc::new) })
}

impl Wire {
    fn take(
        &mut self,
        number: u32,
        field: Field<'_>,
        reader: &Reader<'_>,
        budget: &mut Budget,
    ) -> Result<()> {
        let h = &mut self.histogram;
        match number {
            1 => self.count = Count::Integer(reader.integer(field)?),
            2 => self.count = Count::Float(reader.double(field)?),
            3 => h.sum = reader.double(field)?,
            4 => h.schema = zigzag(reader.integer(field)?) as i32,
            5 => h.zero_threshold = reader.double(field)?,
            6 => self.zero_count = Count::Integer(reader.integer(field)?),
            7 => self.zero_count = Count::Float(reader.double(field)?),
            8 | 11 => {
                budget.take()?;
                let spans = if number == 8 { &mut h.negative_spans } else { &mut h.positive_spans };
                spans.push(span(reader.inner(field, "BucketSpan")?)?);
            }
            9 | 12 => {
                let deltas =
                    if number == 9 { &mut self.negative_deltas } else { &mut self.positive_deltas };
                reader.integers(field, |delta| {
                    deltas.push(zigzag(delta));
                    budget.take()
                })?;
            }
            10 | 13 | 16 => {
                let values = match number {
                    10 => &mut h.negative_buckets,
                    13 => &mut h.positive_buckets,
                    _ => &mut h.custom_values,
                };
                reader.doubles(field, |value| {
                    values.push(value);
                    budget.take()
                })?;
            }
            14 => {
                let hint = u32::try_from(reader.integer(field)?).unwrap_or_default();
                h.reset_hint = ResetHint::from_number(hint);
            }
            15 => self.timestamp_ms = reader.integer(field)? as i64,
            17 => self.start_ms = reader.integer(field)? as i64,
            _ => {}
        }
        Ok(())
    }

    fn histogram(self) -> Checked<Histogram> {
        let mut h = self.histogram;
        h.integer = matches!(self.count, Count::Integer(_));
        if h.integer {
            let (count, zero_count) = (self.count.as_integer(), self.zero_count.as_integer());
            let mut sum = u128::from(zero_count);
            h.negative_buckets = absolute(&self.negative_deltas, "negative side", &mut sum)?;
            h.positive_buckets = absolute(&self.positive_deltas, "positive side", &mut sum)?;
            (h.count, h.zero_count) = (count as f64, zero_count as f64);
            check_shape(&h)?;
            check_sum(sum, count, h.sum)?;
        } else {
            (h.count, h.zero_count) = (self.count.as_float(), self.zero_count.as_float());
            check(&h)?;
        }
        Ok(h)
    }
}

fn span(mut reader: Reader<'_>) -> Result<Span> {
    let mut span = Span { offset: 0, length: 0 };
    while let Some((number, field)) = reader.next()? {
        match number {
            1 => span.offset = zigzag(reader.integer(field)?) as i32,
            2 => span.length = reader.integer(field)? as u32,
            _ => {}
        }
    }
    Ok(span)
}

fn absolute(deltas: &[i64], place: &'static str, sum: &mut u128) -> Checked<Vec<f64>> {
    let mut counts = Vec::with_capacity(deltas.len());
    let mut count = 0i64;
    for delta in deltas {
        let next = count.checked_add(*delta).filter(|next| *next >= 0);
        count = next.ok_or(HistogramProblem::NegativeCount {
            place,
            count: count as f64 + *delta as f64,
        })?;
        *sum += count as u128;
        counts.push(count as f64);
    }
    Ok(counts)
}

/// Checks a histogram as Prometheus does before it stores one. Integer histograms above 2^53 observations
/// are compared as far as their floats go.
pub fn check(h: &Histogram) -> std::result::Result<(), HistogramProblem> {
    check_shape(h)?;
    for (place, buckets) in
        [("negative side", &h.negative_buckets), ("positive side", &h.positive_buckets)]
    {
        if let Some(count) = buckets.iter().find(|count| **count < 0.0) {
            return Err(HistogramProblem::NegativeCount { place, count: *count });
        }
    }
    for (place, count) in [("zero bucket", h.zero_count), ("histogram", h.count)] {
        if count < 0.0 {
            return Err(HistogramProblem::NegativeCount { place, count });
        }
    }
    if h.integer {
        let buckets = h.negative_buckets.iter().chain(&h.positive_buckets);
        let sum = buckets.fold(h.zero_count as u128, |sum, count| sum + *count as u128);
        check_sum(sum, h.count as u64, h.sum)?;
    }
    Ok(())
}

/// Where an observation was NaN it is in no bucket, and the sum says so.
fn check_sum(in_buckets: u128, count: u64, sum: f64) -> Checked<()> {
    let fits = match sum.is_nan() {
        true => in_buckets <= u128::from(count),
        false => in_buckets == u128::from(count),
    };
    if fits {
        return Ok(());
    }
    let sum = u64::try_from(in_buckets).unwrap_or(u64::MAX);
    Err(HistogramProblem::CountMismatch { sum, count })
}

fn check_shape(h: &Histogram) -> Checked<()> {
    match h.schema {
        CUSTOM_BUCKETS_SCHEMA => check_custom(h),
        SCHEMA_MIN..=SCHEMA_MAX => {
            if !h.custom_values.is_empty() {
                return Err(HistogramProblem::ExponentialWithBounds);
            }
            check_spans("positive side", &h.positive_spans, h.positive_buckets.len(), true)?;
            check_spans("negative side", &h.negative_spans, h.negative_buckets.len(), true)
        }
        schema => Err(HistogramProblem::Schema(schema)),
    }
}

fn check_custom(h: &Histogram) -> Checked<()> {
    for (present, what) in [
        (h.zero_count != 0.0, "a zero count"),
        (h.zero_threshold != 0.0, "a zero threshold"),
        (!h.negative_spans.is_empty(), "negative spans"),
        (!h.negative_buckets.is_empty(), "negative buckets"),
    ] {
        if present {
            return Err(HistogramProblem::CustomWith(what));
        }
    }
    if h.custom_values.iter().any(|bound| bound.is_nan()) {
        return Err(HistogramProblem::CustomBounds("a bound is NaN"));
    }
    if h.custom_values.windows(2).any(|pair| pair[1] <= pair[0]) {
        return Err(HistogramProblem::CustomBounds("bounds must rise"));
    }
    if h.custom_values.last() == Some(&f64::INFINITY) {
        return Err(HistogramProblem::CustomBounds("the last bound must not be +Inf"));
    }
    check_spans("custom buckets", &h.positive_spans, h.positive_buckets.len(), false)?;
    let reach: i64 =
        h.positive_spans.iter().map(|s| i64::from(s.offset) + i64::from(s.length)).sum();
    if reach > h.custom_values.len() as i64 + 1 {
        return Err(HistogramProblem::CustomBounds("too few bounds for the spans"));
    }
    Ok(())
}

fn check_spans(
    side: &'static str,
    spans: &[Span],
    buckets: usize,
    first_may_be_negative: bool,
) -> Checked<()> {
    let mut named = 0u64;
    for (at, span) in spans.iter().enumerate() {
        if span.offset < 0 && !(at == 0 && first_may_be_negative) {
            let (number, offset) = (at + 1, span.offset);
            return Err(HistogramProblem::NegativeOffset { side, number, offset });
        }
        named += u64::from(span.length);
    }
    if named != buckets as u64 {
        return Err(HistogramProblem::SpansMismatch { side, spans: named, buckets });
    }
    Ok(())
}
