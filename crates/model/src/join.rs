//! Joining parts of one series that lie apart in time: rows of one block, blocks of one shard, a block and the live
//! generation after it. Series that were scraped together have the same axes in every part, so the joined axis is
//! made once and shared, too.

use std::collections::HashMap;
use std::sync::Arc;

use rapidhash::fast::RandomState;

use crate::series::SeriesSamples;

/// What is remembered, in bytes. Then everything is forgotten; axes in use live on.
const BYTES_MAX: usize = 8 << 20;
/// What one remembered axis takes beside its times and its parts' addresses: an entry of the table, heap blocks.
const ENTRY_BYTES: usize = 128;

/// Axes that are several others in a row; some MiB of them are remembered.
#[derive(Default)]
pub struct JoinedAxes {
    /// By the addresses of the parts.
    known: HashMap<Vec<usize>, Joined, RandomState>,
    bytes: usize,
}

/// A joined axis; it keeps its parts, so that their addresses stay theirs.
struct Joined {
    _parts: Vec<Arc<[i64]>>,
    axis: Arc<[i64]>,
}

impl JoinedAxes {
    /// One axis with the times of `parts`, one after the other: the same one for the same parts.
    pub fn join(&mut self, parts: Vec<Arc<[i64]>>) -> Arc<[i64]> {
        let address: Vec<usize> = parts.iter().map(|p| p.as_ptr().addr()).collect();
        if let Some(joined) = self.known.get(&address) {
            return joined.axis.clone();
        }
        let axis: Arc<[i64]> = parts.iter().flat_map(|p| p.iter().copied()).collect();
        if self.bytes > BYTES_MAX {
            self.known.clear();
            self.bytes = 0;
        }
        // The parts are kept as well.
        self.bytes += ENTRY_BYTES + axis.len() * 16 + parts.len() * 64;
        self.known.insert(address, Joined { _parts: parts, axis: axis.clone() });
        axis
    }
}

impl SeriesSamples {
    /// [`SeriesSamples::merge`]; where the parts lie apart in time, as they mostly do, without a look at the samples
    /// and with an axis that equal parts share. `None` where there are no parts.
    pub fn join(mut parts: Vec<SeriesSamples>, axes: &mut JoinedAxes) -> Option<SeriesSamples> {
        while parts.len() > 1 && parts.iter().any(SeriesSamples::is_empty) {
            let empty = parts.iter().position(SeriesSamples::is_empty)?;
            let exemplars = parts.remove(empty).exemplars;
            parts.first_mut()?.exemplars.extend(exemplars);
        }
        parts.sort_by_key(|p| p.axis.first().copied());
        let apart = parts.windows(2).all(|w| w[0].axis.last() < w[1].axis.first());
        if parts.len() < 2 || !apart {
            return SeriesSamples::merge(parts);
        }
        let axis = axes.join(parts.iter().map(|p| p.axis.clone()).collect());
        let has_starts = parts.iter().any(|p| !p.starts.is_empty());
        let mut parts = parts.into_iter();
        let mut all = parts.next()?;
        let mut len = all.axis.len();
        all.floats.reserve_exact(axis.len() - len);
        let known = |starts: &mut Vec<i64>, len: usize| {
            if has_starts {
                starts.resize(len, 0);
            }
        };
        known(&mut all.starts, len);
        for part in parts {
            all.floats.extend_from_slice(&part.floats);
            all.histograms.extend(part.histograms.into_iter().map(|(at, h)| (at + len as u32, h)));
            len += part.axis.len();
            all.starts.extend(part.starts);
            known(&mut all.starts, len);
            all.exemplars.extend(part.exemplars);
        }
        all.exemplars.sort_by_key(|e| e.timestamp_ms);
        all.exemplars.dedup();
        all.axis = axis;
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Histogram, Labels, SampleValue, SeriesKey};

    fn part(from: i64, starts: bool) -> SeriesSamples {
        let values = [
            (from, SampleValue::Float(from as f64)),
            (from + 1, SampleValue::Histogram(Arc::new(Histogram::default()))),
            (from + 2, SampleValue::Float(0.5)),
        ];
        let mut part = SeriesSamples::from_values(Labels::empty(), SeriesKey(0), values);
        part.starts = if starts { vec![from, from, 0] } else { Vec::new() };
        part
    }

    #[test]
    fn joining_is_merging() {
        let none = SeriesSamples::from_values(Labels::empty(), SeriesKey(0), []);
        for parts in [
            vec![part(10, true), none.clone(), part(0, false), part(20, false)],
            vec![part(10, false), part(0, false)],
            vec![part(10, false), part(11, true)],
            vec![none.clone(), none.clone()],
            vec![part(3, true)],
        ] {
            let merged = SeriesSamples::merge(parts.clone()).expect("parts");
            let joined = SeriesSamples::join(parts, &mut JoinedAxes::default()).expect("parts");
            assert_eq!(format!("{joined:?}"), format!("{merged:?}"));
        }
    }

    #[test]
    fn equal_parts_share_one_axis() {
        let (a, b): (Arc<[i64]>, Arc<[i64]>) = (vec![2, 3].into(), vec![7, 8].into());
        let mut axes = JoinedAxes::default();
        let one = axes.join(vec![a.clone(), b.clone()]);
        assert_eq!(*one, [2, 3, 7, 8]);
        assert!(Arc::ptr_eq(&one, &axes.join(vec![a.clone(), b])));
        assert!(!Arc::ptr_eq(&one, &axes.join(vec![a])));
    }
}
