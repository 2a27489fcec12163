//! `PartialBatch` as bytes.

use std::sync::Arc;

use pando_model::{Histogram, Labels, ResetHint, SeriesKey, SeriesSamples, histogram::Span};
use prost::Message;
use rapidhash::RapidHashMap;

use super::messages::{BatchMessage, GroupMessage, HistogramMessage, NoteMessage, RawMessage};
use super::{DECODED_VALUES_MAX, WIRE_VERSION};
use crate::annotations::Note;
use crate::engine::bitmap::Bitmap;
use crate::engine::vector::StepVector;
use crate::error::QueryError;
use crate::fragment::{NoteSite, PartialBatch, PartialGroup, PartialState};

fn corrupt(why: impl Into<String>) -> QueryError {
    QueryError::Corrupt { what: "partial batch", why: why.into() }
}

impl PartialBatch {
    /// The batch as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut symbols = Symbols::default();
        let groups = self.groups.iter().map(|g| encode_group(g, &mut symbols)).collect();
        let mut axes: Vec<Arc<[i64]>> = Vec::new();
        let raw = self.raw.iter().map(|s| encode_raw(s, &mut symbols, &mut axes)).collect();
        let message = BatchMessage {
            version: WIRE_VERSION,
            symbols: symbols.texts,
            axes: axes.iter().map(|a| a.iter().flat_map(|t| t.to_le_bytes()).collect()).collect(),
            groups,
            raw,
            label_hashes: self.label_hashes.iter().flat_map(|h| h.to_le_bytes()).collect(),
            notes: self.notes.iter().map(encode_note).collect(),
        };
        message.encode_to_vec()
    }

    /// Reads a batch.
    ///
    /// # Errors
    /// `Unsupported` for another version or an unknown kind of state, `Corrupt` for what is no batch.
    pub fn decode(bytes: &[u8]) -> Result<Self, QueryError> {
        let message = BatchMessage::decode(bytes).map_err(|e| corrupt(e.to_string()))?;
        if message.version != WIRE_VERSION {
            return Err(QueryError::Unsupported {
                what: "partial batch",
                got: message.version.into(),
                known: WIRE_VERSION.into(),
            });
        }
        let decoded: usize = message.groups.iter().map(|g| g.steps as usize).sum();
        if decoded > DECODED_VALUES_MAX {
            return Err(corrupt(format!("values={decoded} values_max={DECODED_VALUES_MAX}")));
        }
        let symbols = message.symbols;
        let mut axes: Vec<Arc<[i64]>> = Vec::with_capacity(message.axes.len());
        for bytes in &message.axes {
            let axis: Vec<i64> = words(bytes)?.into_iter().map(i64::from_le_bytes).collect();
            if axis.windows(2).any(|w| w[0] >= w[1]) {
                return Err(corrupt("axis is not increasing"));
            }
            axes.push(axis.into());
        }
        let groups = message.groups.into_iter().map(|g| decode_group(g, &symbols));
        let raw = message.raw.into_iter().map(|r| decode_raw(r, &symbols, &axes));
        let hashes = words(&message.label_hashes)?;
        let notes = message.notes.into_iter().map(decode_note);
        Ok(PartialBatch {
            groups: groups.collect::<Result<_, _>>()?,
            raw: raw.collect::<Result<_, _>>()?,
            label_hashes: hashes.into_iter().map(u64::from_le_bytes).collect(),
            notes: notes.collect::<Result<_, _>>()?,
        })
    }
}

/// Texts of a batch, each once.
#[derive(Default)]
struct Symbols {
    texts: Vec<String>,
    numbers: RapidHashMap<String, u32>,
}

impl Symbols {
    fn labels(&mut self, labels: &Labels) -> Vec<u32> {
        labels.iter().flat_map(|(name, value)| [name, value]).map(|t| self.number(t)).collect()
    }

    fn number(&mut self, text: &str) -> u32 {
        if let Some(n) = self.numbers.get(text) {
            return *n;
        }
        let n = self.texts.len() as u32;
        self.texts.push(text.to_string());
        self.numbers.insert(text.to_string(), n);
        n
    }
}

fn decode_labels(numbers: &[u32], symbols: &[String]) -> Result<Labels, QueryError> {
    let texts: Option<Vec<&str>> =
        numbers.iter().map(|n| symbols.get(*n as usize).map(String::as_str)).collect();
    let texts = texts.ok_or_else(|| corrupt("unknown symbol"))?;
    if texts.len() % 2 != 0 {
        return Err(corrupt("a label without value"));
    }
    let pairs = texts.chunks_exact(2).map(|pair| (pair[0], pair[1]));
    Labels::from_sorted(pairs).ok_or_else(|| corrupt("labels are not sorted"))
}

fn words(bytes: &[u8]) -> Result<Vec<[u8; 8]>, QueryError> {
    let (words, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(corrupt(format!("bytes={} are no whole words", bytes.len())));
    }
    Ok(words.to_vec())
}

fn encode_bits(map: &Bitmap) -> Vec<u8> {
    map.words().iter().flat_map(|w| w.to_le_bytes()).collect()
}

fn decode_bits(bytes: &[u8], steps: usize) -> Result<Bitmap, QueryError> {
    let words = words(bytes)?.into_iter().map(u64::from_le_bytes).collect();
    Bitmap::from_words(words, steps).ok_or_else(|| corrupt("presence does not fit the steps"))
}

/// The values at the steps of `present`, in order.
fn encode_column(values: &[f64], present: &Bitmap) -> Vec<u8> {
    present.iter().flat_map(|i| values[i].to_le_bytes()).collect()
}

fn decode_column(bytes: &[u8], present: &Bitmap) -> Result<Vec<f64>, QueryError> {
    let words = words(bytes)?;
    if words.len() != present.count() {
        return Err(corrupt(format!("values={} present={}", words.len(), present.count())));
    }
    let mut out = vec![0.0; present.len()];
    for (i, word) in present.iter().zip(words) {
        out[i] = f64::from_le_bytes(word);
    }
    Ok(out)
}

fn encode_floats(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn decode_floats(bytes: &[u8]) -> Result<Vec<f64>, QueryError> {
    Ok(words(bytes)?.into_iter().map(f64::from_le_bytes).collect())
}

fn encode_group(group: &PartialGroup, symbols: &mut Symbols) -> GroupMessage {
    let mut message = GroupMessage {
        labels: symbols.labels(&group.labels),
        drop_name: group.drop_name,
        ..GroupMessage::default()
    };
    match &group.state {
        PartialState::Values(v) => {
            message.kind = 1;
            message.steps = v.values.len() as u32;
            message.present = encode_bits(&v.present);
            message.values = encode_column(&v.values, &v.present);
            message.histograms =
                v.histograms.iter().map(|(at, h)| encode_histogram(*at, h)).collect();
        }
        PartialState::Sum { sum, compensation, present } => {
            message.kind = 2;
            message.steps = sum.len() as u32;
            message.present = encode_bits(present);
            message.values = encode_column(sum, present);
            message.compensation = encode_column(compensation, present);
        }
        PartialState::Avg { value, compensation, count, incremental } => {
            let present = counted(count);
            message.kind = 3;
            message.steps = value.len() as u32;
            message.present = encode_bits(&present);
            message.values = encode_column(value, &present);
            message.compensation = encode_column(compensation, &present);
            message.count = encode_column(count, &present);
            message.incremental = encode_bits(incremental);
        }
        PartialState::Count { count } => {
            let present = counted(count);
            message.kind = 4;
            message.steps = count.len() as u32;
            message.present = encode_bits(&present);
            message.count = encode_column(count, &present);
        }
    }
    message
}

fn counted(count: &[f64]) -> Bitmap {
    let mut present = Bitmap::zeros(count.len());
    count.iter().enumerate().filter(|(_, n)| **n > 0.0).for_each(|(i, _)| present.set(i));
    present
}

fn decode_group(message: GroupMessage, symbols: &[String]) -> Result<PartialGroup, QueryError> {
    let labels = decode_labels(&message.labels, symbols)?;
    let steps = message.steps as usize;
    let present = decode_bits(&message.present, steps)?;
    let drop_name = message.drop_name;
    let state = match message.kind {
        1 => {
            let values = decode_column(&message.values, &present)?;
            let mut vector = StepVector::empty(labels.clone(), 0);
            vector.drop_name = drop_name;
            vector.values = values;
            vector.histograms = decode_histograms(message.histograms, steps)?;
            if vector.histograms.iter().any(|(at, _)| present.get(*at as usize)) {
                return Err(corrupt("a float and a histogram at one step"));
            }
            vector.present = present;
            PartialState::Values(vector)
        }
        2 => PartialState::Sum {
            sum: decode_column(&message.values, &present)?,
            compensation: decode_column(&message.compensation, &present)?,
            present,
        },
        3 => PartialState::Avg {
            value: decode_column(&message.values, &present)?,
            compensation: decode_column(&message.compensation, &present)?,
            count: decode_column(&message.count, &present)?,
            incremental: decode_bits(&message.incremental, steps)?,
        },
        4 => PartialState::Count { count: decode_column(&message.count, &present)? },
        other => {
            let (got, known) = (other.into(), 4);
            return Err(QueryError::Unsupported { what: "partial state", got, known });
        }
    };
    Ok(PartialGroup { labels, drop_name, state })
}

fn encode_raw(
    series: &SeriesSamples,
    symbols: &mut Symbols,
    axes: &mut Vec<Arc<[i64]>>,
) -> RawMessage {
    // Series of one scrape group follow each other, so the axis is one of the last few.
    let from = axes.len().saturating_sub(64);
    let known = axes[from..].iter().position(|a| Arc::ptr_eq(a, &series.axis));
    let axis = known.map_or(axes.len(), |at| from + at);
    if axis == axes.len() {
        axes.push(series.axis.clone());
    }
    RawMessage {
        labels: symbols.labels(&series.labels),
        key: series.key.0,
        axis: axis as u32,
        floats: encode_floats(&series.floats),
        histograms: series.histograms.iter().map(|(at, h)| encode_histogram(*at, h)).collect(),
        starts: series.starts.iter().flat_map(|t| t.to_le_bytes()).collect(),
    }
}

fn decode_raw(
    message: RawMessage,
    symbols: &[String],
    axes: &[Arc<[i64]>],
) -> Result<SeriesSamples, QueryError> {
    let labels = decode_labels(&message.labels, symbols)?;
    let axis = axes.get(message.axis as usize).ok_or_else(|| corrupt("unknown axis"))?.clone();
    let floats = decode_floats(&message.floats)?;
    let starts: Vec<i64> = words(&message.starts)?.into_iter().map(i64::from_le_bytes).collect();
    if floats.len() != axis.len() || (!starts.is_empty() && starts.len() != axis.len()) {
        return Err(corrupt(format!("floats={} axis={}", floats.len(), axis.len())));
    }
    let histograms = decode_histograms(message.histograms, axis.len())?;
    let (key, exemplars) = (SeriesKey(message.key), Vec::new());
    Ok(SeriesSamples { labels, key, axis, floats, histograms, starts, exemplars })
}

fn encode_histogram(at: u32, h: &Histogram) -> HistogramMessage {
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

fn decode_histograms(
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

/// Notes that executors make, with their wire numbers.
fn encode_note((site, note): &(NoteSite, Note)) -> NoteMessage {
    let (kind, text) = match note {
        Note::PossibleNonCounter(name) => (1, name),
        Note::MixedFloatsHistograms(name) => (2, name),
        Note::HistogramIgnoredInAggregation(op) => (3, op),
        Note::HistogramIgnoredInMixedRange(name) => (4, name),
        Note::InvalidQuantile(q) => (5, q),
        Note::StartTimeOverlap(name) => (20, name),
        // The frontend alone makes the others.
        _ => (0, &String::new()),
    };
    let site = match site {
        NoteSite::Function => 1,
        NoteSite::Aggregation => 2,
    };
    NoteMessage { site, kind, texts: vec![text.clone()] }
}

fn decode_note(message: NoteMessage) -> Result<(NoteSite, Note), QueryError> {
    let site = match message.site {
        1 => NoteSite::Function,
        _ => NoteSite::Aggregation,
    };
    let text = message.texts.into_iter().next().unwrap_or_default();
    let note = match message.kind {
        1 => Note::PossibleNonCounter(text),
        2 => Note::MixedFloatsHistograms(text),
        3 => Note::HistogramIgnoredInAggregation(text),
        4 => Note::HistogramIgnoredInMixedRange(text),
        5 => Note::InvalidQuantile(text),
        20 => Note::StartTimeOverlap(text),
        other => {
            let (got, known) = (other.into(), 20);
            return Err(QueryError::Unsupported { what: "note", got, known });
        }
    };
    Ok((site, note))
}
