//! The `process_*` metrics that every Prometheus client has, read from `/proc` when they are asked for; and the name
//! of the host. Where there is no `/proc`, there are no such metrics.

use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// The `process_*` metrics of this process.
#[derive(Debug, Default)]
pub struct ProcessMetrics(());

/// What `/proc` says of this process.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Reading {
    cpu_seconds: f64,
    start_seconds: f64,
    virtual_bytes: u64,
    resident_bytes: u64,
}

/// The units of `/proc`.
#[derive(Debug, Clone, Copy)]
struct Units {
    ticks_per_second: f64,
    page_bytes: u64,
    boot_seconds: f64,
}

/// The host's name; empty where it has none.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        if let Some(reading) = read() {
            let help = "Total user and system CPU time spent in seconds";
            let metric = encoder.encode_descriptor(
                "process_cpu_seconds",
                help,
                None,
                MetricType::Counter,
            )?;
            ConstCounter::new(reading.cpu_seconds).encode(metric)?;
            let help = "Start time of the process since unix epoch in seconds";
            gauge(&mut encoder, "process_start_time_seconds", help, reading.start_seconds)?;
            let help = "Virtual memory size in bytes";
            gauge(
                &mut encoder,
                "process_virtual_memory_bytes",
                help,
                reading.virtual_bytes as f64,
            )?;
            let help = "Resident memory size in bytes";
            let bytes = reading.resident_bytes as f64;
            gauge(&mut encoder, "process_resident_memory_bytes", help, bytes)?;
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            let help = "Number of open file descriptors";
            gauge(&mut encoder, "process_open_fds", help, open.count() as f64)?;
        }
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        if let Some(max) = files_max(&limits) {
            let help = "Maximum number of open file descriptors";
            gauge(&mut encoder, "process_max_fds", help, max)?;
        }
        Ok(())
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: f64,
) -> Result<(), std::fmt::Error> {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(value).encode(metric)
}

fn read() -> Option<Reading> {
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let boot = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    let units = Units {
        ticks_per_second: rustix::param::clock_ticks_per_second() as f64,
        page_bytes: rustix::param::page_size() as u64,
        boot_seconds: boot,
    };
    parse(&fs::read_to_string("/proc/self/stat").ok()?, units)
}

/// Reads `/proc/self/stat`: see proc(5).
fn parse(stat: &str, units: Units) -> Option<Reading> {
    // The command's name stands in parentheses and may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // Field 3 of proc(5) is the first one here.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let seconds = |ticks: u64| ticks as f64 / units.ticks_per_second;
    Some(Reading {
        cpu_seconds: seconds(field(14)? + field(15)?),
        start_seconds: units.boot_seconds + seconds(field(22)?),
        virtual_bytes: field(23)?,
        resident_bytes: field(24)? * units.page_bytes,
    })
}

/// The soft limit of open files of `/proc/self/limits`.
fn files_max(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(f64::INFINITY),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MetricsRegistry;

    #[test]
    fn stat_is_read_past_odd_names() {
        let stat = "7 (a) b)) S 1 7 7 0 -1 4194560 11 0 0 0 150 50 0 0 20 0 9 0 200 4096 3 18446744073709551615 1";
        let units = Units { ticks_per_second: 100.0, page_bytes: 4096, boot_seconds: 1000.0 };
        let reading = Reading {
            cpu_seconds: 2.0,
            start_seconds: 1002.0,
            virtual_bytes: 4096,
            resident_bytes: 3 * 4096,
        };
        assert_eq!(parse(stat, units), Some(reading));
        assert_eq!(parse("7 (a", units), None);
        assert_eq!(files_max("x\nMax open files            1024       4096 files\n"), Some(1024.0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_real_values() {
        let registry = MetricsRegistry::new();
        registry.collect(Box::new(ProcessMetrics::default()));
        let text = registry.encode().expect("encodes");
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
            line.unwrap_or_else(|| panic!("{name} is not in {text}")).parse().expect("a number")
        };
        assert!(value("process_cpu_seconds_total") >= 0.0);
        assert!(value("process_start_time_seconds") > 1.6e9);
        assert!(value("process_resident_memory_bytes") > 1e5);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_max_fds") >= value("process_open_fds"));
        assert!(!host_name().is_empty());
    }
}
