//! `Report`: the series that the agent itself writes for a target: `up` and `scrape_*`.

use pando_model::{Labels, SeriesKey};
use pando_shipper::ShipSample;

use super::relabel::{report_labels, with_external};
use super::series::{Counts, float, stale};
use super::settings::ScrapeSettings;

const METRICS: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];
const EXTRA_METRICS: [&str; 3] =
    ["scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes"];

/// How a scrape went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// Whether it went well.
    pub(crate) up: bool,
    /// How long it took, seconds.
    pub(crate) duration_s: f64,
    /// What it brought.
    pub(crate) counts: Counts,
    /// Bytes of the body, uncompressed; -1: over its limit.
    pub(crate) body_bytes: i64,
    /// The target's timeout, seconds.
    pub(crate) timeout_s: f64,
    /// The limit on samples, 0: none.
    pub(crate) sample_limit: u64,
}

/// The series of one target.
#[derive(Debug)]
pub(crate) struct Report {
    series: Vec<(Labels, SeriesKey)>,
}

impl Report {
    /// The series of a target with these labels.
    pub(crate) fn new(target: &Labels, settings: &ScrapeSettings) -> Self {
        let extra = EXTRA_METRICS.iter().filter(|_| settings.config.extra_scrape_metrics);
        let series = METRICS.iter().chain(extra).map(|metric| {
            let labels = with_external(report_labels(metric, target), &settings.external_labels);
            let key = SeriesKey::of(&settings.tenant, &labels);
            (labels, key)
        });
        Report { series: series.collect() }
    }

    /// The series that `other` does not write.
    pub(crate) fn series_that_lacks(&self, other: &Report) -> Vec<(Labels, SeriesKey)> {
        let lacks = |labels: &Labels| other.series.iter().all(|(theirs, _)| theirs != labels);
        self.series.iter().filter(|(labels, _)| lacks(labels)).cloned().collect()
    }

    /// Writes what `outcome` says.
    pub(crate) fn push(&self, outcome: &Outcome, at_ms: i64, samples: &mut Vec<ShipSample>) {
        let counts = &outcome.counts;
        let values = [
            f64::from(u8::from(outcome.up)),
            outcome.duration_s,
            counts.scraped as f64,
            counts.kept as f64,
            counts.added as f64,
            outcome.timeout_s,
            outcome.sample_limit as f64,
            outcome.body_bytes as f64,
        ];
        let series = self.series.iter().zip(values);
        samples.extend(series.map(|((labels, key), value)| float(labels, *key, at_ms, value)));
    }

    /// Writes the end of all of them.
    pub(crate) fn push_stale(&self, at_ms: i64, samples: &mut Vec<ShipSample>) {
        samples.extend(self.series.iter().map(|(labels, key)| stale(labels, *key, at_ms)));
    }
}
