//! `PartialBatch` as bytes.

use std::sync::Arc;

use pando_model::{Labels, SeriesKey, SeriesSamples};
use prost::Message;
use rapidhash::RapidHashMap;

use super::histograms::{
    decode_column_of_histograms, decode_histograms, encode_column_of_histograms, encode_histogram,
};
use super::messages::{BatchMessage, GroupMessage, RawMessage};
use super::notes;
use super::{DECODED_LABEL_BYTES_MAX, DECODED_VALUES_MAX, WIRE_VERSION};
use crate::engine::bitmap::Bitmap;
use crate::engine::vector::StepVector;
use crate::error::QueryError;
use crate::fragment::{LabelHash, NoteSite, PartialBatch, PartialGroup, PartialState};

pub(super) fn corrupt(why: impl Into<String>) -> QueryError {
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
            version: self.wire_version(),
            symbols: symbols.texts,
            axes: axes.iter().map(|a| le_words(a.iter().map(|t| t.to_le_bytes()))).collect(),
            groups,
            raw,
            label_hashes: le_words(self.label_hashes.iter().map(|h| h.nameless.to_le_bytes())),
            series_hashes: le_words(self.label_hashes.iter().map(|h| h.series.to_le_bytes())),
            notes: self.notes.iter().map(notes::encode).collect(),
            step_samples: self.step_samples.clone(),
        };
        message.encode_to_vec()
    }

    /// The version of its message: the lowest that has all that it says.
    fn wire_version(&self) -> u32 {
        let sums = |group: &PartialGroup| match &group.state {
            PartialState::Sum { histograms, .. } | PartialState::Avg { histograms, .. } => {
                !histograms.is_empty()
            }
            _ => false,
        };
        let new_notes = self.notes.iter().any(|(_, note)| notes::is_of_version_two(note));
        let of_version_three = |group: &PartialGroup| {
            group.aggregation > 0 || matches!(group.state, PartialState::Spread { .. })
        };
        let later = |site: &NoteSite| matches!(site, NoteSite::Aggregation(1..));
        let three = self.groups.iter().any(of_version_three);
        if three || self.notes.iter().any(|(site, _)| later(site)) {
            3
        } else if new_notes || self.groups.iter().any(sums) {
            2
        } else {
            1
        }
    }

    /// Reads a batch.
    ///
    /// # Errors
    /// `Unsupported` for another version or an unknown kind of state, `Corrupt` for what is no batch.
    pub fn decode(bytes: &[u8]) -> Result<Self, QueryError> {
        let message = BatchMessage::decode(bytes).map_err(|e| corrupt(e.to_string()))?;
        if !(1..=WIRE_VERSION).contains(&message.version) {
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
        let mut texts = Texts { symbols: message.symbols, bytes: 0 };
        let mut axes: Vec<Arc<[i64]>> = Vec::with_capacity(message.axes.len());
        for bytes in &message.axes {
            let axis: Vec<i64> = words(bytes)?.into_iter().map(i64::from_le_bytes).collect();
            if axis.windows(2).any(|w| w[0] >= w[1]) {
                return Err(corrupt("axis is not increasing"));
            }
            axes.push(axis.into());
        }
        let groups = message.groups.into_iter().map(|g| decode_group(g, &mut texts));
        let groups = groups.collect::<Result<_, _>>()?;
        let raw = message.raw.into_iter().map(|r| decode_raw(r, &mut texts, &axes));
        let raw = raw.collect::<Result<_, _>>()?;
        let notes = message.notes.into_iter().map(notes::decode);
        Ok(PartialBatch {
            groups,
            raw,
            label_hashes: decode_hashes(&message.label_hashes, &message.series_hashes)?,
            notes: notes.collect::<Result<_, _>>()?,
            step_samples: message.step_samples,
        })
    }
}

fn decode_hashes(nameless: &[u8], series: &[u8]) -> Result<Vec<LabelHash>, QueryError> {
    let (nameless, mut series) = (words(nameless)?, words(series)?);
    if series.is_empty() {
        series = vec![[0; 8]; nameless.len()];
    }
    if series.len() != nameless.len() {
        let why = format!("label_hashes={} series_hashes={}", nameless.len(), series.len());
        return Err(corrupt(why));
    }
    let hash = |(nameless, series)| LabelHash {
        nameless: u64::from_le_bytes(nameless),
        series: u64::from_le_bytes(series),
    };
    Ok(nameless.into_iter().zip(series).map(hash).collect())
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

/// The texts of a batch that is decoded.
struct Texts {
    symbols: Vec<String>,
    /// What the labels so far have taken.
    bytes: usize,
}

impl Texts {
    fn labels(&mut self, numbers: &[u32]) -> Result<Labels, QueryError> {
        let texts: Option<Vec<&str>> =
            numbers.iter().map(|n| self.symbols.get(*n as usize).map(String::as_str)).collect();
        let texts = texts.ok_or_else(|| corrupt("unknown symbol"))?;
        if texts.len() % 2 != 0 {
            return Err(corrupt("a label without value"));
        }
        self.bytes += texts.iter().map(|text| text.len()).sum::<usize>();
        if self.bytes > DECODED_LABEL_BYTES_MAX {
            let bytes = self.bytes;
            return Err(corrupt(format!(
                "label_bytes={bytes} label_bytes_max={DECODED_LABEL_BYTES_MAX}"
            )));
        }
        let pairs = texts.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        Labels::from_sorted(pairs).ok_or_else(|| corrupt("labels are not sorted"))
    }
}

/// The bytes of `words`, one after the other.
fn le_words(words: impl ExactSizeIterator<Item = [u8; 8]>) -> Vec<u8> {
    let mut out = vec![0; words.len() * 8];
    out.as_chunks_mut::<8>().0.iter_mut().zip(words).for_each(|(place, word)| *place = word);
    out
}

pub(super) fn words(bytes: &[u8]) -> Result<Vec<[u8; 8]>, QueryError> {
    let (words, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(corrupt(format!("bytes={} are no whole words", bytes.len())));
    }
    Ok(words.to_vec())
}

fn encode_bits(map: &Bitmap) -> Vec<u8> {
    le_words(map.words().iter().map(|w| w.to_le_bytes()))
}

fn decode_bits(bytes: &[u8], steps: usize) -> Result<Bitmap, QueryError> {
    let words = words(bytes)?.into_iter().map(u64::from_le_bytes).collect();
    Bitmap::from_words(words, steps).ok_or_else(|| corrupt("presence does not fit the steps"))
}

/// The values at the steps of `present`, in order.
fn encode_column(values: &[f64], present: &Bitmap) -> Vec<u8> {
    let count = present.count();
    if count == values.len() {
        return le_words(values.iter().map(|v| v.to_le_bytes()));
    }
    let mut out = Vec::with_capacity(count * 8);
    present.iter().for_each(|i| out.extend_from_slice(&values[i].to_le_bytes()));
    out
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

pub(super) fn encode_floats(values: &[f64]) -> Vec<u8> {
    le_words(values.iter().map(|v| v.to_le_bytes()))
}

pub(super) fn decode_floats(bytes: &[u8]) -> Result<Vec<f64>, QueryError> {
    Ok(words(bytes)?.into_iter().map(f64::from_le_bytes).collect())
}

fn encode_group(group: &PartialGroup, symbols: &mut Symbols) -> GroupMessage {
    let mut message = GroupMessage {
        aggregation: group.aggregation,
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
        PartialState::Sum { sum, compensation, present, histograms } => {
            message.kind = 2;
            message.steps = sum.len() as u32;
            message.present = encode_bits(present);
            message.values = encode_column(sum, present);
            message.compensation = encode_column(compensation, present);
            encode_column_of_histograms(histograms, &mut message);
        }
        PartialState::Avg { value, compensation, count, incremental, histograms } => {
            let present = counted(count);
            message.kind = 3;
            message.steps = value.len() as u32;
            message.present = encode_bits(&present);
            message.values = encode_column(value, &present);
            message.compensation = encode_column(compensation, &present);
            message.count = encode_column(count, &present);
            message.incremental = encode_bits(incremental);
            encode_column_of_histograms(histograms, &mut message);
        }
        PartialState::Count { count } => {
            let present = counted(count);
            message.kind = 4;
            message.steps = count.len() as u32;
            message.present = encode_bits(&present);
            message.count = encode_column(count, &present);
        }
        PartialState::Spread { mean, squares, count } => {
            let present = counted(count);
            message.kind = 5;
            message.steps = count.len() as u32;
            message.present = encode_bits(&present);
            message.values = encode_column(mean, &present);
            message.compensation = encode_column(squares, &present);
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

fn decode_group(message: GroupMessage, texts: &mut Texts) -> Result<PartialGroup, QueryError> {
    let labels = texts.labels(&message.labels)?;
    let steps = message.steps as usize;
    let present = decode_bits(&message.present, steps)?;
    let drop_name = message.drop_name;
    let name = message.histogram_name;
    let histograms = decode_column_of_histograms(name, message.histogram_sums, steps)?;
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
            histograms,
        },
        3 => PartialState::Avg {
            value: decode_column(&message.values, &present)?,
            compensation: decode_column(&message.compensation, &present)?,
            count: decode_column(&message.count, &present)?,
            incremental: decode_bits(&message.incremental, steps)?,
            histograms,
        },
        4 => PartialState::Count { count: decode_column(&message.count, &present)? },
        5 => PartialState::Spread {
            mean: decode_column(&message.values, &present)?,
            squares: decode_column(&message.compensation, &present)?,
            count: decode_column(&message.count, &present)?,
        },
        other => {
            let (got, known) = (other.into(), 5);
            return Err(QueryError::Unsupported { what: "partial state", got, known });
        }
    };
    Ok(PartialGroup { aggregation: message.aggregation, labels, drop_name, state })
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
        starts: le_words(series.starts.iter().map(|t| t.to_le_bytes())),
    }
}

fn decode_raw(
    message: RawMessage,
    texts: &mut Texts,
    axes: &[Arc<[i64]>],
) -> Result<SeriesSamples, QueryError> {
    let labels = texts.labels(&message.labels)?;
    let axis = axes.get(message.axis as usize).ok_or_else(|| corrupt("unknown axis"))?.clone();
    let floats = decode_floats(&message.floats)?;
    let starts: Vec<i64> = words(&message.starts)?.into_iter().map(i64::from_le_bytes).collect();
    if floats.len() != axis.len() {
        return Err(corrupt(format!("floats={} axis={}", floats.len(), axis.len())));
    }
    if !starts.is_empty() && starts.len() != axis.len() {
        return Err(corrupt(format!("starts={} axis={}", starts.len(), axis.len())));
    }
    let histograms = decode_histograms(message.histograms, axis.len())?;
    let (key, exemplars) = (SeriesKey(message.key), Vec::new());
    Ok(SeriesSamples { labels, key, axis, floats, histograms, starts, exemplars })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A long text is sent once, and each group names it in a byte.
    #[test]
    fn a_batch_decodes_to_so_many_bytes_of_labels() {
        let text = "x".repeat(1 << 20);
        let group = || GroupMessage { labels: vec![0, 1], kind: 4, ..GroupMessage::default() };
        let sent = |groups: usize| BatchMessage {
            version: 1,
            symbols: vec!["a".to_string(), text.clone()],
            groups: (0..groups).map(|_| group()).collect(),
            ..BatchMessage::default()
        };
        let few = PartialBatch::decode(&sent(3).encode_to_vec()).expect("within");
        assert_eq!(few.groups.len(), 3);
        let error = PartialBatch::decode(&sent(64).encode_to_vec()).expect_err("too much");
        let text = "corrupt partial batch: label_bytes=67108928 label_bytes_max=67108864";
        assert_eq!(error.to_string(), text);
    }
}
