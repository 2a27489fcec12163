//! What both sides hold: floats, native histograms, exemplars, metadata, and a target that is scraped.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use pando_exposition::remote_write::{FloatSample, HistogramToWrite, SeriesToWrite};
use pando_integration_tests::cluster::Cluster;
use pando_integration_tests::writer::Writer;
use pando_integration_tests::{eventually, http, now_ms};
use pando_model::{Exemplar, Histogram, Labels, Metadata, MetricType, Span};

/// Samples of each half, one every 5 s.
const SAMPLES: i64 = 6;
const STEP_MS: i64 = 5_000;

/// When the samples are.
#[derive(Clone, Copy)]
pub(super) struct Times {
    begin_ms: i64,
}

impl Times {
    /// Times that end a moment ago, on a whole second.
    pub(super) fn now() -> Self {
        Times { begin_ms: (now_ms() / 1000 * 1000) - 2 * SAMPLES * STEP_MS }
    }

    /// Parameters with `$BEGIN`, `$MIDDLE` and `$END` replaced by the times in seconds.
    pub(super) fn fill(self, parameters: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        let marks = [("$BEGIN", 0), ("$MIDDLE", SAMPLES), ("$END", 2 * SAMPLES)];
        let fill = |text: &str| {
            marks.iter().fold(text.to_string(), |text, (mark, at)| {
                text.replace(mark, &(self.at(*at) / 1000).to_string())
            })
        };
        parameters.iter().map(|(name, value)| (*name, fill(value))).collect()
    }

    fn at(self, sample: i64) -> i64 {
        self.begin_ms + sample * STEP_MS
    }
}

/// A configuration with a target, and with one that is dropped.
pub(super) fn write_configuration(file: &Path, target: &str) -> Result<()> {
    let text = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 900ms}}\nscrape_configs:\n  - job_name: node\n    \
         static_configs: [{{targets: [\"{target}\", \"dropped:1\"]}}]\n    \
         relabel_configs: [{{source_labels: [__address__], regex: \"dropped.*\", action: drop}}]\n"
    );
    Ok(std::fs::write(file, text)?)
}

fn histogram(count: f64) -> Arc<Histogram> {
    Arc::new(Histogram {
        integer: true,
        schema: 1,
        zero_threshold: 0.001,
        zero_count: 1.0,
        count: 2.0 * count + 1.0,
        sum: 3.5 * count,
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive_buckets: vec![count, count],
        ..Histogram::default()
    })
}

fn exemplar(trace: &str, value: f64, timestamp_ms: i64) -> Exemplar {
    Exemplar { labels: Labels::from_pairs([("trace_id", trace)]), value, timestamp_ms }
}

/// Writes the samples number `first` and on; each of `requests_total` has an exemplar.
async fn write(base: &str, times: Times, first: i64) -> Result<()> {
    let writer = Writer::new(base, "default");
    for at in first..first + SAMPLES {
        let timestamp_ms = times.at(at);
        let float = [FloatSample { timestamp_ms, value: at as f64, start_ms: 0 }];
        let value = histogram(at as f64 + 1.0);
        let native = [HistogramToWrite { timestamp_ms, start_ms: 0, histogram: &value }];
        let exemplars = [exemplar(&format!("trace-{at}"), 0.25 * at as f64, timestamp_ms - 100)];
        let of = |name: &str, instance: &str| {
            Labels::from_pairs([("__name__", name), ("instance", instance), ("job", "app")])
        };
        let (one, two) = (of("requests_total", "one"), of("requests_total", "two"));
        let (latency, mixed) = (of("latency_seconds", "one"), of("mixed", "one"));
        let floats = |labels, exemplars| SeriesToWrite {
            labels,
            samples: &float,
            histograms: &[],
            exemplars,
            metadata: None,
        };
        let natives =
            |labels| SeriesToWrite { samples: &[], histograms: &native, ..floats(labels, &[]) };
        let series = [
            floats(&one, &exemplars),
            floats(&two, &[]),
            natives(&latency),
            if at % 2 == 0 { floats(&mixed, &[]) } else { natives(&mixed) },
        ];
        writer.write_series(&series).await?;
    }
    Ok(())
}

/// Writes the first half, and metadata.
pub(super) async fn write_first(base: &str, times: Times) -> Result<()> {
    write(base, times, 0).await?;
    let help = "Requests, by \"kind\".".to_string();
    let metadata = Metadata { metric_type: MetricType::Counter, unit: String::new(), help };
    Writer::new(base, "default").describe("requests_total", &metadata).await
}

/// Writes the second half, the last sample and exemplar of the first once more before it.
pub(super) async fn write_second(base: &str, times: Times) -> Result<()> {
    let at = SAMPLES - 1;
    let labels =
        Labels::from_pairs([("__name__", "requests_total"), ("instance", "one"), ("job", "app")]);
    let again = SeriesToWrite {
        labels: &labels,
        samples: &[FloatSample { timestamp_ms: times.at(at), value: at as f64, start_ms: 0 }],
        histograms: &[],
        exemplars: &[exemplar(&format!("trace-{at}"), 0.25 * at as f64, times.at(at) - 100)],
        metadata: None,
    };
    Writer::new(base, "default").write_series(&[again]).await?;
    write(base, times, SAMPLES).await
}

/// Waits until the samples that were cut are out of the head.
pub(super) async fn emptied(cluster: &Cluster) -> Result<()> {
    eventually("a generation is dropped", || async {
        let name = "pando_ingester_generations_dropped_total";
        Ok((cluster.named("all").metric(name).await? > 0.0).then_some(()))
    })
    .await
}

/// Waits until the target is up, and was for some scrapes: enough for a rate.
pub(super) async fn scraped(base: &str) -> Result<()> {
    eventually("the target is scraped", || async {
        let query = "up == 1 and count_over_time(up[1m]) > 2";
        let up = http::data(&format!("{base}/api/v1/query"), &[("query", query)]).await?;
        let count = up["result"].as_array().map_or(0, Vec::len);
        ensure!(count == 1, "targets that are up: {up}");
        Ok(Some(()))
    })
    .await
}
