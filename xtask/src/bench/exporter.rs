//! `Exporter`: many targets in one thread pool of a server, each with counters of its own that move from scrape
//! to scrape as those of the synthetic history do.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;

use super::counters::Chance;
use super::serve::{Answers, Server};

/// Series of one metric of a target.
const METRIC_SERIES: usize = 20;

/// A running exporter of `targets` targets at `/metrics/0`, `/metrics/1` ...
pub(crate) struct Exporter {
    server: Server,
    targets: Arc<Targets>,
}

struct Targets {
    /// What stands before the values, the same for every target: HELP and TYPE where a metric begins.
    lines: Vec<String>,
    targets: Vec<Mutex<Target>>,
    scrapes: AtomicU64,
}

struct Target {
    values: Vec<u64>,
    chance: Chance,
}

impl Exporter {
    /// Serves `targets` targets with `series` series each.
    pub(crate) fn start(targets: usize, series: usize) -> Result<Self> {
        let target = |index: usize| {
            let mut chance = Chance(index as u64);
            let values = (0..series).map(|_| chance.below(1_000_000)).collect();
            Mutex::new(Target { values, chance })
        };
        let targets = Arc::new(Targets {
            lines: (0..series).map(line).collect(),
            targets: (0..targets).map(target).collect(),
            scrapes: AtomicU64::new(0),
        });
        Ok(Exporter { server: Server::start(targets.clone())?, targets })
    }

    /// Scrapes answered so far, of all targets.
    pub(crate) fn scrapes(&self) -> u64 {
        self.targets.scrapes.load(Ordering::Relaxed)
    }

    /// The job `bench` of all targets, as a configuration of Prometheus.
    pub(crate) fn scrape_config(&self, interval_s: u64) -> String {
        scrape_config(self.server.address, self.targets.targets.len(), interval_s)
    }
}

fn scrape_config(address: SocketAddr, targets: usize, interval_s: u64) -> String {
    let mut text = format!(
        "global:\n  scrape_interval: {interval_s}s\n  scrape_timeout: {interval_s}s\n\
         scrape_configs:\n  - job_name: bench\n    static_configs:\n"
    );
    for index in 0..targets {
        text += &format!(
            "      - targets: ['{address}']\n        labels:\n          instance: target-{index}\n          \
             __metrics_path__: /metrics/{index}\n"
        );
    }
    text
}

fn line(index: usize) -> String {
    let (metric, series) = (index / METRIC_SERIES, index % METRIC_SERIES);
    let name = format!("bench_requests_{metric:02}_total");
    let code = ["200", "201", "404", "500", "503"][series % 5];
    let method = ["GET", "POST"][(series / 5) % 2];
    let handler = series / 10;
    let head = match series {
        0 => format!("# HELP {name} Requests answered.\n# TYPE {name} counter\n"),
        _ => String::new(),
    };
    let labels = format!("code=\"{code}\",handler=\"/api/v1/items{handler}\",method=\"{method}\"");
    format!("{head}{name}{{{labels}}} ")
}

impl Answers for Targets {
    fn answer(&self, path: &str, body: &mut Vec<u8>) -> u16 {
        let path = path.split('?').next().unwrap_or_default();
        let index = path.strip_prefix("/metrics/").and_then(|index| index.parse::<usize>().ok());
        let Some(target) = index.and_then(|index| self.targets.get(index)) else { return 404 };
        let mut target = target.lock().unwrap_or_else(PoisonError::into_inner);
        let Target { values, chance } = &mut *target;
        for (index, (line, value)) in self.lines.iter().zip(values).enumerate() {
            *value += chance.growth(index);
            body.extend_from_slice(line.as_bytes());
            if writeln!(body, "{value}").is_err() {
                return 500;
            }
        }
        self.scrapes.fetch_add(1, Ordering::Relaxed);
        200
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::bench::http::Client;

    #[test]
    fn each_target_has_its_lines_and_they_move() {
        let exporter = Exporter::start(2, 40).expect("loopback");
        let mut client = Client::new(exporter.server.address);
        let mut scrape = |path: &str| {
            let body = client.get(path).expect("a body");
            let text = String::from_utf8(body).expect("text");
            text.lines().filter(|l| !l.starts_with('#')).map(str::to_string).collect::<Vec<_>>()
        };
        let (first, second) = (scrape("/metrics/0"), scrape("/metrics/0"));
        assert_eq!(first.len(), 40);
        let series: BTreeSet<_> =
            first.iter().map(|l| l.rsplit_once(' ').map(|(s, _)| s)).collect();
        assert_eq!(series.len(), 40);
        assert_ne!(first, second);
        assert_ne!(first, scrape("/metrics/1"));
        assert_eq!(exporter.scrapes(), 3);
        assert!(client.get("/metrics/2").is_err());
    }

    #[test]
    fn the_configuration_names_every_target_once() {
        let address = "127.0.0.1:1".parse().expect("an address");
        let text = scrape_config(address, 3, 10);
        assert_eq!(text.matches("__metrics_path__").count(), 3);
        assert!(text.contains("/metrics/2\n"));
    }
}
