//! `MergedSeries`: the series of several sources, each whole: samples of one series from several sources are
//! merged by their values alone, so that the order of sources does not matter (INV-3).
//!
//! What blocks hold stays encoded until [`SeriesParts::join`]: the thread that works with the samples decodes them,
//! series by series.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

use pando_block::SeriesPart;
use pando_model::{Histogram, JoinedAxes, Labels, SeriesKey, SeriesSamples};
use pando_promql::Course;

use crate::block_stream::BlockStream;
use crate::error::ExecuteError;
use crate::live::SeriesStream;

/// What one source has of a series.
pub(crate) enum Part {
    /// Of a live generation. Boxed, so that the many rows of blocks are small.
    Decoded(Box<SeriesSamples>),
    /// Of a block.
    Encoded(SeriesPart),
}

impl Part {
    fn labels(&self) -> &Labels {
        match self {
            Part::Decoded(series) => &series.labels,
            Part::Encoded(part) => part.labels(),
        }
    }

    fn key(&self) -> SeriesKey {
        match self {
            Part::Decoded(series) => series.key,
            Part::Encoded(part) => part.key(),
        }
    }

    fn axis(&self) -> &Arc<[i64]> {
        match self {
            Part::Decoded(series) => &series.axis,
            Part::Encoded(part) => part.axis(),
        }
    }

    fn is_plain(&self) -> bool {
        match self {
            Part::Decoded(series) => series.is_plain(),
            Part::Encoded(part) => part.is_plain(),
        }
    }

    fn is_steady(&self) -> bool {
        match self {
            Part::Decoded(_) => false,
            Part::Encoded(part) => part.is_steady(),
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Part::Decoded(series) => {
                let buckets = |h: &Histogram| {
                    h.positive_buckets.len() + h.negative_buckets.len() + h.custom_values.len()
                };
                let one = |h: &Histogram| size_of::<Histogram>() + 8 * buckets(h);
                let histograms = series.histograms.iter().map(|(_, h)| one(h)).sum::<usize>();
                (8 * (series.floats.len() + series.starts.len()) + histograms) as u64
            }
            Part::Encoded(part) => part.encoded_bytes() as u64,
        }
    }

    /// Appends its floats. Whether all of them are known to be one value.
    fn push_floats(&self, out: &mut Vec<f64>) -> Result<bool, ExecuteError> {
        match self {
            Part::Decoded(series) => {
                out.extend_from_slice(&series.floats);
                Ok(false)
            }
            Part::Encoded(part) => Ok(part.push_floats(out)?),
        }
    }

    fn decode(self) -> Result<SeriesSamples, ExecuteError> {
        Ok(match self {
            Part::Decoded(series) => *series,
            Part::Encoded(part) => part.decode()?,
        })
    }
}

/// One series with all that its sources have of it; never without parts.
pub(crate) struct SeriesParts(Vec<Part>);

impl SeriesParts {
    /// Samples of all parts.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|part| part.axis().len()).sum()
    }

    /// Bytes of all parts, as they are.
    fn bytes(&self) -> u64 {
        self.0.iter().map(Part::bytes).sum()
    }

    /// The series, decoded, and what its rows say of its floats. Series whose parts have the same axes get one.
    ///
    /// # Errors
    /// A part cannot be decoded.
    pub(crate) fn join(
        mut self,
        axes: &mut JoinedAxes,
    ) -> Result<Option<(SeriesSamples, Course)>, ExecuteError> {
        let parts = &mut self.0;
        parts.retain(|part| !part.axis().is_empty());
        parts.sort_by_key(|part| part.axis().first().copied());
        let apart = parts.windows(2).all(|w| w[0].axis().last() < w[1].axis().first());
        let Some(first) = parts.first().filter(|_| apart && parts.iter().all(Part::is_plain))
        else {
            let decoded: Result<Vec<_>, _> = self.0.into_iter().map(Part::decode).collect();
            let joined = SeriesSamples::join(decoded?, axes);
            return Ok(joined.map(|series| (series, Course::Unknown)));
        };
        let (labels, key) = (first.labels().clone(), first.key());
        // Each into the same column: nothing is copied.
        let mut floats = Vec::with_capacity(self.0.iter().map(|part| part.axis().len()).sum());
        let (mut steady, mut constant) = (self.0.iter().all(Part::is_steady), true);
        for part in &self.0 {
            let border = floats.len();
            constant &= part.push_floats(&mut floats)?;
            if let Some((last, next)) = floats[..border].last().zip(floats.get(border)) {
                let falls = next < last;
                steady &= !falls;
                constant &= next.to_bits() == last.to_bits();
            }
        }
        let course = match floats.first() {
            Some(first) if steady && constant && first.is_finite() => Course::Constant,
            _ if steady => Course::Steady,
            _ => Course::Unknown,
        };
        let axis = match &self.0[..] {
            [one] => one.axis().clone(),
            all => axes.join(all.iter().map(|part| part.axis().clone()).collect()),
        };
        Ok(Some((SeriesSamples::of_floats(labels, key, axis, floats), course)))
    }
}

/// Bytes at which a batch ends: histograms of live generations are large.
const BATCH_BYTES: u64 = 32 << 20;

/// Series that are handed to the engine together; never none.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) series: Vec<SeriesParts>,
    /// What they take, as they are.
    pub(crate) bytes: u64,
}

/// The merged series of some sources, in the order (metric name, key, labels).
pub(crate) struct MergedSeries {
    sources: Vec<Source>,
    /// How many parts the last series had: the next one likely has as many.
    parts: usize,
}

/// Where the parts of one source come from.
pub(crate) enum PartStream {
    Block(Box<BlockStream>),
    Live(Box<dyn SeriesStream>),
}

struct Source {
    stream: PartStream,
    ready: VecDeque<Part>,
    ended: bool,
}

impl MergedSeries {
    pub(crate) fn new(streams: Vec<PartStream>) -> Self {
        let sources = streams.into_iter();
        let sources =
            sources.map(|stream| Source { stream, ready: VecDeque::new(), ended: false }).collect();
        MergedSeries { sources, parts: 1 }
    }

    /// The next series, until they have `samples_max` samples or more, or [`BATCH_BYTES`]; `None` at the end.
    pub(crate) async fn next_batch(
        &mut self,
        samples_max: usize,
    ) -> Result<Option<Batch>, ExecuteError> {
        let (mut batch, mut samples) = (Batch::default(), 0);
        while samples < samples_max && batch.bytes < BATCH_BYTES {
            let Some(series) = self.next_series().await? else { break };
            samples += series.len();
            batch.bytes += series.bytes();
            batch.series.push(series);
        }
        Ok((!batch.series.is_empty()).then_some(batch))
    }

    async fn next_series(&mut self) -> Result<Option<SeriesParts>, ExecuteError> {
        for source in self.sources.iter_mut().filter(|source| source.is_due()) {
            source.fill().await?;
        }
        let heads = self.sources.iter().filter_map(|source| source.ready.front());
        let Some(first) = heads.min_by(|a, b| order(a, b)) else { return Ok(None) };
        let (labels, key) = (first.labels().clone(), first.key());
        let mut parts = Vec::with_capacity(self.parts);
        for source in &mut self.sources {
            // A source may have it in several parts, one after the other.
            let same = |part: &mut Part| part.key() == key && *part.labels() == labels;
            while let Some(part) = source.ready.pop_front_if(same) {
                parts.push(part);
                if source.is_due() {
                    source.fill().await?;
                }
            }
        }
        self.parts = parts.len();
        Ok(Some(SeriesParts(parts)))
    }
}

impl Source {
    /// Whether nothing is ready, and there may be more.
    fn is_due(&self) -> bool {
        self.ready.is_empty() && !self.ended
    }

    async fn fill(&mut self) -> Result<(), ExecuteError> {
        while self.is_due() {
            match &mut self.stream {
                PartStream::Block(stream) => match stream.next_batch().await? {
                    Some(batch) => self.ready.extend(batch.into_iter().map(Part::Encoded)),
                    None => self.ended = true,
                },
                PartStream::Live(stream) => match stream.next_batch().await? {
                    Some(batch) => self
                        .ready
                        .extend(batch.into_iter().map(|series| Part::Decoded(Box::new(series)))),
                    None => self.ended = true,
                },
            }
        }
        Ok(())
    }
}

/// The order of series in blocks and heads.
fn order(a: &Part, b: &Part) -> Ordering {
    // Most times, and most times in the same storage.
    if a.key() == b.key() && a.labels() == b.labels() {
        return Ordering::Equal;
    }
    let name = a.labels().metric_name().cmp(b.labels().metric_name());
    name.then_with(|| a.key().cmp(&b.key())).then_with(|| a.labels().cmp(b.labels()))
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use pando_model::{Labels, SampleValue, SeriesKey, TenantId};

    use super::*;

    struct Fixed(VecDeque<Vec<SeriesSamples>>);

    #[async_trait]
    impl SeriesStream for Fixed {
        async fn next_batch(&mut self) -> Result<Option<Vec<SeriesSamples>>, ExecuteError> {
            Ok(self.0.pop_front())
        }
    }

    fn series(name: &str, samples: &[(i64, f64)]) -> SeriesSamples {
        let labels = Labels::from_pairs([("__name__", name), ("instance", "i")]);
        let key = SeriesKey::of(&TenantId::default_tenant(), &labels);
        let samples = samples.iter().map(|&(t, v)| (t, SampleValue::Float(v)));
        SeriesSamples::from_values(labels, key, samples)
    }

    #[tokio::test]
    async fn a_series_of_several_sources_comes_once_and_whole() {
        let sources: [Vec<Vec<SeriesSamples>>; 3] = [
            vec![vec![series("a", &[(1, 1.0)]), series("b", &[(1, 5.0)])]],
            vec![vec![series("b", &[(1, 5.0), (2, 6.0)])], vec![series("c", &[(3, 7.0)])]],
            vec![],
        ];
        let streams = sources.into_iter().map(|s| PartStream::Live(Box::new(Fixed(s.into()))));
        let mut axes = JoinedAxes::default();
        let mut merged = MergedSeries::new(streams.collect());
        let batch = merged.next_batch(3).await.expect("no error").expect("some");
        let joined = batch.series.into_iter().map(|parts| parts.join(&mut axes).expect("decoded"));
        let joined: Vec<SeriesSamples> = joined.flatten().map(|(series, _)| series).collect();
        let seen: Vec<_> = joined.iter().map(|s| (s.labels.metric_name(), s.len())).collect();
        assert_eq!(seen, [("a", 1), ("b", 2)]);
        let batch = merged.next_batch(3).await.expect("no error").expect("some");
        assert_eq!(batch.series.len(), 1);
        assert!(merged.next_batch(3).await.expect("no error").is_none());
    }
}
