//! `Scale`: how much of everything a run does. Every loop and wait of the bench is bounded by one of these.

use std::time::Duration;

/// Counts and times of a run.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    /// A word for the head of the table.
    pub(crate) name: &'static str,
    /// Series of the synthetic history.
    pub(crate) history_series: usize,
    /// Samples of each of them, 15 s apart.
    pub(crate) history_scrapes: usize,
    /// Samples in one remote write request.
    pub(crate) request_samples: usize,
    /// How often a query is asked within one measurement: a clock tick of the kernel is 10 ms, a query less.
    pub(crate) queries: u32,
    /// Series that the ten queries are asked over.
    pub(crate) query_series: usize,
    /// Samples of each of them, 15 s apart.
    pub(crate) query_scrapes: usize,
    /// Processor time that a system is to use within one measurement of a query, seconds.
    pub(crate) query_cpu_s: f64,
    /// Scrape bodies of the capture that are replayed.
    pub(crate) capture_bodies: usize,
    /// Targets of the exporter.
    pub(crate) targets: usize,
    /// Series of each target.
    pub(crate) target_series: usize,
    /// How often a target is scraped.
    pub(crate) scrape_interval: Duration,
    /// Scraping before the measurement begins.
    pub(crate) warm_up: Duration,
    /// Scraping that is measured.
    pub(crate) window: Duration,
    /// How long what works in the background may finish what it was given, before processor time is read.
    pub(crate) settle: Duration,
}

impl Scale {
    /// What docs/performance.md describes: some 40 minutes on two cores.
    pub(crate) fn full() -> Self {
        Scale {
            name: "full",
            history_series: 10_000,
            history_scrapes: 1_440,
            request_samples: 5_000,
            queries: 5,
            query_series: 10_000,
            query_scrapes: 4_080,
            query_cpu_s: 2.0,
            capture_bodies: usize::MAX,
            targets: 1_000,
            target_series: 500,
            scrape_interval: Duration::from_secs(10),
            warm_up: Duration::from_secs(60),
            window: Duration::from_secs(60),
            settle: Duration::from_secs(5),
        }
    }

    /// So little that a debug build of everything does it within a test's patience.
    pub(crate) fn tiny() -> Self {
        Scale {
            name: "tiny: shows that the rows work, nothing else",
            history_series: 100,
            history_scrapes: 60,
            request_samples: 50,
            queries: 1,
            query_series: 300,
            query_scrapes: 60,
            query_cpu_s: 0.0,
            capture_bodies: 12,
            targets: 3,
            target_series: 20,
            scrape_interval: Duration::from_secs(1),
            warm_up: Duration::from_millis(1_500),
            window: Duration::from_secs(2),
            settle: Duration::from_millis(100),
        }
    }
}
