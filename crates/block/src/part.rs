//! `SeriesPart`: what one row of a block holds of one series, its samples still encoded.
//!
//! A reader that joins parts of several blocks decodes them one after the other into one column, where it needs them
//! and on the thread that works with them.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use pando_codec::CodecError;
use pando_codec::series_chunk::Parts;
use pando_model::{Labels, SeriesKey, SeriesSamples};

use crate::axes::Axis;
use crate::error::BlockError;
use crate::schema::Fixed;
use crate::series::on_axis;
use crate::view::SharedBytes;

/// One series in one slice of a block, as far as a scan wants it. Cloning shares the bytes.
#[derive(Clone, Debug)]
pub struct SeriesPart {
    pub(crate) labels: Labels,
    pub(crate) key: SeriesKey,
    pub(crate) axis: Arc<Axis>,
    /// Whether no float is a stale marker, or lower than the one before it, as the row's header says.
    pub(crate) steady: bool,
    pub(crate) floats: Bytes,
    /// Where the row holds more than floats.
    pub(crate) other: Option<Box<OtherParts>>,
}

/// What few rows hold.
#[derive(Clone, Debug)]
pub(crate) struct OtherParts {
    pub(crate) histograms: Option<Bytes>,
    pub(crate) starts: Option<Bytes>,
    pub(crate) exemplars: Option<Bytes>,
}

impl OtherParts {
    /// Row `row` of the three columns; `None` where it has none of them.
    pub(crate) fn of(columns: [&SharedBytes<'_>; 3], row: usize) -> Option<Box<Self>> {
        let [histograms, starts, exemplars] = columns.map(|column| column.get(row));
        let any = histograms.is_some() || starts.is_some() || exemplars.is_some();
        any.then(|| Box::new(OtherParts { histograms, starts, exemplars }))
    }
}

impl SeriesPart {
    /// Bytes of its values, encoded.
    pub fn encoded_bytes(&self) -> usize {
        let others = self.other.iter().flat_map(|other| {
            [&other.histograms, &other.starts, &other.exemplars].into_iter().flatten()
        });
        self.floats.len() + others.map(Bytes::len).sum::<usize>()
    }

    /// The series.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The series' key.
    pub fn key(&self) -> SeriesKey {
        self.key
    }

    /// The times of the samples, ms, rising. Parts that were scraped together share one axis.
    pub fn axis(&self) -> &Arc<[i64]> {
        &self.axis.wanted
    }

    /// The number of samples.
    pub fn len(&self) -> usize {
        self.axis.wanted.len()
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.axis.wanted.is_empty()
    }

    /// Whether there is nothing but floats.
    pub fn is_plain(&self) -> bool {
        self.parts().is_plain()
    }

    /// Whether none of its floats is a stale marker, or lower than the one before it; false where that is not known.
    pub fn is_steady(&self) -> bool {
        self.steady
    }

    /// Appends the floats of a plain part, one per time of [`SeriesPart::axis`]. Whether all of them are one value;
    /// false where that is not known.
    ///
    /// # Errors
    /// The bytes are not what a row holds; then `out` is as it was.
    pub fn push_floats(&self, out: &mut Vec<f64>) -> Result<bool, BlockError> {
        let (before, Range { start, end }) = (out.len(), self.axis.at.clone());
        let pushed = self.parts().push_floats(self.axis.full.len(), out);
        let constant = pushed.map_err(|source| self.damaged(source))?;
        out.truncate(before + end);
        out.drain(before..before + start);
        Ok(constant)
    }

    /// All samples, decoded.
    ///
    /// # Errors
    /// The bytes are not what a row holds.
    pub fn decode(&self) -> Result<SeriesSamples, BlockError> {
        let axis = &self.axis;
        let decoded = self.parts().decode(self.labels.clone(), self.key, axis.full.clone());
        let mut samples = decoded.map_err(|source| self.damaged(source))?;
        if axis.at != (0..axis.full.len()) {
            let exemplars = std::mem::take(&mut samples.exemplars);
            samples = on_axis(&samples, axis.at.clone(), axis.wanted.clone());
            samples.exemplars = exemplars;
        }
        if let Some(time) = axis.time {
            samples.exemplars.retain(|e| time.contains(e.timestamp_ms));
        }
        Ok(samples)
    }

    fn parts(&self) -> Parts<'_> {
        let other = self.other.as_deref();
        Parts {
            floats: &self.floats,
            histograms: other.and_then(|other| other.histograms.as_deref()),
            starts: other.and_then(|other| other.starts.as_deref()),
            exemplars: other.and_then(|other| other.exemplars.as_deref()),
        }
    }

    fn damaged(&self, source: CodecError) -> BlockError {
        BlockError::Value {
            block: self.axis.block,
            series: self.labels.to_string(),
            column: Fixed::Values.name(),
            source,
        }
    }
}
