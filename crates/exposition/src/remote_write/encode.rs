//! Requests encoded, as a sender would: for tests, load and write clients.

use std::collections::HashMap;

use pando_model::{Exemplar, Histogram, Labels, Metadata, Span};

use super::error::RemoteWriteError;
use super::request::FloatSample;

/// A series to encode.
#[derive(Clone, Copy, Debug)]
pub struct SeriesToWrite<'a> {
    /// The labels, the metric's name among them.
    pub labels: &'a Labels,
    /// Float samples; 1.0 leaves their starts out.
    pub samples: &'a [FloatSample],
    /// Histogram samples.
    pub histograms: &'a [HistogramToWrite<'a>],
    /// Exemplars.
    pub exemplars: &'a [Exemplar],
    /// Metadata; 1.0 leaves it out.
    pub metadata: Option<&'a Metadata>,
}

/// A histogram sample to encode.
#[derive(Clone, Copy, Debug)]
pub struct HistogramToWrite<'a> {
    /// Milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// When the series began, ms since the epoch; 0 for unknown. 1.0 leaves it out.
    pub start_ms: i64,
    /// The value.
    pub histogram: &'a Histogram,
}

/// A 1.0 request of `series` and of (family, metadata), compressed. Fails above 4 GiB only.
pub fn encode_v1(
    series: &[SeriesToWrite<'_>],
    metadata: &[(&str, &Metadata)],
) -> Result<Vec<u8>, RemoteWriteError> {
    let mut out = Vec::new();
    for one in series {
        message(&mut out, 1, |out| {
            labels_v1(out, one.labels);
            for sample in one.samples {
                float_sample(out, sample, false);
            }
            for exemplar in one.exemplars {
                message(out, 3, |out| {
                    labels_v1(out, &exemplar.labels);
                    double(out, 2, exemplar.value);
                    integer(out, 3, exemplar.timestamp_ms as u64);
                });
            }
            for sample in one.histograms {
                message(out, 4, |out| histogram(out, sample, false));
            }
        });
    }
    for (family, metadata) in metadata {
        message(&mut out, 3, |out| {
            integer(out, 1, metadata.metric_type as u64);
            text(out, 2, family);
            text(out, 4, &metadata.help);
            text(out, 5, &metadata.unit);
        });
    }
    compress(&out)
}

/// A 2.0 request of `series`, compressed. Fails above 4 GiB only.
pub fn encode_v2(series: &[SeriesToWrite<'_>]) -> Result<Vec<u8>, RemoteWriteError> {
    let mut symbols = SymbolTable::new();
    let mut timeseries = Vec::new();
    for one in series {
        message(&mut timeseries, 5, |out| {
            symbols.labels(out, one.labels);
            for sample in one.samples {
                float_sample(out, sample, true);
            }
            for sample in one.histograms {
                message(out, 3, |out| histogram(out, sample, true));
            }
            for exemplar in one.exemplars {
                message(out, 4, |out| {
                    symbols.labels(out, &exemplar.labels);
                    double(out, 2, exemplar.value);
                    integer(out, 3, exemplar.timestamp_ms as u64);
                });
            }
            if let Some(metadata) = one.metadata {
                let help = symbols.reference(&metadata.help);
                let unit = symbols.reference(&metadata.unit);
                message(out, 5, |out| {
                    integer(out, 1, metadata.metric_type as u64);
                    integer(out, 3, u64::from(help));
                    integer(out, 4, u64::from(unit));
                });
            }
        });
    }
    let mut out = Vec::new();
    for symbol in &symbols.symbols {
        tag(&mut out, 4, 2);
        varint(&mut out, symbol.len() as u64);
        out.extend_from_slice(symbol.as_bytes());
    }
    out.append(&mut timeseries);
    compress(&out)
}

fn compress(bytes: &[u8]) -> Result<Vec<u8>, RemoteWriteError> {
    let compressed = snap::raw::Encoder::new().compress_vec(bytes);
    compressed.map_err(|e| RemoteWriteError::Snappy(e.to_string()))
}

/// The strings of a request in the order of their first use. The first one is empty, as 2.0 demands.
struct SymbolTable {
    symbols: Vec<String>,
    references: HashMap<String, u32>,
}

impl SymbolTable {
    fn new() -> Self {
        SymbolTable {
            symbols: vec![String::new()],
            references: HashMap::from([(String::new(), 0)]),
        }
    }

    fn reference(&mut self, symbol: &str) -> u32 {
        if let Some(reference) = self.references.get(symbol) {
            return *reference;
        }
        let reference = self.symbols.len() as u32;
        self.symbols.push(symbol.to_string());
        self.references.insert(symbol.to_string(), reference);
        reference
    }

    fn labels(&mut self, out: &mut Vec<u8>, labels: &Labels) {
        message(out, 1, |out| {
            for (name, value) in labels {
                varint(out, u64::from(self.reference(name)));
                varint(out, u64::from(self.reference(value)));
            }
        });
    }
}

fn labels_v1(out: &mut Vec<u8>, labels: &Labels) {
    for (name, value) in labels {
        message(out, 1, |out| {
            text(out, 1, name);
            text(out, 2, value);
        });
    }
}

fn float_sample(out: &mut Vec<u8>, sample: &FloatSample, starts: bool) {
    message(out, 2, |out| {
        double(out, 1, sample.value);
        integer(out, 2, sample.timestamp_ms as u64);
        if starts {
            integer(out, 3, sample.start_ms as u64);
        }
    });
}

fn histogram(out: &mut Vec<u8>, sample: &HistogramToWrite<'_>, starts: bool) {
    let h = sample.histogram;
    // The counts are written even where they are 0: which of the two it is says what the histogram is.
    if h.integer {
        tag(out, 1, 0);
        varint(out, h.count as u64);
    } else {
        tag(out, 2, 1);
        out.extend(h.count.to_le_bytes());
    }
    double(out, 3, h.sum);
    integer(out, 4, zigzag(i64::from(h.schema)));
    double(out, 5, h.zero_threshold);
    if h.integer {
        integer(out, 6, h.zero_count as u64);
    } else {
        double(out, 7, h.zero_count);
    }
    buckets(out, 8, h.integer, &h.negative_spans, &h.negative_buckets);
    buckets(out, 11, h.integer, &h.positive_spans, &h.positive_buckets);
    integer(out, 14, h.reset_hint as u64);
    integer(out, 15, sample.timestamp_ms as u64);
    doubles(out, 16, &h.custom_values);
    if starts {
        integer(out, 17, sample.start_ms as u64);
    }
}

/// Spans in field `first`, deltas in the next one or counts in the one after it.
fn buckets(out: &mut Vec<u8>, first: u32, deltas: bool, spans: &[Span], counts: &[f64]) {
    for span in spans {
        message(out, first, |out| {
            integer(out, 1, zigzag(i64::from(span.offset)));
            integer(out, 2, u64::from(span.length));
        });
    }
    if !deltas {
        return doubles(out, first + 2, counts);
    }
    if !counts.is_empty() {
        message(out, first + 1, |out| {
            let mut before = 0i64;
            for count in counts {
                varint(out, zigzag((*count as i64).wrapping_sub(before)));
                before = *count as i64;
            }
        });
    }
}

fn doubles(out: &mut Vec<u8>, field: u32, values: &[f64]) {
    if !values.is_empty() {
        message(out, field, |out| values.iter().for_each(|v| out.extend(v.to_le_bytes())));
    }
}

/// A nested message: its length is known only when it is written, and is put in front of it then.
fn message(out: &mut Vec<u8>, field: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    tag(out, field, 2);
    let at = out.len();
    out.push(0);
    fill(out);
    let length = out.len() - at - 1;
    if length < 0x80 {
        out[at] = length as u8;
        return;
    }
    let mut prefix = Vec::with_capacity(5);
    varint(&mut prefix, length as u64);
    out.splice(at..=at, prefix);
}

fn text(out: &mut Vec<u8>, field: u32, text: &str) {
    if !text.is_empty() {
        tag(out, field, 2);
        varint(out, text.len() as u64);
        out.extend_from_slice(text.as_bytes());
    }
}

fn double(out: &mut Vec<u8>, field: u32, value: f64) {
    // Only +0 is the default that may be left out: -0 is another value.
    if value.to_bits() != 0 {
        tag(out, field, 1);
        out.extend(value.to_le_bytes());
    }
}

fn integer(out: &mut Vec<u8>, field: u32, value: u64) {
    if value != 0 {
        tag(out, field, 0);
        varint(out, value);
    }
}

fn tag(out: &mut Vec<u8>, field: u32, wire_type: u32) {
    varint(out, u64::from(field << 3 | wire_type));
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}
