//! `Batch`: samples of one tenant on their way, and `Receipt`: what became of them.

use std::collections::BTreeMap;

use pando_model::{Exemplar, Labels, Metadata, SampleValue, SeriesKey, TenantId};

use crate::part::Part;

/// One sample on its way to its shard.
#[derive(Clone, Debug)]
pub struct ShipSample {
    /// The series.
    pub labels: Labels,
    /// Its key.
    pub key: SeriesKey,
    /// Time, ms.
    pub timestamp_ms: i64,
    /// Value.
    pub value: SampleValue,
    /// Start timestamp, ms; 0: unknown.
    pub start_ms: i64,
    /// Exemplars that came with it.
    pub exemplars: Vec<Exemplar>,
}

/// Samples of one tenant that are acknowledged together.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The tenant.
    pub tenant: TenantId,
    /// The samples, in any order.
    pub samples: Vec<ShipSample>,
    /// What is known of metric families, by family name. It travels with the first sample's shard.
    pub metadata: Vec<(String, Metadata)>,
}

/// What became of a batch: everything in it was judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Samples that are stored now.
    pub accepted: u64,
    /// Of these, the ones that are histograms.
    pub histograms: u64,
    /// Exemplars that are stored now.
    pub exemplars: u64,
    /// Samples refused for good, by reason.
    pub refused: BTreeMap<String, u64>,
    /// The first refusals in words.
    pub messages: Vec<String>,
}

/// Refusals that a receipt describes in words.
const MESSAGES_MAX: usize = 10;
/// As much of a metric's name is put into words.
const NAME_CHARS_MAX: usize = 100;
/// Why a sample is refused that no write block can hold.
const REFUSED_ENCODE: &str = "encode";

impl Receipt {
    /// Samples refused for any reason.
    pub fn refused_total(&self) -> u64 {
        self.refused.values().sum()
    }

    /// The samples of `part` are refused, for no write block can hold them.
    pub(crate) fn of_refused(part: &Part, why: &str) -> Self {
        let name = part.samples.first().map_or("", |sample| sample.labels.metric_name());
        let name: String = name.chars().take(NAME_CHARS_MAX).collect();
        let refused = match part.samples.len() {
            0 => BTreeMap::new(),
            count => [(REFUSED_ENCODE.to_string(), count as u64)].into(),
        };
        let messages = vec![format!("series fits no write block: metric={name:?} reason={why:?}")];
        Receipt { refused, messages, ..Receipt::default() }
    }

    /// All of `samples` are stored.
    pub(crate) fn of_all(samples: &[ShipSample]) -> Self {
        let is_histogram = |s: &&ShipSample| matches!(s.value, SampleValue::Histogram(_));
        Receipt {
            accepted: samples.len() as u64,
            histograms: samples.iter().filter(is_histogram).count() as u64,
            exemplars: samples.iter().map(|sample| sample.exemplars.len() as u64).sum(),
            ..Receipt::default()
        }
    }

    /// Adds what became of another part.
    pub fn merge(&mut self, other: Receipt) {
        self.accepted += other.accepted;
        self.histograms += other.histograms;
        self.exemplars += other.exemplars;
        for (reason, samples) in other.refused {
            *self.refused.entry(reason).or_default() += samples;
        }
        let room = MESSAGES_MAX.saturating_sub(self.messages.len());
        self.messages.extend(other.messages.into_iter().take(room));
    }
}
