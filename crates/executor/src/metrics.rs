//! Metrics of executing fragments, the same in every role that does.

use pando_model::ErrorKind;
use pando_runtime::MetricsRegistry;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::error::ExecuteError;

/// How a fragment ended: one of three words.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// What an executor counts. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExecutorMetrics {
    ended: Family<Outcome, Counter>,
    running: Gauge,
}

impl ExecutorMetrics {
    /// Registers everything.
    pub(crate) fn new(registry: &MetricsRegistry) -> Self {
        let metrics = ExecutorMetrics::default();
        registry.with_prefix("pando_executor", |r| {
            let m = metrics.clone();
            r.register("fragments", "Fragments executed, by how they ended", m.ended);
            r.register("fragments_running", "Fragments in execution or waiting for it", m.running);
        });
        metrics
    }

    /// A fragment begins: it is counted when what is returned is dropped.
    pub(crate) fn begin(&self) -> Running {
        self.running.inc();
        // What is dropped in the middle is of no use to anybody any more.
        Running { metrics: self.clone(), outcome: "canceled" }
    }
}

/// A fragment that is under way.
pub(crate) struct Running {
    metrics: ExecutorMetrics,
    outcome: &'static str,
}

impl Running {
    /// The execution has come to its end.
    pub(crate) fn ended<T>(mut self, result: &Result<T, ExecuteError>) {
        self.outcome = match result {
            Ok(_) => "success",
            Err(error) if error.kind() == ErrorKind::Canceled => "canceled",
            Err(_) => "failed",
        };
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.metrics.running.dec();
        self.metrics.ended.get_or_create(&Outcome { outcome: self.outcome }).inc();
    }
}
