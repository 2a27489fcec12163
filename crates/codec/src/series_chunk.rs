//! `Chunk`: the samples of one series in encoded parts, as block rows, the head and the wire carry
//! them.
//!
//! A chunk is five byte strings, each with its own version; whoever stores a chunk keeps them apart
//! (a block in columns, the wire in fields), so that equal axes meet and nothing is read that is
//! not wanted.
//!
//! ```text
//! axis        crate::axis         the times of all samples
//! floats      crate::floats       the float samples, in order
//! histograms  version:u8 = 1, runs:varint (floats:varint histograms:varint) ..., crate::histograms
//!             of the histogram samples; absent where there is none. A run says how many float samples
//!             come next and how many histogram samples then; after the last run all are floats
//! starts      crate::starts       one per sample; absent where none is known
//! exemplars   crate::exemplars    absent where there is none
//! ```
//!
//! A chunk does not hold the labels and the key of its series: they stand beside it.

use std::sync::Arc;

use bytes::Bytes;
use pando_model::{Histogram, Labels, SeriesKey, SeriesSamples};

use crate::axis::{decode_axis, encode_axis};
use crate::error::CodecError;
use crate::exemplars::{decode_exemplars, encode_exemplars};
use crate::floats::{decode_floats, encode_floats};
use crate::histograms::{decode_histograms, encode_histograms};
use crate::limits::{
    BUCKETS_PER_CHUNK_MAX, EXEMPLARS_PER_CHUNK_MAX, HISTOGRAMS_PER_CHUNK_MAX, SAMPLES_PER_CHUNK_MAX,
};
use crate::starts::{decode_starts, encode_starts};
use crate::varint::{Reader, put_varint};

#[cfg(test)]
mod tests;

const WHAT: &str = "chunk";
const HISTOGRAM_POSITIONS: &str = "histogram positions";
const VERSION: u8 = 1;

/// The samples of one series, encoded.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Chunk {
    /// The times of all samples.
    pub axis: Bytes,
    /// The float samples.
    pub floats: Bytes,
    /// Which samples are histograms, and these.
    pub histograms: Option<Bytes>,
    /// Start timestamps, one per sample.
    pub starts: Option<Bytes>,
    /// Exemplars.
    pub exemplars: Option<Bytes>,
}

/// The parts of a chunk but its axis, borrowed from wherever they are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parts<'a> {
    /// The float samples.
    pub floats: &'a [u8],
    /// Which samples are histograms, and these.
    pub histograms: Option<&'a [u8]>,
    /// Start timestamps, one per sample.
    pub starts: Option<&'a [u8]>,
    /// Exemplars.
    pub exemplars: Option<&'a [u8]>,
}

impl Chunk {
    /// Encodes `samples`. What [`check_limits`] refuses could not be decoded again.
    pub fn encode(samples: &SeriesSamples) -> Chunk {
        let mut axis = Vec::new();
        encode_axis(&samples.axis, &mut axis);
        Chunk::encode_with_axis(samples, axis.into())
    }

    /// Encodes `samples` whose axis is already encoded as `axis`: for series that share one.
    pub fn encode_with_axis(samples: &SeriesSamples, axis: Bytes) -> Chunk {
        let bytes = |fill: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            fill(&mut out);
            Bytes::from(out)
        };
        let optional = |wanted: bool, fill: &dyn Fn(&mut Vec<u8>)| wanted.then(|| bytes(fill));
        let known = samples.starts.iter().any(|start| *start != 0);
        Chunk {
            axis,
            floats: bytes(&|out| match samples.histograms.is_empty() {
                true => encode_floats(&samples.floats, out),
                false => encode_floats(&floats_only(samples), out),
            }),
            histograms: optional(!samples.histograms.is_empty(), &|out| {
                write_histograms(samples, out);
            }),
            starts: optional(known, &|out| encode_starts(&samples.starts, out)),
            exemplars: optional(!samples.exemplars.is_empty(), &|out| {
                encode_exemplars(&samples.exemplars, out);
            }),
        }
    }

    /// Decodes the chunk as samples of the series `labels` with `key`.
    pub fn decode(&self, labels: Labels, key: SeriesKey) -> Result<SeriesSamples, CodecError> {
        let axis = decode_axis(&self.axis)?;
        self.parts().decode(labels, key, axis.into())
    }

    /// The parts but the axis.
    pub fn parts(&self) -> Parts<'_> {
        Parts {
            floats: &self.floats,
            histograms: self.histograms.as_deref(),
            starts: self.starts.as_deref(),
            exemplars: self.exemplars.as_deref(),
        }
    }

    /// Encoded bytes of all parts.
    pub fn encoded_bytes(&self) -> usize {
        let optional = [&self.histograms, &self.starts, &self.exemplars];
        let optional: usize = optional.into_iter().flatten().map(Bytes::len).sum();
        self.axis.len() + self.floats.len() + optional
    }
}

impl Parts<'_> {
    /// Whether there is nothing but floats.
    pub fn is_plain(&self) -> bool {
        self.histograms.is_none() && self.starts.is_none() && self.exemplars.is_none()
    }

    /// Appends the floats of plain parts of `samples` samples; nothing is appended where there is an error. Whether
    /// all of them are one value, stored as a constant; false says nothing.
    pub fn push_floats(&self, samples: usize, out: &mut Vec<f64>) -> Result<bool, CodecError> {
        let before = out.len();
        let constant = decode_floats(self.floats, out)?;
        if out.len() - before != samples {
            out.truncate(before);
            return Err(Reader::new(WHAT, &[]).malformed("times and samples differ in number"));
        }
        Ok(constant)
    }

    /// Decodes the parts as samples of the series `labels` with `key` at the times of `axis`.
    pub fn decode(
        &self,
        labels: Labels,
        key: SeriesKey,
        axis: Arc<[i64]>,
    ) -> Result<SeriesSamples, CodecError> {
        let mut floats = Vec::new();
        decode_floats(self.floats, &mut floats)?;
        let mut histograms = Vec::new();
        if let Some(bytes) = self.histograms {
            histograms = read_histograms(bytes, axis.len())?;
            floats = spread(&floats, &histograms, axis.len())?;
        }
        let starts = self.starts.map_or(Ok(Vec::new()), decode_starts)?;
        if floats.len() != axis.len() || !(starts.is_empty() || starts.len() == axis.len()) {
            return Err(Reader::new(WHAT, &[]).malformed("times and samples differ in number"));
        }
        let exemplars = self.exemplars.map_or(Ok(Vec::new()), decode_exemplars)?;
        Ok(SeriesSamples { labels, key, axis, floats, histograms, starts, exemplars })
    }
}

/// Says whether `samples` fit one chunk: cut them where they do not.
pub fn check_limits(samples: &SeriesSamples) -> Result<(), CodecError> {
    let of = |h: &Histogram| {
        let buckets = h.positive_buckets.len() + h.negative_buckets.len();
        let spans = h.positive_spans.len() + h.negative_spans.len();
        buckets.max(spans) + h.custom_values.len()
    };
    let buckets: usize = samples.histograms.iter().map(|(_, h)| of(h)).sum();
    for (limit, found, max) in [
        ("samples", samples.len(), SAMPLES_PER_CHUNK_MAX),
        ("histograms", samples.histograms.len(), HISTOGRAMS_PER_CHUNK_MAX),
        ("buckets", buckets, BUCKETS_PER_CHUNK_MAX),
        ("exemplars", samples.exemplars.len(), EXEMPLARS_PER_CHUNK_MAX),
    ] {
        if found > max {
            let (found, max) = (found as u64, max as u64);
            return Err(CodecError::Limit { what: WHAT, limit, found, max });
        }
    }
    Ok(())
}

/// The values of the float samples.
fn floats_only(samples: &SeriesSamples) -> Vec<f64> {
    let mut histograms = samples.histograms.iter().map(|(at, _)| *at as usize).peekable();
    let values = samples.floats.iter().enumerate();
    values.filter(|(at, _)| histograms.next_if_eq(at).is_none()).map(|(_, v)| *v).collect()
}

/// Puts 0 where a sample is a histogram.
fn spread(
    floats: &[f64],
    histograms: &[(u32, Arc<Histogram>)],
    samples: usize,
) -> Result<Vec<f64>, CodecError> {
    if floats.len() + histograms.len() != samples {
        return Err(Reader::new(WHAT, &[]).malformed("times and samples differ in number"));
    }
    let mut all = Vec::with_capacity(samples);
    let mut rest = floats;
    for (at, _) in histograms {
        // Positions increase and are below `samples`, so this many floats are left.
        let (run, left) = rest.split_at((*at as usize - all.len()).min(rest.len()));
        all.extend_from_slice(run);
        all.push(0.0);
        rest = left;
    }
    all.extend_from_slice(rest);
    Ok(all)
}

fn write_histograms(samples: &SeriesSamples, out: &mut Vec<u8>) {
    let mut runs: Vec<(u32, u64)> = Vec::new();
    let mut next = 0;
    for (at, _) in &samples.histograms {
        match runs.last_mut() {
            Some((_, histograms)) if *at == next => *histograms += 1,
            _ => runs.push((at - next, 1)),
        }
        next = at + 1;
    }
    out.push(VERSION);
    put_varint(out, runs.len() as u64);
    for (floats, histograms) in runs {
        put_varint(out, u64::from(floats));
        put_varint(out, histograms);
    }
    let histograms: Vec<&Histogram> = samples.histograms.iter().map(|(_, h)| &**h).collect();
    encode_histograms(&histograms, out);
}

/// The histogram samples of a chunk of `samples`: positions increase and are below it.
fn read_histograms(bytes: &[u8], samples: usize) -> Result<Vec<(u32, Arc<Histogram>)>, CodecError> {
    let mut reader = Reader::new(HISTOGRAM_POSITIONS, bytes);
    reader.version(VERSION)?;
    let runs = reader.count_of("runs", samples, 2)?;
    let (mut positions, mut next) = (Vec::new(), 0usize);
    for _ in 0..runs {
        let first = next + reader.count("samples", samples)?;
        next = first + reader.count("samples", samples)?;
        if next > samples {
            return Err(reader.malformed("histogram beyond the axis"));
        }
        positions.extend(first as u32..next as u32);
    }
    let histograms = decode_histograms(reader.rest())?;
    if histograms.len() != positions.len() {
        return Err(reader.malformed("histograms and positions differ in number"));
    }
    Ok(positions.into_iter().zip(histograms.into_iter().map(Arc::new)).collect())
}
