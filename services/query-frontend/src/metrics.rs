//! Metrics of the query frontend: its own, and those of Prometheus that common dashboards ask for.

use std::time::Duration;

use pando_model::ErrorKind;
use pando_runtime::{MetricsRegistry, SharedClock, SummaryFamily};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::error::FrontendError;
use crate::query::Answer;

/// From a cached panel to a query at its timeout, seconds.
const QUERY_BUCKETS: [f64; 12] =
    [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 20.0, 120.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandlerCode {
    handler: &'static str,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Handler {
    handler: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// Those of Prometheus' engine, which dashboards ask for.
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];
/// The parts of a query's time. Sorting is a part of `inner_eval` here, so that `result_sort` stays empty.
const SLICES: [&str; 4] = ["queue_time", "prepare_time", "inner_eval", "result_sort"];

type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

fn durations() -> Histogram {
    Histogram::new(QUERY_BUCKETS)
}

/// The metrics. Handlers are the fixed paths of the API, so that labels are bounded.
#[derive(Clone, Debug)]
pub(crate) struct FrontendMetrics {
    queries: Family<Outcome, Counter>,
    query_seconds: Histogram,
    pub(crate) fragments: Counter,
    pub(crate) stale: Counter,
    pub(crate) retries: Counter,
    series_read: Counter,
    samples_read: Counter,
    active: Gauge,
    engine_seconds: SummaryFamily,
    requests: Family<HandlerCode, Counter>,
    request_seconds: Durations<Handler>,
}

impl FrontendMetrics {
    /// Registers them.
    pub(crate) fn register(
        registry: &MetricsRegistry,
        clock: &SharedClock,
        concurrency_max: usize,
    ) -> Self {
        let metrics = FrontendMetrics {
            queries: Family::default(),
            query_seconds: durations(),
            fragments: Counter::default(),
            stale: Counter::default(),
            retries: Counter::default(),
            series_read: Counter::default(),
            samples_read: Counter::default(),
            active: Gauge::default(),
            engine_seconds: SummaryFamily::new("slice", &QUANTILES, clock.clone()),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(durations),
        };
        let m = &metrics;
        registry.with_prefix("pando_query_frontend", |r| {
            r.register("queries", "Queries by how they ended", m.queries.clone());
            r.register("query_duration_seconds", "Whole time of a query", m.query_seconds.clone());
            r.register("fragments", "Fragments with a whole answer", m.fragments.clone());
            let help = "Fragments planned again because the catalog had moved on";
            r.register("stale_plans", help, m.stale.clone());
            let help = "Fragments planned again because no member answered";
            r.register("unanswered_plans", help, m.retries.clone());
            r.register("series_read", "Series that members read", m.series_read.clone());
            r.register("samples_read", "Samples that members read", m.samples_read.clone());
        });
        registry.with_prefix("prometheus_engine", |r| {
            r.register("queries", "Queries under way", m.active.clone());
            let max = Gauge::<i64>::default();
            max.set(i64::try_from(concurrency_max).unwrap_or(i64::MAX));
            r.register("queries_concurrent_max", "Queries that may be under way", max);
        });
        SLICES.iter().for_each(|slice| m.engine_seconds.prepare(slice));
        let name = "prometheus_engine_query_duration_seconds";
        registry.register_summary(name, "Query timings", m.engine_seconds.clone());
        registry.with_prefix("prometheus_http", |r| {
            r.register("requests", "HTTP requests", m.requests.clone());
            let help = "Time of HTTP requests";
            r.register("request_duration_seconds", help, m.request_seconds.clone());
        });
        metrics
    }

    /// Counts a query as under way until the guard is dropped.
    pub(crate) fn active_query(&self) -> ActiveQuery {
        self.active.inc();
        ActiveQuery(self.active.clone())
    }

    /// A query begins.
    pub(crate) fn query_begun<'a>(&'a self, clock: &'a SharedClock) -> BegunQuery<'a> {
        BegunQuery { metrics: self, clock, began: clock.monotonic(), outcome: "canceled" }
    }

    fn timed(&self, result: &Result<Answer, FrontendError>) {
        if let Ok(answer) = result {
            self.series_read.inc_by(answer.series_read);
            self.samples_read.inc_by(answer.samples_read);
            let timings = answer.timings;
            for (slice, time) in [
                ("queue_time", timings.queue),
                ("prepare_time", timings.prepare + timings.fragments),
                ("inner_eval", timings.evaluate),
            ] {
                self.engine_seconds.observe(slice, time.as_secs_f64());
            }
        }
    }

    pub(crate) fn request_ended(&self, handler: &'static str, code: u16, took: Duration) {
        self.requests.get_or_create(&HandlerCode { handler, code }).inc();
        self.request_seconds.get_or_create(&Handler { handler }).observe(took.as_secs_f64());
    }
}

/// A query that has begun. Whoever asked may leave before it ends: then this is dropped, and the query was canceled.
pub(crate) struct BegunQuery<'a> {
    metrics: &'a FrontendMetrics,
    clock: &'a SharedClock,
    began: Duration,
    outcome: &'static str,
}

impl BegunQuery<'_> {
    /// The query has ended.
    pub(crate) fn ended(mut self, result: &Result<Answer, FrontendError>) {
        self.outcome = match result {
            Ok(_) => "success",
            Err(error) => match error.kind() {
                ErrorKind::Timeout => "timeout",
                ErrorKind::Canceled => "canceled",
                ErrorKind::LimitExceeded => "limit",
                ErrorKind::Invalid | ErrorKind::Execution => "refused",
                ErrorKind::Unavailable | ErrorKind::Stale => "unavailable",
                _ => "internal",
            },
        };
        self.metrics.timed(result);
    }
}

impl Drop for BegunQuery<'_> {
    fn drop(&mut self) {
        let took = self.clock.monotonic().saturating_sub(self.began);
        self.metrics.queries.get_or_create(&Outcome { outcome: self.outcome }).inc();
        self.metrics.query_seconds.observe(took.as_secs_f64());
    }
}

/// A query under way.
pub(crate) struct ActiveQuery(Gauge);

impl Drop for ActiveQuery {
    fn drop(&mut self) {
        self.0.dec();
    }
}
