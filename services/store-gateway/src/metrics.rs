//! Metrics of the store gateway.

use std::sync::atomic::AtomicU64;

use pando_runtime::MetricsRegistry;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tonic::{Code, Status};

/// A call, and how it ended: a gRPC code, of which there are 17.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct EndLabels {
    call: &'static str,
    code: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct CallLabels {
    call: &'static str,
}

/// What a gateway counts. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(crate) struct GatewayMetrics {
    ended: Family<EndLabels, Counter>,
    running: Family<CallLabels, Gauge<i64>>,
    series: Counter<u64, AtomicU64>,
    samples: Counter<u64, AtomicU64>,
}

impl GatewayMetrics {
    /// Registers everything.
    pub(crate) fn new(registry: &MetricsRegistry) -> Self {
        let metrics = GatewayMetrics::default();
        registry.with_prefix("pando_store_gateway", |r| {
            let m = metrics.clone();
            r.register("calls", "Fragments and lookups by how they ended", m.ended);
            r.register("calls_running", "Fragments and lookups under way", m.running);
            r.register("series", "Series that fragments have read", m.series);
            r.register("samples", "Samples that fragments have read", m.samples);
        });
        metrics
    }

    /// A call begins; it is counted when what is returned is dropped.
    pub(crate) fn begin(&self, call: &'static str) -> Running {
        self.running.get_or_create(&CallLabels { call }).inc();
        // Whoever goes away in the middle has canceled.
        Running { metrics: self.clone(), call, code: Code::Cancelled }
    }

    /// A fragment has read so much.
    pub(crate) fn read(&self, series: u64, samples: u64) {
        self.series.inc_by(series);
        self.samples.inc_by(samples);
    }
}

/// A call that is under way.
pub(crate) struct Running {
    metrics: GatewayMetrics,
    call: &'static str,
    code: Code,
}

impl Running {
    /// The call failed.
    pub(crate) fn failed(&mut self, status: &Status) {
        self.code = status.code();
    }

    /// The call has answered all.
    pub(crate) fn done(&mut self) {
        if self.code == Code::Cancelled {
            self.code = Code::Ok;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.metrics.running.get_or_create(&CallLabels { call: self.call }).dec();
        let labels = EndLabels { call: self.call, code: format!("{:?}", self.code) };
        self.metrics.ended.get_or_create(&labels).inc();
    }
}
