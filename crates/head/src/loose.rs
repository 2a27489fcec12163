//! `Loose`: samples of one series that do not fit its group's lane: late ones, histograms, frames of few.

use std::sync::Arc;

use pando_codec::axis::{decode_axis, encode_axis};
use pando_codec::floats::{decode_floats, encode_floats};
use pando_codec::histograms::{decode_histograms, encode_histograms};
use pando_codec::varint::{put_bytes, put_varint, put_zigzag};
use pando_codec::{CodecError, Reader};
use pando_model::{Histogram, SampleValue};

use crate::tile::BLOB_BYTES_MAX;

/// Open samples of a series; more are compressed.
const OPEN_MAX: usize = 16;

/// A sample with its start, ms, 0 for unknown.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LooseSample {
    pub(crate) t_ms: i64,
    pub(crate) value: SampleValue,
    pub(crate) start_ms: i64,
}

/// Samples of one series in one generation, all at distinct times.
#[derive(Debug, Default)]
pub(crate) struct Loose {
    /// Ascending times.
    open: Vec<LooseSample>,
    /// Each with its first and last time; they may overlap.
    sealed: Vec<(i64, i64, Box<[u8]>)>,
}

impl Loose {
    /// Adds a sample whose time is not there yet.
    pub(crate) fn push(&mut self, sample: LooseSample) {
        let at = self.open.partition_point(|other| other.t_ms < sample.t_ms);
        self.open.insert(at, sample);
        if self.open.len() >= OPEN_MAX {
            self.seal();
        }
    }

    /// Compresses the open samples.
    pub(crate) fn seal(&mut self) {
        if let (Some(first), Some(last)) = (self.open.first(), self.open.last()) {
            let (min_ms, max_ms) = (first.t_ms, last.t_ms);
            self.sealed.push((min_ms, max_ms, encode(&self.open).into()));
            self.open = Vec::new();
        }
    }

    /// The value at `t_ms`.
    pub(crate) fn lookup(&self, t_ms: i64) -> Result<Option<SampleValue>, CodecError> {
        if let Ok(at) = self.open.binary_search_by_key(&t_ms, |sample| sample.t_ms) {
            return Ok(Some(self.open[at].value.clone()));
        }
        for (min_ms, max_ms, bytes) in &self.sealed {
            if *min_ms <= t_ms && t_ms <= *max_ms {
                let found = decode(bytes)?.into_iter().find(|sample| sample.t_ms == t_ms);
                if let Some(sample) = found {
                    return Ok(Some(sample.value));
                }
            }
        }
        Ok(None)
    }

    /// Appends the samples from `min_ms` to `max_ms`, both included, in no order; chunks that touch the range
    /// are read whole.
    pub(crate) fn read(
        &self,
        (min_ms, max_ms): (i64, i64),
        out: &mut Vec<LooseSample>,
    ) -> Result<(), CodecError> {
        for (from, upto, bytes) in &self.sealed {
            if *from <= max_ms && min_ms <= *upto {
                out.extend(decode(bytes)?);
            }
        }
        out.extend_from_slice(&self.open);
        Ok(())
    }

    /// The number of encoded runs.
    pub(crate) fn chunks(&self) -> usize {
        self.sealed.len() + usize::from(!self.open.is_empty())
    }

    /// Bytes of heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        let histogram = |sample: &LooseSample| match &sample.value {
            SampleValue::Histogram(h) => {
                size_of::<Histogram>() + 8 * (h.positive_buckets.len() + h.negative_buckets.len())
            }
            SampleValue::Float(_) => 0,
        };
        self.open.capacity() * size_of::<LooseSample>()
            + self.open.iter().map(histogram).sum::<usize>()
            + self.sealed.iter().map(|(_, _, bytes)| bytes.len() + 48).sum::<usize>()
    }

    /// Appends the samples to a checkpoint.
    pub(crate) fn save(&self, out: &mut Vec<u8>) {
        put_bytes(out, &encode(&self.open));
        put_varint(out, self.sealed.len() as u64);
        for (min_ms, max_ms, bytes) in &self.sealed {
            put_zigzag(out, *min_ms);
            put_zigzag(out, *max_ms);
            put_bytes(out, bytes);
        }
    }

    /// Reads what [`Loose::save`] wrote.
    pub(crate) fn load(reader: &mut Reader<'_>) -> Result<Loose, CodecError> {
        let open = decode(reader.blob("chunk bytes", BLOB_BYTES_MAX)?)?;
        let mut sealed = Vec::new();
        for _ in 0..reader.count_of("chunks", u32::MAX as usize, 3)? {
            let (min_ms, max_ms) = (reader.zigzag()?, reader.zigzag()?);
            sealed.push((min_ms, max_ms, reader.blob("chunk bytes", BLOB_BYTES_MAX)?.into()));
        }
        Ok(Loose { open, sealed })
    }
}

/// Axis, floats, positions of histograms, histograms, starts: each behind its length.
fn encode(samples: &[LooseSample]) -> Vec<u8> {
    let times: Vec<i64> = samples.iter().map(|sample| sample.t_ms).collect();
    let (mut floats, mut positions, mut histograms) = (Vec::new(), Vec::new(), Vec::new());
    for (i, sample) in samples.iter().enumerate() {
        match &sample.value {
            SampleValue::Float(v) => floats.push(*v),
            SampleValue::Histogram(h) => {
                put_varint(&mut positions, i as u64);
                histograms.push(&**h);
            }
        }
    }
    let mut out = Vec::new();
    let mut blob = |fill: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        fill(&mut bytes);
        put_bytes(&mut out, &bytes);
    };
    blob(&|bytes| encode_axis(&times, bytes));
    blob(&|bytes| encode_floats(&floats, bytes));
    blob(&|bytes| bytes.extend_from_slice(&positions));
    blob(&|bytes| {
        if !histograms.is_empty() {
            encode_histograms(&histograms, bytes);
        }
    });
    blob(&|bytes| {
        if samples.iter().any(|sample| sample.start_ms != 0) {
            samples.iter().for_each(|sample| put_zigzag(bytes, sample.start_ms));
        }
    });
    out
}

fn decode(bytes: &[u8]) -> Result<Vec<LooseSample>, CodecError> {
    let mut reader = Reader::new("loose samples", bytes);
    let mut blob = || reader.blob("bytes", BLOB_BYTES_MAX);
    let times = decode_axis(blob()?)?;
    let mut floats = Vec::new();
    decode_floats(blob()?, &mut floats)?;
    let (mut positions, histograms) = (Reader::new("loose samples", blob()?), blob()?);
    let mut starts = Reader::new("loose samples", blob()?);
    let mut histograms = match histograms {
        [] => Vec::new(),
        bytes => decode_histograms(bytes)?,
    }
    .into_iter();
    let has_starts = !starts.is_empty();
    let mut floats = floats.into_iter();
    let mut next = if positions.is_empty() { None } else { Some(positions.varint()?) };
    let mut samples = Vec::with_capacity(times.len());
    for (i, t_ms) in times.into_iter().enumerate() {
        let value = if next == Some(i as u64) {
            next = if positions.is_empty() { None } else { Some(positions.varint()?) };
            histograms.next().map(|h| SampleValue::Histogram(Arc::new(h)))
        } else {
            floats.next().map(SampleValue::Float)
        };
        let value = value.ok_or_else(|| reader.malformed("times and values differ in number"))?;
        let start_ms = if has_starts { starts.zigzag()? } else { 0 };
        samples.push(LooseSample { t_ms, value, start_ms });
    }
    Ok(samples)
}
