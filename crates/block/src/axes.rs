//! `Axes`: decoded time axes of a scan, so that equal axes are decoded once and shared by one
//! `Arc`.
//!
//! The engine computes per axis what depends on times only; it finds shared axes by their `Arc`.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use pando_codec::CodecError;
use pando_codec::axis::{decode_axis, encode_axis};
use pando_model::{BlockId, JoinedAxes, TimeRange};
use rapidhash::fast::RandomState;

use crate::series::positions;

/// What is remembered: 1 Mi times, 8 MiB. Then everything is forgotten; axes in use live on.
const TIMES_MAX: usize = 1 << 20;

/// A decoded axis and the part of it that a scan wants.
#[derive(Debug)]
pub(crate) struct Axis {
    pub(crate) full: Arc<[i64]>,
    /// The positions of `wanted` in `full`.
    pub(crate) at: Range<usize>,
    pub(crate) wanted: Arc<[i64]>,
    /// The times that the scan wants; `None`: all.
    pub(crate) time: Option<TimeRange>,
    /// The block that is scanned.
    pub(crate) block: BlockId,
}

/// The axes of one scan of a block.
pub(crate) struct Axes {
    block: BlockId,
    /// The times that the scan wants; `None`: all.
    time: Option<TimeRange>,
    by_bytes: HashMap<Box<[u8]>, Arc<Axis>, RandomState>,
    pub(crate) joined: JoinedAxes,
    times: usize,
}

impl Axes {
    pub(crate) fn new(block: BlockId, time: Option<TimeRange>) -> Self {
        Axes { block, time, by_bytes: HashMap::default(), joined: JoinedAxes::default(), times: 0 }
    }

    /// The axis that `bytes` encode.
    pub(crate) fn decode(&mut self, bytes: &[u8]) -> Result<Arc<Axis>, CodecError> {
        if let Some(axis) = self.by_bytes.get(bytes) {
            return Ok(axis.clone());
        }
        let full: Arc<[i64]> = decode_axis(bytes)?.into();
        let at = self.time.map_or(0..full.len(), |time| positions(&full, time));
        let wanted =
            if at == (0..full.len()) { full.clone() } else { Arc::from(&full[at.clone()]) };
        let axis = Arc::new(Axis { full, at, wanted, time: self.time, block: self.block });
        self.remember(axis.full.len() + axis.wanted.len());
        self.by_bytes.insert(bytes.into(), axis.clone());
        Ok(axis)
    }

    fn remember(&mut self, times: usize) {
        if self.times > TIMES_MAX {
            self.by_bytes.clear();
            self.times = 0;
        }
        self.times += times;
    }
}

/// Encoded axes of a block under construction, so that an axis that series share is encoded once.
#[derive(Default)]
pub(crate) struct EncodedAxes {
    /// By address and positions of the axis, which is kept so that its address stays its own.
    known: HashMap<(usize, Range<usize>), EncodedAxis, RandomState>,
    times: usize,
}

struct EncodedAxis {
    _axis: Arc<[i64]>,
    bytes: Bytes,
}

impl EncodedAxes {
    /// The times of `axis` at `at`, encoded.
    pub(crate) fn encode(&mut self, axis: &Arc<[i64]>, at: Range<usize>) -> Bytes {
        let place = (axis.as_ptr().addr(), at.clone());
        if let Some(known) = self.known.get(&place) {
            return known.bytes.clone();
        }
        let mut bytes = Vec::new();
        encode_axis(&axis[at], &mut bytes);
        let bytes = Bytes::from(bytes);
        // An axis that nobody else holds will not come again.
        if Arc::strong_count(axis) > 1 {
            if self.times > TIMES_MAX {
                self.known.clear();
                self.times = 0;
            }
            self.times += axis.len();
            self.known.insert(place, EncodedAxis { _axis: axis.clone(), bytes: bytes.clone() });
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(times: &[i64]) -> Vec<u8> {
        let mut out = Vec::new();
        encode_axis(times, &mut out);
        out
    }

    #[test]
    fn equal_bytes_share_one_axis() {
        let mut axes = Axes::new(BlockId(1), Some(TimeRange { min_ms: 2, max_ms: 9 }));
        let a = bytes(&[1, 2, 3]);
        let first = axes.decode(&a).expect("an axis");
        assert_eq!((&*first.wanted, first.at.clone()), (&[2i64, 3][..], 1..3));
        assert!(Arc::ptr_eq(&first.wanted, &axes.decode(&a).expect("an axis").wanted));
    }
}
