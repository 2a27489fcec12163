//! What a compactor counts.

use pando_runtime::MetricsRegistry;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

/// How a work item ended: `done`, `nothing`, `given_back`, `failed` or `lost`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct EndLabels {
    pub(crate) end: &'static str,
}

/// The metrics of a compactor: `pando_compactor_*`.
#[derive(Clone, Debug)]
pub struct CompactorMetrics {
    pub(crate) runs: Family<EndLabels, Counter>,
    pub(crate) run_seconds: Histogram,
    pub(crate) working: Gauge,
    pub(crate) blocks_replaced: Counter,
    pub(crate) blocks_written: Counter,
    pub(crate) input_bytes: Counter,
    pub(crate) output_bytes: Counter,
    pub(crate) input_samples: Counter,
    pub(crate) output_samples: Counter,
    pub(crate) controller_failures: Counter,
    compactions: Counter,
    compactions_failed: Counter,
}

impl CompactorMetrics {
    /// Registers them.
    pub fn register(registry: &MetricsRegistry) -> Self {
        // From small blocks of ten minutes to some GiB of input.
        let buckets = [0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0];
        let metrics = CompactorMetrics {
            runs: Family::default(),
            run_seconds: Histogram::new(buckets),
            working: Gauge::default(),
            blocks_replaced: Counter::default(),
            blocks_written: Counter::default(),
            input_bytes: Counter::default(),
            output_bytes: Counter::default(),
            input_samples: Counter::default(),
            output_samples: Counter::default(),
            controller_failures: Counter::default(),
            compactions: Counter::default(),
            compactions_failed: Counter::default(),
        };
        // A failure shows before the quarantine that the fifth one brings, so that alerts see it.
        for end in ["done", "nothing", "given_back", "failed", "lost"] {
            metrics.runs.get_or_create(&EndLabels { end }).inc_by(0);
        }
        registry.with_prefix("prometheus_tsdb", |r| {
            let m = metrics.clone();
            r.register("compactions", "Compactions that were executed", m.compactions);
            r.register("compactions_failed", "Compactions that failed", m.compactions_failed);
        });
        let m = metrics.clone();
        registry.with_prefix("pando_compactor", |r| {
            r.register("runs", "Work items by how they ended", m.runs);
            r.register("run_duration_seconds", "Time from a lease to its end", m.run_seconds);
            r.register("working", "Work items under way", m.working);
            r.register("blocks_replaced", "Blocks that were replaced", m.blocks_replaced);
            r.register("blocks_written", "Blocks that replaced them", m.blocks_written);
            r.register("input_bytes", "Sizes of the blocks that were replaced", m.input_bytes);
            r.register("output_bytes", "Sizes of the blocks that replaced them", m.output_bytes);
            r.register(
                "input_samples",
                "Samples of the blocks that were replaced",
                m.input_samples,
            );
            r.register(
                "output_samples",
                "Samples of the blocks that replaced them; fewer by duplicates, deletes, retention",
                m.output_samples,
            );
            r.register(
                "controller_failures",
                "Times that no controller answered the question for work",
                m.controller_failures,
            );
        });
        metrics
    }

    pub(crate) fn ended(&self, end: &'static str, seconds: f64) {
        self.runs.get_or_create(&EndLabels { end }).inc();
        if matches!(end, "done" | "failed") {
            self.compactions.inc();
            self.compactions_failed.inc_by(u64::from(end == "failed"));
        }
        self.run_seconds.observe(seconds);
    }
}
