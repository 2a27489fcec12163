//! The metrics of an agent. Those that people know from Prometheus bear Prometheus' names.

use std::time::Duration;

use pando_runtime::{MetricsRegistry, SharedClock, SummaryFamily};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::scrape::limits::ScrapeError;
use crate::scrape::series::Counts;

/// A scrape config.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct JobLabels {
    scrape_job: String,
}

/// A use of discovery.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct SdLabels {
    name: &'static str,
    config: String,
}

/// One of a few words.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ReasonLabels {
    reason: String,
}

/// A kind of discovery.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct MechanismLabels {
    mechanism: &'static str,
}

/// Those of Prometheus' summaries of intervals and syncs.
const QUANTILES: [f64; 5] = [0.01, 0.05, 0.5, 0.9, 0.99];

/// The metrics of an agent. Cloning shares them.
#[derive(Clone)]
pub(crate) struct AgentMetrics {
    intervals: SummaryFamily,
    syncs: SummaryFamily,
    sync_failures: Family<JobLabels, Counter>,
    metadata_entries: Family<JobLabels, Gauge>,
    metadata_bytes: Family<JobLabels, Gauge>,
    pub(crate) pool_targets: Family<JobLabels, Gauge>,
    pub(crate) pool_target_limit: Family<JobLabels, Gauge>,
    pub(crate) pool_exceeded_target_limit: Counter,
    exceeded_body_size: Counter,
    exceeded_samples: Counter,
    exceeded_labels: Counter,
    duplicates: Counter,
    out_of_bounds: Counter,
    out_of_order: Counter,
    pub(crate) sd_targets: Family<SdLabels, Gauge>,
    pub(crate) sd_failures: Family<MechanismLabels, Counter>,
    scrapes: Counter,
    scrapes_failed: Counter,
    pub(crate) samples_scraped: Counter,
    pub(crate) target_faults: Family<JobLabels, Gauge>,
    pub(crate) metadata_left_out: Counter,
    pub(crate) reloads: Counter,
    pub(crate) queue_bytes: Gauge,
    pub(crate) queue_batches: Gauge,
    pub(crate) in_flight_batches: Gauge,
    pub(crate) buffer_bytes: Gauge,
    pub(crate) buffer_samples: Gauge,
    pub(crate) shipped: Counter,
    pub(crate) refused: Family<ReasonLabels, Counter>,
    pub(crate) dropped: Family<ReasonLabels, Counter>,
    pub(crate) spooled: Counter,
    pub(crate) ship_failures: Counter,
    pub(crate) ship_seconds: Histogram,
}

impl AgentMetrics {
    /// Registers the metrics.
    pub(crate) fn register(registry: &MetricsRegistry, clock: &SharedClock) -> Self {
        // A shard answers after one fsync of a majority; what takes seconds is waiting for a leader.
        let seconds = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
        let metrics = AgentMetrics {
            intervals: SummaryFamily::new("interval", &QUANTILES, clock.clone()),
            syncs: SummaryFamily::new("scrape_job", &QUANTILES, clock.clone()),
            sync_failures: Family::default(),
            metadata_entries: Family::default(),
            metadata_bytes: Family::default(),
            pool_targets: Family::default(),
            pool_target_limit: Family::default(),
            pool_exceeded_target_limit: Counter::default(),
            exceeded_body_size: Counter::default(),
            exceeded_samples: Counter::default(),
            exceeded_labels: Counter::default(),
            duplicates: Counter::default(),
            out_of_bounds: Counter::default(),
            out_of_order: Counter::default(),
            sd_targets: Family::default(),
            sd_failures: Family::default(),
            scrapes: Counter::default(),
            scrapes_failed: Counter::default(),
            samples_scraped: Counter::default(),
            target_faults: Family::default(),
            metadata_left_out: Counter::default(),
            reloads: Counter::default(),
            queue_bytes: Gauge::default(),
            queue_batches: Gauge::default(),
            in_flight_batches: Gauge::default(),
            buffer_bytes: Gauge::default(),
            buffer_samples: Gauge::default(),
            shipped: Counter::default(),
            refused: Family::default(),
            dropped: Family::default(),
            spooled: Counter::default(),
            ship_failures: Counter::default(),
            ship_seconds: Histogram::new(seconds),
        };
        // A counter that is born with its first failure shows no increase: alerts would miss that one.
        for mechanism in ["dns", "file", "http"] {
            drop(metrics.sd_failures.get_or_create(&MechanismLabels { mechanism }));
        }
        metrics.register_known(registry);
        metrics.register_own(registry);
        metrics
    }

    /// What Prometheus has, too.
    fn register_known(&self, registry: &MetricsRegistry) {
        let help = "Actual intervals between scrapes";
        let name = "prometheus_target_interval_length_seconds";
        registry.register_summary(name, help, self.intervals.clone());
        let help = "Actual interval to sync the scrape pool";
        let name = "prometheus_target_sync_length_seconds";
        registry.register_summary(name, help, self.syncs.clone());
        registry.with_prefix("prometheus_target", |to| {
            let help = "Targets that could not be scraped when a scrape pool was synced";
            to.register("sync_failed", help, self.sync_failures.clone());
            let help = "Metric families whose metadata is remembered";
            to.register("metadata_cache_entries", help, self.metadata_entries.clone());
            let help = "Bytes of the metadata that is remembered";
            to.register("metadata_cache_bytes", help, self.metadata_bytes.clone());
            let help = "Targets of this scrape pool that this agent scrapes";
            to.register("scrape_pool_targets", help, self.pool_targets.clone());
            let help = "Maximum number of targets of this scrape pool, 0 for none";
            to.register("scrape_pool_target_limit", help, self.pool_target_limit.clone());
            let help = "Times that a scrape pool hit its target limit";
            let metric = self.pool_exceeded_target_limit.clone();
            to.register("scrape_pool_exceeded_target_limit", help, metric);
            let help = "Scrapes that failed because a series hit a label limit";
            let metric = self.exceeded_labels.clone();
            to.register("scrape_pool_exceeded_label_limits", help, metric);
            let help = "Scrapes that hit the body size limit";
            let metric = self.exceeded_body_size.clone();
            to.register("scrapes_exceeded_body_size_limit", help, metric);
            let help = "Scrapes that hit the sample limit";
            to.register("scrapes_exceeded_sample_limit", help, self.exceeded_samples.clone());
            let help =
                "Samples dropped as their series had one with the same timestamp in the scrape";
            to.register("scrapes_sample_duplicate_timestamp", help, self.duplicates.clone());
            let help = "Samples dropped as they were too far in the future";
            to.register("scrapes_sample_out_of_bounds", help, self.out_of_bounds.clone());
            let help = "Samples dropped as they were older than the out-of-order window";
            to.register("scrapes_sample_out_of_order", help, self.out_of_order.clone());
        });
        registry.with_prefix("prometheus_sd", |to| {
            let help = "Current number of discovered targets";
            to.register("discovered_targets", help, self.sd_targets.clone());
            let help = "Refreshes that failed";
            to.register("refresh_failures", help, self.sd_failures.clone());
        });
    }

    fn register_own(&self, registry: &MetricsRegistry) {
        registry.with_prefix("pando_agent", |to| {
            to.register("scrapes", "Scrapes", self.scrapes.clone());
            to.register("scrapes_failed", "Scrapes that failed", self.scrapes_failed.clone());
            to.register("samples_scraped", "Sample lines read", self.samples_scraped.clone());
            let help = "Discovered targets that cannot be scraped";
            to.register("target_faults", help, self.target_faults.clone());
            let help = "Lines of metadata that their target's 20,000 families leave no room for";
            to.register("metadata_left_out", help, self.metadata_left_out.clone());
            to.register("reloads", "Configurations taken in", self.reloads.clone());
            to.register("queue_bytes", "Bytes that wait in memory", self.queue_bytes.clone());
            to.register("queue_batches", "Batches that wait in memory", self.queue_batches.clone());
            let help = "Batches on their way to shards";
            to.register("in_flight_batches", help, self.in_flight_batches.clone());
            to.register("buffer_bytes", "Bytes that wait on disk", self.buffer_bytes.clone());
            to.register("buffer_samples", "Samples that wait on disk", self.buffer_samples.clone());
            to.register("shipped_samples", "Samples acknowledged", self.shipped.clone());
            to.register(
                "refused_samples",
                "Samples refused by shards for good",
                self.refused.clone(),
            );
            to.register("dropped_samples", "Samples lost on the way", self.dropped.clone());
            to.register("spooled_samples", "Samples written to disk", self.spooled.clone());
            to.register("ship_failures", "Batches not acknowledged", self.ship_failures.clone());
            let help = "Time from sending a batch to its acknowledgement";
            to.register("ship_seconds", help, self.ship_seconds.clone());
        });
    }

    /// A scrape began this long after the one before it.
    pub(crate) fn interval(&self, interval_ms: i64, actual_ms: i64) {
        let interval = pando_model::duration::format_duration(interval_ms);
        self.intervals.observe(&interval, actual_ms as f64 / 1_000.0);
    }

    /// A scrape ended.
    pub(crate) fn scraped(&self, counts: &Counts, error: Option<&ScrapeError>) {
        self.scrapes.inc();
        self.samples_scraped.inc_by(counts.scraped);
        self.duplicates.inc_by(counts.duplicates);
        self.out_of_bounds.inc_by(counts.out_of_bounds);
        let Some(error) = error else { return };
        self.scrapes_failed.inc();
        match error {
            ScrapeError::BodySize => {
                self.exceeded_body_size.inc();
            }
            ScrapeError::SampleLimit => {
                self.exceeded_samples.inc();
            }
            ScrapeError::LabelLimit { .. }
            | ScrapeError::LabelNameLength { .. }
            | ScrapeError::LabelValueLength { .. } => {
                self.exceeded_labels.inc();
            }
            _ => {}
        }
    }

    /// The state of a scrape pool.
    pub(crate) fn pool(&self, job: &str, own: usize, limit: u64, faults: usize) {
        let labels = job_labels(job);
        self.pool_targets.get_or_create(&labels).set(own as i64);
        self.pool_target_limit.get_or_create(&labels).set(limit as i64);
        self.target_faults.get_or_create(&labels).set(faults as i64);
    }

    /// The targets of a scrape pool were made anew.
    pub(crate) fn synced(&self, job: &str, took: Duration, faults: usize) {
        self.syncs.observe(job, took.as_secs_f64());
        self.sync_failures.get_or_create(&job_labels(job)).inc_by(faults as u64);
    }

    /// The metadata that the targets of a scrape pool have.
    pub(crate) fn metadata(&self, job: &str, entries: usize, bytes: usize) {
        let labels = job_labels(job);
        self.metadata_entries.get_or_create(&labels).set(entries as i64);
        self.metadata_bytes.get_or_create(&labels).set(bytes as i64);
    }

    /// What discovery gives a scrape config.
    pub(crate) fn discovered(&self, job: &str, targets: usize) {
        self.sd_targets.get_or_create(&sd_labels(job)).set(targets as i64);
    }

    /// A scrape config is gone.
    pub(crate) fn forget_job(&self, job: &str) {
        let labels = job_labels(job);
        self.pool_targets.remove(&labels);
        self.pool_target_limit.remove(&labels);
        self.target_faults.remove(&labels);
        self.sync_failures.remove(&labels);
        self.metadata_entries.remove(&labels);
        self.metadata_bytes.remove(&labels);
        self.syncs.forget(job);
        self.sd_targets.remove(&sd_labels(job));
    }

    /// A refresh of discovery failed.
    pub(crate) fn sd_failed(&self, mechanism: &'static str) {
        self.sd_failures.get_or_create(&MechanismLabels { mechanism }).inc();
    }

    /// Samples were refused for good: shards find out what Prometheus finds out while it scrapes.
    pub(crate) fn refused(&self, reason: &str, samples: u64) {
        let known = match reason {
            "too_old" => Some(&self.out_of_order),
            "too_far_ahead" => Some(&self.out_of_bounds),
            "duplicate_timestamp" => Some(&self.duplicates),
            _ => None,
        };
        known.map(|counter| counter.inc_by(samples));
        let labels = ReasonLabels { reason: reason.to_string() };
        self.refused.get_or_create(&labels).inc_by(samples);
    }

    /// Samples were lost.
    pub(crate) fn dropped(&self, reason: &'static str, samples: u64) {
        if samples > 0 {
            let labels = ReasonLabels { reason: reason.to_string() };
            self.dropped.get_or_create(&labels).inc_by(samples);
        }
    }
}

fn job_labels(job: &str) -> JobLabels {
    JobLabels { scrape_job: job.to_string() }
}

fn sd_labels(job: &str) -> SdLabels {
    SdLabels { name: "scrape", config: job.to_string() }
}

#[cfg(test)]
mod tests {
    use pando_runtime::SystemClock;

    use super::*;

    #[test]
    fn what_shards_refuse_is_counted_where_prometheus_counts_it() {
        let registry = MetricsRegistry::new();
        let metrics = AgentMetrics::register(&registry, &SystemClock::shared());
        for (samples, reason) in
            (1..).zip(["too_old", "too_far_ahead", "duplicate_timestamp", "series_limit"])
        {
            metrics.refused(reason, samples);
        }
        let text = registry.encode().expect("encodes");
        for line in [
            "prometheus_target_scrapes_sample_out_of_order_total 1\n",
            "prometheus_target_scrapes_sample_out_of_bounds_total 2\n",
            "prometheus_target_scrapes_sample_duplicate_timestamp_total 3\n",
            "pando_agent_refused_samples_total{reason=\"series_limit\"} 4\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }
}
