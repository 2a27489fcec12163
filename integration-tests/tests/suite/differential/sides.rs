//! Both sides: a Pando whose roles are processes of their own, and a Prometheus that is begun anew for each data.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use pando_exposition::remote_write::{
    self, FloatSample, HistogramToWrite, SeriesToWrite, encode_v2,
};
use pando_integration_tests::catalog::CatalogNow;
use pando_integration_tests::cluster::Cluster;
use pando_integration_tests::process::Process;
use pando_integration_tests::{eventually, http, peers};
use pando_model::{BlockSource, Histogram, ResetHint, SampleValue, SeriesSamples, TimeRange};
use pando_promql::QueryParams;
use reqwest::StatusCode;
use serde_json::Value;

/// Shards of Pando, at least; ingesters, each of which leads some.
pub(super) const SHARDS: usize = 4;
/// Switches that both know by the same names.
const FEATURES: &str = "promql-experimental-functions";
const DELAYED: &str = "promql-delayed-name-removal";
/// Those that only Prometheus asks for.
const FEATURES_OF_PROMETHEUS: &str = "native-histograms,promql-duration-expr";

/// The step of subqueries that name none: none that anything has by default.
const EVALUATION_INTERVAL: &str = "45s";

/// An answer of Prometheus' API.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// `errorType`; empty where there is none.
    pub(super) kind: String,
    pub(super) error: String,
    pub(super) data: Value,
    /// Sorted.
    pub(super) warnings: Vec<String>,
    pub(super) infos: Vec<String>,
}

/// A server with Prometheus' API, and as whom it is asked.
#[derive(Clone, Debug)]
pub(super) struct Server {
    base: String,
    tenant: String,
}

impl Server {
    pub(super) async fn instant(&self, query: &str, t_ms: i64) -> Result<Answer> {
        self.ask(query, &QueryParams::instant(t_ms)).await
    }

    pub(super) async fn ask(&self, query: &str, params: &QueryParams) -> Result<Answer> {
        let steps = &params.steps;
        let lookback = format!("{}ms", params.lookback_ms);
        let mut parameters = vec![("query", query.to_string()), ("lookback_delta", lookback)];
        let path = if params.instant { "query" } else { "query_range" };
        if params.instant {
            parameters.push(("time", seconds(steps.start_ms())));
        } else {
            parameters.push(("start", seconds(steps.start_ms())));
            parameters.push(("end", seconds(params.end_ms)));
            parameters.push(("step", seconds(steps.step_ms())));
        }
        let request = http::client().post(format!("{}/api/v1/{path}", self.base));
        let request = request.header("X-Scope-OrgID", &self.tenant).form(&parameters);
        let response = request.send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        let mut body: Value = serde_json::from_str(&text)
            .with_context(|| format!("not an answer of the API: {status} {text:.200}"))?;
        let texts = |name: &str| {
            let texts = body[name].as_array().into_iter().flatten();
            let mut texts: Vec<String> =
                texts.filter_map(Value::as_str).map(str::to_string).collect();
            texts.sort();
            texts
        };
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_string();
        Ok(Answer {
            status,
            kind: text("errorType"),
            error: text("error"),
            warnings: texts("warnings"),
            infos: texts("infos"),
            data: body["data"].take(),
        })
    }

    /// The release, such as (3, 5).
    pub(super) async fn version(&self) -> Result<(u32, u32)> {
        let url = format!("{}/api/v1/status/buildinfo", self.base);
        let data = http::data(&url, &[]).await?;
        let version = data["version"].as_str().context("a version")?;
        let mut numbers = version.split('.').map(str::parse::<u32>);
        let mut number = || numbers.next()?.ok();
        let read = number().zip(number());
        read.with_context(|| format!("not a version: {version}"))
    }

    async fn write(&self, body: Vec<u8>) -> Result<()> {
        let body = bytes::Bytes::from(body);
        eventually("samples are taken", || async {
            let request = http::client().post(format!("{}/api/v1/write", self.base));
            let request = request
                .header("X-Scope-OrgID", &self.tenant)
                .header("Content-Type", remote_write::CONTENT_TYPE_V2)
                .header("Content-Encoding", remote_write::CONTENT_ENCODING)
                .header(remote_write::VERSION_HEADER, "2.0.0");
            let response = request.body(body.clone()).send().await?;
            let status = response.status();
            let said = format!("{status}: {}", response.text().await?);
            match status {
                _ if status.is_success() => Ok(Some(Ok(()))),
                // A shard's leader is being elected.
                StatusCode::SERVICE_UNAVAILABLE => anyhow::bail!(said),
                _ => Ok(Some(Err(said))),
            }
        })
        .await
        .and_then(|taken| taken.map_err(anyhow::Error::msg))
        .with_context(|| self.base.clone())
    }
}

fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000))
}

/// A run of a series' samples of one type.
enum Run {
    Floats(Vec<FloatSample>),
    Histograms(Vec<(i64, Histogram)>),
}

/// The samples of `series` within `time` in remote-write requests that are sent one after the other: Prometheus appends
/// a request's floats before its histograms, integer ones before others, and drops without a word what is out of order
/// then, so that the nth request holds the nth run of each series.
fn requests(series: &[SeriesSamples], time: TimeRange) -> Result<Vec<Vec<u8>>> {
    let runs: Vec<Vec<Run>> = series.iter().map(|one| runs(one, time)).collect();
    let count = runs.iter().map(Vec::len).max().unwrap_or(0);
    (0..count).map(|nth| request(series, &runs, nth)).collect()
}

/// Reset hints other than a gauge's are left away: Prometheus' storage does not believe what it is sent, and finds out
/// from the samples.
fn runs(series: &SeriesSamples, time: TimeRange) -> Vec<Run> {
    let mut runs = Vec::new();
    // Prometheus takes a stale marker for one of the type that was there before the request.
    let mut alone = true;
    for (at, timestamp_ms) in series.axis.iter().copied().enumerate() {
        if !time.contains(timestamp_ms) {
            continue;
        }
        let value = series.value(at);
        let stale = value.is_stale();
        let last = if stale || alone { None } else { runs.last_mut() };
        alone = stale;
        match value {
            SampleValue::Float(value) => {
                let sample = FloatSample { timestamp_ms, start_ms: 0, value };
                match last {
                    Some(Run::Floats(run)) => run.push(sample),
                    _ => runs.push(Run::Floats(vec![sample])),
                }
            }
            SampleValue::Histogram(histogram) => {
                let mut histogram = (*histogram).clone();
                if histogram.reset_hint != ResetHint::Gauge {
                    histogram.reset_hint = ResetHint::Unknown;
                }
                match last {
                    Some(Run::Histograms(run)) if run[0].1.integer == histogram.integer => {
                        run.push((timestamp_ms, histogram));
                    }
                    _ => runs.push(Run::Histograms(vec![(timestamp_ms, histogram)])),
                }
            }
        }
    }
    runs
}

/// The request of each series' nth run.
fn request(series: &[SeriesSamples], runs: &[Vec<Run>], nth: usize) -> Result<Vec<u8>> {
    let histograms: Vec<Vec<_>> = runs.iter().map(|runs| histograms(runs.get(nth))).collect();
    let all = series.iter().zip(runs.iter().zip(&histograms));
    let all = all.filter(|(_, (runs, _))| nth < runs.len()).map(|(series, (runs, histograms))| {
        let samples = match &runs[nth] {
            Run::Floats(run) => run.as_slice(),
            Run::Histograms(_) => &[],
        };
        let labels = &series.labels;
        SeriesToWrite { labels, samples, histograms, exemplars: &[], metadata: None }
    });
    Ok(encode_v2(&all.collect::<Vec<_>>())?)
}

fn histograms(run: Option<&Run>) -> Vec<HistogramToWrite<'_>> {
    let Some(Run::Histograms(run)) = run else { return Vec::new() };
    let mut all = Vec::new();
    for (timestamp_ms, histogram) in run {
        all.push(HistogramToWrite { timestamp_ms: *timestamp_ms, start_ms: 0, histogram });
    }
    all
}

/// Pando, for data after data.
pub(super) struct Sides {
    cluster: Cluster,
}

/// What is asked about one data.
pub(super) struct Pair {
    pub(super) ours: Server,
    pub(super) theirs: Server,
    process: Process,
    folder: PathBuf,
}

impl Sides {
    /// Four shards, on ingesters of their own, and two frontends: one removes names as Prometheus does by default, the
    /// other delays that. `None` where there is no Prometheus.
    pub(super) async fn start() -> Result<Option<Self>> {
        if peers::prometheus().is_none() {
            return Ok(None);
        }
        let mut cluster = Cluster::new()?;
        let bucket = cluster.local_bucket()?;
        cluster.add_roles(SHARDS, &bucket);
        let flags = [
            "--controller.shards=4",
            "--controller.tenant-ranges=8",
            "--controller.replication-factor=1",
            "--limits.out-of-order-time-window=100y",
        ];
        cluster.give("controller", &flags);
        cluster.add("query-frontend", "delayed").flags.push(format!("--enable-feature={DELAYED}"));
        let interval = format!("--query.default-evaluation-interval={EVALUATION_INTERVAL}");
        cluster.give("query-frontend", &[&format!("--enable-feature={FEATURES}"), &interval]);
        cluster.start()?;
        cluster.ready().await?;
        CatalogNow::has_open_shards(&cluster, SHARDS).await?;
        Ok(Some(Sides { cluster }))
    }

    /// Gives `series` to both: the first half ends in Pando's blocks, the second in its heads.
    pub(super) async fn hold(
        &self,
        name: &str,
        series: &[SeriesSamples],
        middle_ms: i64,
        delayed: bool,
    ) -> Result<Pair> {
        let folder = self.cluster.folder.path().join(name);
        let (process, base) = start_prometheus(&folder, delayed).await?;
        let theirs = Server { base, tenant: String::new() };
        let frontend = if delayed { "delayed" } else { "query-frontend" };
        let server = |base| Server { base, tenant: name.to_string() };
        let receiver = server(self.cluster.url("receiver", ""));
        let first = TimeRange { max_ms: middle_ms, ..TimeRange::ALL };
        let second = TimeRange { min_ms: middle_ms, ..TimeRange::ALL };
        for time in [first, second] {
            for body in requests(series, time)? {
                receiver.write(body.clone()).await?;
                theirs.write(body).await.with_context(|| process.log_tail())?;
            }
            if time == first {
                self.cluster.admin(&["cut"]).await?;
            }
        }
        Ok(Pair { ours: server(self.cluster.url(frontend, "")), theirs, process, folder })
    }

    /// How many fragments were answered, and how many shards have blocks.
    pub(super) async fn counts(&self) -> Result<(f64, usize)> {
        let fragments = "pando_query_frontend_fragments_total";
        let fragments = self.cluster.metric_of("query-frontend", fragments).await?;
        let catalog = CatalogNow::of(&self.cluster).await?;
        let shards = catalog.blocks.iter().filter_map(|block| match &block.record.source {
            BlockSource::Generation(generation) => Some(generation.shard),
            BlockSource::Compaction { .. } => None,
        });
        Ok((fragments, shards.collect::<BTreeSet<_>>().len()))
    }

    pub(super) fn log_tails(&self) -> String {
        self.cluster.log_tails()
    }
}

async fn start_prometheus(folder: &Path, delayed: bool) -> Result<(Process, String)> {
    std::fs::create_dir_all(folder)?;
    let config = folder.join("prometheus.yml");
    std::fs::write(&config, format!("global: {{evaluation_interval: {EVALUATION_INTERVAL}}}\n"))?;
    let delayed = if delayed { format!(",{DELAYED}") } else { String::new() };
    let features = format!("--enable-feature={FEATURES},{FEATURES_OF_PROMETHEUS}{delayed}");
    let flags = ["--web.enable-remote-write-receiver", &features];
    let address = peers::free_address();
    let started = peers::start_prometheus(folder, &config, &address, &flags).await?;
    started.context("a Prometheus, which was there a moment ago")
}

impl Pair {
    /// Forgets the data of the Prometheus.
    pub(super) fn end(self) -> Result<()> {
        drop(self.process);
        Ok(std::fs::remove_dir_all(self.folder)?)
    }
}
