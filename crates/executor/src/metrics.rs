//! Metrics of executing fragments and lookups, the same in every role that does.

use std::sync::atomic::AtomicU64;

use pando_runtime::MetricsRegistry;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tonic::{Code, Status};

use crate::error::ExecuteError;
use crate::execution_stats::ExecutionStats;

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

/// What an executor counts. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExecutorMetrics {
    ended: Family<EndLabels, Counter>,
    running: Family<CallLabels, Gauge>,
    series: Counter<u64, AtomicU64>,
    samples: Counter<u64, AtomicU64>,
}

impl ExecutorMetrics {
    /// Registers everything.
    pub(crate) fn new(registry: &MetricsRegistry) -> Self {
        let metrics = ExecutorMetrics::default();
        registry.with_prefix("pando_executor", |r| {
            let m = metrics.clone();
            r.register("calls", "Fragments and lookups by how they ended", m.ended);
            r.register("calls_running", "Fragments and lookups under way or waiting", m.running);
            r.register("series", "Series that fragments have read", m.series);
            r.register("samples", "Samples that fragments have read", m.samples);
        });
        metrics
    }

    /// A call begins: it is counted when what is returned is dropped.
    pub(crate) fn begin(&self, call: &'static str) -> Running {
        self.running.get_or_create(&CallLabels { call }).inc();
        // What is dropped in the middle is of no use to anybody any more.
        Running { metrics: self.clone(), call, code: Code::Cancelled }
    }

    /// A fragment has read so much.
    pub(crate) fn read(&self, stats: &ExecutionStats) {
        self.series.inc_by(stats.series);
        self.samples.inc_by(stats.samples);
    }
}

/// A call that is under way.
pub(crate) struct Running {
    metrics: ExecutorMetrics,
    call: &'static str,
    code: Code,
}

impl Running {
    /// The work of the call has come to its end: what its caller is told.
    pub(crate) fn ended<T>(mut self, result: Result<T, ExecuteError>) -> Result<T, Status> {
        let told = result.map_err(|error| error.status());
        self.code = told.as_ref().err().map_or(Code::Ok, Status::code);
        told
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.metrics.running.get_or_create(&CallLabels { call: self.call }).dec();
        let labels = EndLabels { call: self.call, code: format!("{:?}", self.code) };
        self.metrics.ended.get_or_create(&labels).inc();
    }
}
