//! `MergedSeries`: the series of several sources, each whole: samples of one series from several sources are
//! merged by their values alone, so that the order of sources does not matter (INV-3).

use std::cmp::Ordering;
use std::collections::VecDeque;

use pando_model::{JoinedAxes, SeriesSamples};

use crate::error::ExecuteError;
use crate::live::SeriesStream;

/// The merged series of some sources, in the order (metric name, key, labels).
pub(crate) struct MergedSeries {
    sources: Vec<Source>,
    axes: JoinedAxes,
}

struct Source {
    stream: Box<dyn SeriesStream>,
    ready: VecDeque<SeriesSamples>,
    ended: bool,
}

impl MergedSeries {
    pub(crate) fn new(streams: Vec<Box<dyn SeriesStream>>) -> Self {
        let sources = streams.into_iter();
        let sources =
            sources.map(|stream| Source { stream, ready: VecDeque::new(), ended: false }).collect();
        MergedSeries { sources, axes: JoinedAxes::default() }
    }

    /// The next series, until they have `samples_max` samples or more; `None` at the end.
    pub(crate) async fn next_batch(
        &mut self,
        samples_max: usize,
    ) -> Result<Option<Vec<SeriesSamples>>, ExecuteError> {
        let (mut batch, mut samples) = (Vec::new(), 0);
        while samples < samples_max {
            let Some(series) = self.next_series().await? else { break };
            samples += series.len();
            batch.push(series);
        }
        Ok((!batch.is_empty()).then_some(batch))
    }

    async fn next_series(&mut self) -> Result<Option<SeriesSamples>, ExecuteError> {
        for source in &mut self.sources {
            source.fill().await?;
        }
        let heads = self.sources.iter().filter_map(|source| source.ready.front());
        let Some(first) = heads.min_by(|a, b| order(a, b)).map(|s| (s.labels.clone(), s.key))
        else {
            return Ok(None);
        };
        let mut parts = Vec::new();
        for source in &mut self.sources {
            let same = |s: &SeriesSamples| s.key == first.1 && s.labels == first.0;
            if source.ready.front().is_some_and(same) {
                parts.extend(source.ready.pop_front());
            }
        }
        Ok(SeriesSamples::join(parts, &mut self.axes))
    }
}

impl Source {
    async fn fill(&mut self) -> Result<(), ExecuteError> {
        while self.ready.is_empty() && !self.ended {
            match self.stream.next_batch().await? {
                Some(batch) => self.ready.extend(batch),
                None => self.ended = true,
            }
        }
        Ok(())
    }
}

/// The order of series in blocks and heads.
fn order(a: &SeriesSamples, b: &SeriesSamples) -> Ordering {
    let name = a.labels.metric_name().cmp(b.labels.metric_name());
    name.then_with(|| a.key.cmp(&b.key)).then_with(|| a.labels.cmp(&b.labels))
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
        let streams =
            sources.into_iter().map(|s| Box::new(Fixed(s.into())) as Box<dyn SeriesStream>);
        let mut merged = MergedSeries::new(streams.collect());
        let batch = merged.next_batch(3).await.expect("no error").expect("some");
        let seen: Vec<_> = batch.iter().map(|s| (s.labels.metric_name(), s.len())).collect();
        assert_eq!(seen, [("a", 1), ("b", 2)]);
        let batch = merged.next_batch(3).await.expect("no error").expect("some");
        assert_eq!(batch.len(), 1);
        assert!(merged.next_batch(3).await.expect("no error").is_none());
    }
}
