//! Configuration of the query frontend.

use std::time::Duration;

use pando_promql::{Budget, Features};

/// How a query frontend behaves.
#[derive(Clone, Debug)]
pub struct FrontendConfig {
    /// Queries that run at the same time; more wait (`--query.max-concurrency`, default 20).
    pub concurrency_max: usize,
    /// How long a query may take, waiting included (`--query.timeout`, default 2 min). A request
    /// may ask for less.
    pub timeout: Duration,
    /// Samples that a query may hold in memory (`--query.max-samples`, default 50 million).
    pub samples_max: u64,
    /// Bytes that a query may hold in memory, and as many encoded ones that it may have received
    /// (default 2 GiB).
    pub bytes_max: u64,
    /// Series that a query may read, those of all its fragments added up (default 10 million).
    pub series_max: u64,
    /// How old the latest sample may be, ms (`--query.lookback-delta`, default 5 min).
    pub lookback_ms: i64,
    /// Switches of the language.
    pub features: Features,
    /// Range queries are asked for in parts whose steps are in one interval of this length, unless they would read the
    /// same blocks (`--query.split-interval`, default 24 h); 0: as a whole.
    pub split_interval: Duration,
    /// Whether functions and aggregations run where the data is (default true).
    pub push_down: bool,
    /// Calls of one query, or of one lookup, that members are asked at the same time (default 64): a call for each part
    /// by steps and each range of keys of a fragment.
    pub fragments_in_flight_max: usize,
    /// How long a query goes on looking for members that answer, while leaders change (default 10
    /// s).
    pub members_patience: Duration,
    /// How long one request waits for a catalog that it can pin (default 5 s).
    pub pin_patience: Duration,
    /// Names, values or series of one answer without a limit of its own, or with a higher one
    /// (default 1 million).
    pub lookup_results_max: usize,
    /// The largest form in a request's body (default 10 MiB, as in Go's net/http).
    pub form_bytes_max: usize,
    /// How long a form may take to arrive (default 30 s, as its headers before it).
    pub form_timeout: Duration,
}

impl Default for FrontendConfig {
    fn default() -> Self {
        let budget = Budget::default();
        FrontendConfig {
            concurrency_max: 20,
            timeout: Duration::from_secs(120),
            samples_max: budget.samples_max,
            bytes_max: budget.bytes_max,
            series_max: budget.series_max,
            lookback_ms: pando_promql::query::LOOKBACK_MS,
            features: Features::default(),
            split_interval: Duration::from_secs(24 * 3600),
            push_down: true,
            fragments_in_flight_max: 64,
            members_patience: Duration::from_secs(10),
            pin_patience: Duration::from_secs(5),
            lookup_results_max: 1_000_000,
            form_bytes_max: 10 << 20,
            form_timeout: Duration::from_secs(30),
        }
    }
}

impl FrontendConfig {
    /// The interval of parts, ms.
    pub(crate) fn split_interval_ms(&self) -> i64 {
        i64::try_from(self.split_interval.as_millis()).unwrap_or(i64::MAX)
    }

    /// Every fault at once.
    pub fn validate(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let positive = [
            ("--query.max-concurrency", self.concurrency_max as u64),
            ("--query.timeout", self.timeout.as_millis() as u64),
            ("--query.max-samples", self.samples_max),
            ("bytes_max", self.bytes_max),
            ("series_max", self.series_max),
            ("--query.lookback-delta", self.lookback_ms.max(0) as u64),
            ("lookup_results_max", self.lookup_results_max as u64),
            ("fragments_in_flight_max", self.fragments_in_flight_max as u64),
        ];
        for (name, value) in positive {
            if value == 0 {
                faults.push(format!("must be greater than 0: {name}"));
            }
        }
        faults
    }
}
