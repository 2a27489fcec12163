//! What a receiver counts.

use pando_runtime::MetricsRegistry;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

/// Labels of a request: a known version and one of five statuses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    /// `v1`, `v2`, or `unknown` where the request could not be read.
    pub(crate) version: &'static str,
    /// The HTTP status.
    pub(crate) code: u16,
}

/// What became of samples. The values are the shards' reasons, a handful.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ReasonLabels {
    pub(crate) reason: String,
}

/// The metrics of a receiver: `pando_receiver_*`, and one of Prometheus' own names that its alerts use.
#[derive(Clone, Debug)]
pub struct ReceiverMetrics {
    pub(crate) requests: Family<RequestLabels, Counter>,
    pub(crate) request_seconds: Histogram,
    pub(crate) body_bytes: Counter,
    pub(crate) in_flight_bytes: Gauge,
    pub(crate) samples_accepted: Counter,
    pub(crate) samples_refused: Family<ReasonLabels, Counter>,
    pub(crate) histograms: Counter,
    pub(crate) exemplars: Counter,
    pub(crate) exemplars_dropped: Counter,
    pub(crate) series_invalid: Counter,
    pub(crate) invalid_labels_samples: Counter,
}

impl ReceiverMetrics {
    /// Registers them.
    pub fn register(registry: &MetricsRegistry) -> Self {
        // From what a local shard takes to what a sender's own timeout (30 s) allows.
        let buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
        let metrics = ReceiverMetrics {
            requests: Family::default(),
            request_seconds: Histogram::new(buckets),
            body_bytes: Counter::default(),
            in_flight_bytes: Gauge::default(),
            samples_accepted: Counter::default(),
            samples_refused: Family::default(),
            histograms: Counter::default(),
            exemplars: Counter::default(),
            exemplars_dropped: Counter::default(),
            series_invalid: Counter::default(),
            invalid_labels_samples: Counter::default(),
        };
        let m = metrics.clone();
        registry.with_prefix("pando_receiver", |r| {
            r.register("requests", "Remote write requests by version and HTTP status", m.requests);
            r.register(
                "request_duration_seconds",
                "Time from a request's headers to its answer",
                m.request_seconds,
            );
            r.register("body_bytes", "Bytes of requests as sent", m.body_bytes);
            r.register(
                "in_flight_bytes",
                "Bytes of requests as sent that are read or shipped now",
                m.in_flight_bytes,
            );
            r.register("samples_accepted", "Samples that shards have stored", m.samples_accepted);
            r.register(
                "samples_refused",
                "Samples that were refused for good, by reason",
                m.samples_refused,
            );
            r.register("histograms", "Native histogram samples that were shipped", m.histograms);
            r.register("exemplars", "Exemplars that were shipped", m.exemplars);
            r.register(
                "exemplars_dropped",
                "Exemplars that are faulty or came without a sample of their series",
                m.exemplars_dropped,
            );
            r.register("series_invalid", "Series left out for their labels", m.series_invalid);
        });
        registry.with_prefix("prometheus_api_remote_write", |r| {
            r.register(
                "invalid_labels_samples",
                "Samples of 1.0 requests left out for the labels of their series",
                m.invalid_labels_samples,
            );
        });
        metrics
    }
}
