//! Intake: a request's bytes become a batch and a list of what is wrong with it. Pure, no I/O; slow
//! enough for large bodies that the caller runs it where it may block.

use std::collections::{BTreeMap, HashMap};

use pando_codec::limits::{LABELS_PER_SET_MAX, METADATA_MAX, TEXT_BYTES_MAX};
use pando_exposition::remote_write::{
    Body, Limits, RemoteWriteError, TimeSeries, Version, WriteRequest,
};
use pando_model::{Exemplar, Labels, Metadata, MetricType, SampleValue, SeriesKey, TenantId};
use pando_shipper::{Batch, ShipSample};

/// Problems that an answer spells out; the rest is counted.
pub(crate) const PROBLEMS_MAX: usize = 20;
/// Bytes of one problem: it may quote all labels of a series.
const PROBLEM_BYTES_MAX: usize = 2_048;
/// What one batch takes at worst: a write block may have 16 MiB, and many requests share one.
const BATCH_BYTES: usize = 2 << 20;
/// Metadata of one request; what is beyond it is left out.
const METADATA_BYTES_MAX: usize = 4 << 20;

/// What a request holds.
#[derive(Debug)]
pub(crate) struct Intake {
    /// The message that it is.
    pub(crate) version: Version,
    /// What is to be stored, in pieces that fit a write block.
    pub(crate) batches: Vec<Batch>,
    /// What the batches count.
    pub(crate) counts: Counts,
    /// What is answered with 400.
    pub(crate) problems: Problems,
    /// Series that are left out without a word to the sender (1.0 only): how many samples, and why
    /// the first one was.
    pub(crate) skipped: Skipped,
}

/// Numbers of what a batch holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Float samples.
    pub(crate) floats: u64,
    /// Native histogram samples.
    pub(crate) histograms: u64,
    /// Exemplars that travel with a sample.
    pub(crate) exemplars: u64,
    /// Exemplars that are faulty, or whose series has no sample in the request.
    pub(crate) exemplars_dropped: u64,
}

/// What is wrong with series and samples of a request, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Problems {
    /// The first [`PROBLEMS_MAX`].
    pub(crate) texts: Vec<String>,
    /// All of them.
    pub(crate) count: u64,
}

impl Problems {
    fn add(&mut self, problem: impl ToString) {
        self.count += 1;
        if self.texts.len() < PROBLEMS_MAX {
            let mut text = problem.to_string();
            if text.len() > PROBLEM_BYTES_MAX {
                text.truncate(text.floor_char_boundary(PROBLEM_BYTES_MAX));
                text.push_str(" ...");
            }
            self.texts.push(text);
        }
    }
}

/// Series with labels that 1.0 leaves out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Skipped {
    /// How many series.
    pub(crate) series: u64,
    /// How many samples and histograms they have.
    pub(crate) samples: u64,
    /// Why the first one is left out.
    pub(crate) first: Option<String>,
}

/// Reads a request.
pub(crate) fn read(
    tenant: TenantId,
    content_type: &str,
    content_encoding: &str,
    body: &[u8],
    limits: Limits,
) -> Result<Intake, RemoteWriteError> {
    let body = Body::open(content_type, content_encoding, body, limits)?;
    let request = body.decode()?;
    let mut reader = Reader::new(tenant, &request);
    for series in request.series() {
        reader.series(&series);
    }
    reader.attach_lone_exemplars();
    for family in request.metadata() {
        reader.metadata(family.family, || owned(&family.metadata));
    }
    Ok(reader.finish(request.version()))
}

fn owned(metadata: &pando_exposition::remote_write::MetadataRef<'_>) -> Metadata {
    Metadata {
        metric_type: metadata.metric_type,
        unit: metadata.unit.to_string(),
        help: metadata.help.to_string(),
    }
}

struct Reader {
    tenant: TenantId,
    version: Version,
    samples: Vec<ShipSample>,
    metadata: BTreeMap<String, Metadata>,
    metadata_bytes: usize,
    /// Exemplars of series that came without samples: Prometheus sends them as entries of their own
    /// beside those with the samples.
    lone: Vec<(Labels, Exemplar)>,
    counts: Counts,
    problems: Problems,
    skipped: Skipped,
}

impl Reader {
    fn new(tenant: TenantId, request: &WriteRequest<'_>) -> Self {
        Reader {
            tenant,
            version: request.version(),
            samples: Vec::with_capacity(request.samples_count() + request.histograms_count()),
            metadata: BTreeMap::new(),
            metadata_bytes: 0,
            lone: Vec::new(),
            counts: Counts::default(),
            problems: Problems::default(),
            skipped: Skipped::default(),
        }
    }

    fn series(&mut self, series: &TimeSeries<'_>) {
        let labels = match series.labels() {
            Ok(labels) => labels,
            Err(problem) if self.version == Version::V2 => return self.problems.add(problem),
            Err(problem) => {
                self.skipped.series += 1;
                self.skipped.samples += (series.samples.len() + series.histograms.len()) as u64;
                self.skipped.first.get_or_insert_with(|| problem.to_string());
                return;
            }
        };
        if let Some(problem) = beyond_limits(&labels) {
            return self.problems.add(problem);
        }
        let key = SeriesKey::of(&self.tenant, &labels);
        let from = self.samples.len();
        let sample = |timestamp_ms, start_ms, value| ShipSample {
            labels: labels.clone(),
            key,
            timestamp_ms,
            value,
            start_ms,
            exemplars: Vec::new(),
        };
        for float in series.samples {
            let value = SampleValue::Float(float.value);
            self.samples.push(sample(float.timestamp_ms, float.start_ms, value));
        }
        self.counts.floats += series.samples.len() as u64;
        for histogram in series.histograms {
            match &histogram.histogram {
                Ok(value) => {
                    let value = SampleValue::Histogram(value.clone());
                    self.samples.push(sample(histogram.timestamp_ms, histogram.start_ms, value));
                    self.counts.histograms += 1;
                }
                Err(problem) => {
                    let t = histogram.timestamp_ms;
                    self.problems.add(format_args!("{problem}: series={labels} timestamp_ms={t}"));
                }
            }
        }
        self.exemplars(series, &labels, from);
        if let Some(metadata) = &series.metadata {
            let family = family_of(labels.metric_name(), metadata.metric_type);
            self.metadata(family, || owned(metadata));
        }
    }

    /// Gives the exemplars of a series to its samples, which begin at `from`.
    fn exemplars(&mut self, series: &TimeSeries<'_>, labels: &Labels, from: usize) {
        for exemplar in series.exemplars {
            let fits = |exemplar: &&Exemplar| beyond_limits(&exemplar.labels).is_none();
            let Some(exemplar) = exemplar.as_ref().ok().filter(fits) else {
                self.counts.exemplars_dropped += 1;
                continue;
            };
            let own = &mut self.samples[from..];
            // The scrape that saw an exemplar is the first one after it.
            let at = own.iter().position(|s| s.timestamp_ms >= exemplar.timestamp_ms);
            match own.get_mut(at.unwrap_or(own.len().saturating_sub(1))) {
                Some(sample) => {
                    sample.exemplars.push(exemplar.clone());
                    self.counts.exemplars += 1;
                }
                None => self.lone.push((labels.clone(), exemplar.clone())),
            }
        }
    }

    fn attach_lone_exemplars(&mut self) {
        if self.lone.is_empty() {
            return;
        }
        let last_of: HashMap<Labels, usize> =
            self.samples.iter().enumerate().map(|(at, s)| (s.labels.clone(), at)).collect();
        for (labels, exemplar) in std::mem::take(&mut self.lone) {
            match last_of.get(&labels) {
                Some(at) => {
                    self.samples[*at].exemplars.push(exemplar);
                    self.counts.exemplars += 1;
                }
                None => self.counts.exemplars_dropped += 1,
            }
        }
    }

    fn metadata(&mut self, family: &str, metadata: impl FnOnce() -> Metadata) {
        if family.is_empty() || self.metadata.contains_key(family) {
            return;
        }
        let metadata = metadata();
        let bytes = family.len() + metadata.help.len() + metadata.unit.len();
        let all = self.metadata_bytes + bytes;
        // Too much for a write block: texts that nobody can read are no reason to lose samples.
        let fits = bytes <= TEXT_BYTES_MAX && all <= METADATA_BYTES_MAX;
        if fits && self.metadata.len() < METADATA_MAX {
            self.metadata_bytes = all;
            self.metadata.insert(family.to_string(), metadata);
        }
    }

    fn finish(self, version: Version) -> Intake {
        let Reader { tenant, samples, metadata, counts, problems, skipped, .. } = self;
        let metadata = metadata.into_iter().collect();
        let batches = split(tenant, samples, metadata);
        Intake { version, batches, counts, problems, skipped }
    }
}

/// What a series has too much of for a write block. A tenant's own limits are far below, and are the
/// shard's to judge.
fn beyond_limits(labels: &Labels) -> Option<String> {
    let count = labels.len();
    let longest = labels.iter().map(|(name, value)| name.len().max(value.len())).max().unwrap_or(0);
    let name: String = labels.metric_name().chars().take(80).collect();
    if count > LABELS_PER_SET_MAX {
        let limit = LABELS_PER_SET_MAX;
        return Some(format!("too many labels: metric={name:?} labels={count} labels_max={limit}"));
    }
    (longest > TEXT_BYTES_MAX).then(|| {
        let limit = TEXT_BYTES_MAX;
        format!("label is too long: metric={name:?} bytes={longest} label_bytes_max={limit}")
    })
}

/// Cuts a request into batches of about [`BATCH_BYTES`]; the metadata goes with the first.
fn split(
    tenant: TenantId,
    samples: Vec<ShipSample>,
    metadata: Vec<(String, Metadata)>,
) -> Vec<Batch> {
    let batch = |samples, metadata| Batch { tenant: tenant.clone(), samples, metadata };
    let mut batches = Vec::new();
    if !metadata.is_empty() {
        batches.push(batch(Vec::new(), metadata));
    }
    let (mut bytes, mut before) = (0, None);
    for sample in samples {
        let more = weight_bytes(&sample, before.as_ref());
        before = Some(sample.labels.clone());
        match batches.last_mut() {
            Some(last) if bytes + more <= BATCH_BYTES || last.samples.is_empty() => {
                bytes += more;
                last.samples.push(sample);
            }
            _ => {
                bytes = more;
                batches.push(batch(vec![sample], Vec::new()));
            }
        }
    }
    batches
}

/// What a sample may take in a write block, at worst.
fn weight_bytes(sample: &ShipSample, before: Option<&Labels>) -> usize {
    let labels = match before == Some(&sample.labels) {
        true => 0,
        false => sample.labels.heap_bytes(),
    };
    let value = match &sample.value {
        SampleValue::Float(_) => 24,
        SampleValue::Histogram(h) => {
            let buckets = h.positive_buckets.len() + h.negative_buckets.len();
            let spans = h.positive_spans.len() + h.negative_spans.len();
            64 + 10 * (buckets + spans + h.custom_values.len())
        }
    };
    let exemplars = sample.exemplars.iter().map(|e| 24 + e.labels.heap_bytes());
    labels + value + exemplars.sum::<usize>()
}

/// The family that a series named `name` belongs to: 2.0 says the type with each series, but the name
/// of the series only.
fn family_of(name: &str, metric_type: MetricType) -> &str {
    let suffixes: &[&str] = match metric_type {
        MetricType::Histogram => &["_bucket", "_count", "_sum", "_created"],
        MetricType::GaugeHistogram => &["_bucket", "_gcount", "_gsum"],
        MetricType::Summary => &["_count", "_sum", "_created"],
        _ => &[],
    };
    let stripped = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix));
    stripped.filter(|family| !family.is_empty()).unwrap_or(name)
}
