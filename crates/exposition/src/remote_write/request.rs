//! `WriteRequest`: a decoded request, flat. Series are ranges of shared vectors.

use std::ops::Range;
use std::sync::Arc;

use pando_model::{Exemplar, Histogram, Labels, METRIC_NAME, MetricType};

use super::body::Version;
use super::error::{HistogramProblem, SeriesProblem};

/// A float sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FloatSample {
    /// Milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// When the series began, ms since the epoch; 0 where it is not said.
    pub start_ms: i64,
    /// The value; stale markers and NaN payloads are kept bit by bit.
    pub value: f64,
}

/// A native histogram sample.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramSample {
    /// Milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// When the series began, ms since the epoch; 0 where it is not said.
    pub start_ms: i64,
    /// The value, with absolute bucket counts, or why it is none.
    pub histogram: Result<Arc<Histogram>, HistogramProblem>,
}

/// Type, unit and help of a series' family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataRef<'a> {
    /// The type.
    pub metric_type: MetricType,
    /// The unit; often empty.
    pub unit: &'a str,
    /// The help text.
    pub help: &'a str,
}

impl MetadataRef<'_> {
    /// Whether it says anything.
    pub fn is_empty(&self) -> bool {
        self.metric_type == MetricType::Unknown && self.unit.is_empty() && self.help.is_empty()
    }
}

/// Metadata of a family, as 1.0 sends it beside the series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FamilyMetadata<'a> {
    /// The family's name.
    pub family: &'a str,
    /// What is known of it.
    pub metadata: MetadataRef<'a>,
}

/// A decoded request.
#[derive(Clone, Debug)]
pub struct WriteRequest<'a> {
    pub(super) version: Version,
    pub(super) labels: Vec<(&'a str, &'a str)>,
    pub(super) samples: Vec<FloatSample>,
    pub(super) histograms: Vec<HistogramSample>,
    pub(super) exemplars: Vec<Result<Exemplar, SeriesProblem>>,
    pub(super) series: Vec<SeriesRecord<'a>>,
    pub(super) metadata: Vec<FamilyMetadata<'a>>,
}

/// Where a series' parts are.
#[derive(Clone, Debug)]
pub(super) struct SeriesRecord<'a> {
    pub(super) from: Lengths,
    pub(super) to: Lengths,
    pub(super) metadata: Option<MetadataRef<'a>>,
    pub(super) problem: Option<Box<SeriesProblem>>,
}

/// The lengths of a request's vectors at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lengths {
    labels: u32,
    samples: u32,
    histograms: u32,
    exemplars: u32,
}

fn range(from: u32, to: u32) -> Range<usize> {
    from as usize..to as usize
}

impl<'a> WriteRequest<'a> {
    pub(super) fn new(version: Version) -> Self {
        WriteRequest {
            version,
            labels: Vec::new(),
            samples: Vec::new(),
            histograms: Vec::new(),
            exemplars: Vec::new(),
            series: Vec::new(),
            metadata: Vec::new(),
        }
    }

    pub(super) fn lengths(&self) -> Lengths {
        // The budget of a request keeps all of them below 2^32.
        Lengths {
            labels: self.labels.len() as u32,
            samples: self.samples.len() as u32,
            histograms: self.histograms.len() as u32,
            exemplars: self.exemplars.len() as u32,
        }
    }

    /// The message that the request came as.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The series, in the request's order. The same labels may come more than once.
    pub fn series(&self) -> impl ExactSizeIterator<Item = TimeSeries<'_>> {
        self.series.iter().map(|record| {
            let (from, to) = (record.from, record.to);
            TimeSeries {
                version: self.version,
                labels: &self.labels[range(from.labels, to.labels)],
                samples: &self.samples[range(from.samples, to.samples)],
                histograms: &self.histograms[range(from.histograms, to.histograms)],
                exemplars: &self.exemplars[range(from.exemplars, to.exemplars)],
                metadata: record.metadata,
                problem: record.problem.as_deref(),
            }
        })
    }

    /// The metadata of families that a 1.0 request carries.
    pub fn metadata(&self) -> &[FamilyMetadata<'a>] {
        &self.metadata
    }

    /// Float samples of all series.
    pub fn samples_count(&self) -> usize {
        self.samples.len()
    }

    /// Histogram samples of all series.
    pub fn histograms_count(&self) -> usize {
        self.histograms.len()
    }
}

/// One series of a request.
#[derive(Clone, Copy, Debug)]
pub struct TimeSeries<'r> {
    /// Its float samples, in the request's order.
    pub samples: &'r [FloatSample],
    /// Its histogram samples, in the request's order.
    pub histograms: &'r [HistogramSample],
    /// Its exemplars; a faulty one never fails a 1.0 request.
    pub exemplars: &'r [Result<Exemplar, SeriesProblem>],
    /// Its metadata, where a 2.0 request says it.
    pub metadata: Option<MetadataRef<'r>>,
    version: Version,
    labels: &'r [(&'r str, &'r str)],
    problem: Option<&'r SeriesProblem>,
}

impl<'r> TimeSeries<'r> {
    /// The labels, after all that Prometheus checks of a series before it stores a sample. Labels may come
    /// in any order; those with empty values are none.
    pub fn labels(&self) -> Result<Labels, SeriesProblem> {
        if let Some(problem) = self.problem {
            return Err(problem.clone());
        }
        let labels = match Labels::from_sorted(self.labels.iter().copied()) {
            Some(labels) => labels,
            None => self.sorted_labels()?,
        };
        let nameless = self
            .labels
            .iter()
            .any(|(name, value)| name.is_empty() || (value.is_empty() && *name == METRIC_NAME));
        if nameless || labels.metric_name().is_empty() {
            return Err(SeriesProblem::InvalidName { labels });
        }
        if self.version == Version::V2 && self.samples.is_empty() && self.histograms.is_empty() {
            return Err(SeriesProblem::Empty { labels });
        }
        Ok(labels)
    }

    fn sorted_labels(&self) -> Result<Labels, SeriesProblem> {
        let mut pairs = self.labels.to_vec();
        pairs.sort_by_key(|(name, _)| *name);
        if let Some(pair) = pairs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let name = pair[0].0.to_string();
            return Err(SeriesProblem::DuplicateLabel { labels: Labels::from_pairs(pairs), name });
        }
        pairs.retain(|(_, value)| !value.is_empty());
        Ok(Labels::from_sorted(pairs).unwrap_or_default())
    }
}
