//! Metrics of the ingester, and those of Prometheus' head that dashboards look for.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use pando_codec::entry::CutReason;
use pando_head::{BlockOutcome, Refusal};
use pando_runtime::MetricsRegistry;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub(crate) struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub(crate) struct PartLabels {
    part: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub(crate) struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub(crate) struct TypeLabels {
    r#type: &'static str,
}

type Count = Gauge<u64, AtomicU64>;

/// What an ingester counts. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct IngesterMetrics {
    write_blocks: Family<OutcomeLabels, Counter>,
    samples_refused: Family<ReasonLabels, Counter>,
    samples_appended: Family<TypeLabels, Counter>,
    cuts: Family<ReasonLabels, Counter>,
    commit_seconds: Histogram,
    uploaded_bytes: Counter,
    /// Requests that were refused before anybody looked at them: memory, disk, clock.
    pub(crate) writes_shed: Counter,
    /// Tries to commit a generation that failed.
    pub(crate) commit_failures: Counter,
    /// Generations of which replicas reported different samples: an alarm.
    pub(crate) replicas_differ: Counter,
    /// Shards that are open here.
    pub(crate) shards: Count,
    /// Shards whose log has stopped for good: the process had better be started anew.
    pub(crate) shards_failed: Count,
    /// Shards that this member leads.
    pub(crate) shards_led: Count,
    /// Generations that are not in blocks yet, of the shards that this member leads.
    pub(crate) generations_uncommitted: Count,
    /// Generations here that are not what the catalog's block is: an alarm.
    pub(crate) generations_differing: Count,
    /// Committed generations that were let go of.
    pub(crate) generations_dropped: Counter,
    /// Estimated memory of series tables, streams and samples.
    pub(crate) memory_bytes: Family<PartLabels, Count>,
    /// Bytes on disk of log and checkpoints, and those that are free.
    disk_bytes: Family<PartLabels, Count>,
    pub(crate) head_series: Count,
    pub(crate) head_chunks: Count,
    reloads_failures: Counter,
}

impl IngesterMetrics {
    /// Registers everything.
    pub(crate) fn new(registry: &MetricsRegistry) -> Self {
        // From a small block to a local disk (10 ms) up to a large one to a slow store (5 min).
        let seconds = [0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
        let metrics = IngesterMetrics {
            write_blocks: Family::default(),
            samples_refused: Family::default(),
            samples_appended: Family::default(),
            cuts: Family::default(),
            commit_seconds: Histogram::new(seconds),
            uploaded_bytes: Counter::default(),
            writes_shed: Counter::default(),
            commit_failures: Counter::default(),
            replicas_differ: Counter::default(),
            shards: Gauge::default(),
            shards_failed: Gauge::default(),
            shards_led: Gauge::default(),
            generations_uncommitted: Gauge::default(),
            generations_differing: Gauge::default(),
            generations_dropped: Counter::default(),
            memory_bytes: Family::default(),
            disk_bytes: Family::default(),
            head_series: Gauge::default(),
            head_chunks: Gauge::default(),
            reloads_failures: Counter::default(),
        };
        metrics.register(registry);
        // Dashboards look for it from the beginning.
        for r#type in ["float", "histogram"] {
            drop(metrics.samples_appended.get_or_create(&TypeLabels { r#type }));
        }
        metrics
    }

    fn register(&self, registry: &MetricsRegistry) {
        registry.with_prefix("pando_ingester", |r| {
            let m = self.clone();
            r.register("write_blocks", "Write blocks by what became of them", m.write_blocks);
            r.register("samples_refused", "Samples refused for good", m.samples_refused);
            r.register("writes_shed", "Write requests refused for now", m.writes_shed);
            r.register("cuts", "Generations ended by this leader", m.cuts);
            r.register("commit_seconds", "Building and committing a generation", m.commit_seconds);
            r.register("commit_failures", "Failed tries to commit a generation", m.commit_failures);
            r.register("uploaded_bytes", "Bytes of uploaded blocks", m.uploaded_bytes);
            r.register(
                "replicas_differ",
                "Generations that replicas disagree on",
                m.replicas_differ,
            );
            r.register("shards", "Open shards", m.shards);
            r.register("shards_failed", "Shards whose log has stopped for good", m.shards_failed);
            r.register("shards_led", "Shards led by this member", m.shards_led);
            let help = "Generations that are not in blocks yet, of led shards";
            r.register("generations_uncommitted", help, m.generations_uncommitted);
            let help = "Generations here that differ from the catalog's block";
            r.register("generations_differing", help, m.generations_differing);
            let help = "Committed generations whose samples have left memory, and the checkpoints";
            r.register("generations_dropped", help, m.generations_dropped);
            r.register("memory_bytes", "Estimated memory of heads", m.memory_bytes);
            r.register("disk_bytes", "Disk of log and checkpoints, and what is free", m.disk_bytes);
        });
        registry.with_prefix("prometheus_tsdb", |r| {
            let help = "Copies of blocks on this member's disk that turned out damaged";
            r.register("reloads_failures", help, self.reloads_failures.clone());
        });
        registry.with_prefix("prometheus_tsdb_head", |r| {
            let m = self.clone();
            r.register("series", "Active series of the open shards", m.head_series);
            r.register("chunks", "Runs of samples in memory", m.head_chunks);
            let help = "Samples taken by shards that this member leads";
            r.register("samples_appended", help, m.samples_appended);
        });
    }

    /// A write block was judged.
    pub(crate) fn outcome(&self, outcome: &BlockOutcome) {
        let name = match outcome {
            BlockOutcome::Applied(_) => "applied",
            BlockOutcome::Duplicate { .. } => "duplicate",
            BlockOutcome::Expect { .. } => "expect",
            BlockOutcome::NewEpochNeeded => "new_epoch",
            BlockOutcome::SendFull { .. } => "send_full",
            BlockOutcome::Moved { .. } => "moved",
            BlockOutcome::Sealed { .. } => "sealed",
            BlockOutcome::Damaged { .. } => "damaged",
            BlockOutcome::Malformed { .. } => "malformed",
            BlockOutcome::TooManyStreams { .. } => "too_many_streams",
        };
        self.write_blocks.get_or_create(&OutcomeLabels { outcome: name }).inc();
        let BlockOutcome::Applied(verdicts) = outcome else { return };
        // What is repeated is not told by kind: it counts against floats first.
        let taken = verdicts.accepted.saturating_sub(verdicts.repeated);
        let histograms = verdicts.histograms.min(taken);
        for (r#type, taken) in [("float", taken - histograms), ("histogram", histograms)] {
            self.samples_appended.get_or_create(&TypeLabels { r#type }).inc_by(taken);
        }
        for reason in Refusal::ALL {
            let samples = verdicts.refused(reason);
            if samples > 0 {
                let labels = ReasonLabels { reason: reason.as_str() };
                self.samples_refused.get_or_create(&labels).inc_by(samples);
            }
        }
    }

    /// So many copies of blocks have turned out damaged since the start.
    pub(crate) fn copies_damaged(&self, copies: u64) {
        self.reloads_failures.inc_by(copies.saturating_sub(self.reloads_failures.get()));
    }

    /// A cut was proposed; `made` says whether it ended a generation.
    pub(crate) fn cut(&self, reason: CutReason, made: bool) {
        let reason = match reason {
            CutReason::Time => "time",
            CutReason::Size => "size",
            CutReason::Demand => "demand",
        };
        if made {
            self.cuts.get_or_create(&ReasonLabels { reason }).inc();
        }
    }

    /// A generation was committed within `took`.
    pub(crate) fn committed(&self, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
    }

    /// A block of so many bytes was uploaded.
    pub(crate) fn uploaded(&self, bytes: usize) {
        self.uploaded_bytes.inc_by(bytes as u64);
    }

    /// Memory of heads, by what it is for.
    pub(crate) fn memory(&self, part: &'static str, bytes: u64) {
        self.memory_bytes.get_or_create(&PartLabels { part }).set(bytes);
    }

    /// Bytes of a disk, by what they are for.
    pub(crate) fn disk(&self, part: &'static str, bytes: u64) {
        self.disk_bytes.get_or_create(&PartLabels { part }).set(bytes);
    }
}
