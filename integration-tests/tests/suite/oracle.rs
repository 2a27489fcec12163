//! The query oracle: a real Prometheus scrapes real targets and remote-writes what it scraped to a Pando whose
//! roles are processes of their own and whose store is S3. Both have to answer alike, sample by sample.
//!
//! The peer is Prometheus 3.5 where no newer one was fetched. No query is asked that later releases answer differently:
//! what is left out because of that is named where it would stand.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use pando_integration_tests::cluster::Cluster;
use pando_integration_tests::peers::{self, S3};
use pando_integration_tests::process::Process;
use pando_integration_tests::{answers, eventually, http, now_ms};
use serde_json::{Value, json};

/// Scrapes before the cut, and again after it.
const SCRAPES: i64 = 9;
/// Instances under which node_exporter is scraped: as many places in the key space, in each quarter of it some.
const NODES: [&str; 8] = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"];
/// Shards that have to hold data.
const SHARDS: usize = 4;
/// The step of range queries, seconds: in another place between two scrapes each time.
const STEP: &str = "1.3";
/// Differences that a failure spells out.
const DIFFERENCES_MAX: usize = 12;

/// Queries, evaluated at instants and over the whole range. `$T` is the second at which the cut was made.
const QUERIES: [&str; 73] = [
    // Selectors with every kind of matcher.
    "node_load1",
    "node_cpu_seconds_total{mode=\"idle\"}",
    "node_cpu_seconds_total{mode!=\"idle\",cpu=\"0\"}",
    "node_cpu_seconds_total{mode=~\"idle|user\",instance=~\"alpha|beta|gamma\"}",
    "node_cpu_seconds_total{mode!~\"i.*|user\",instance=\"beta\"}",
    "{__name__=~\"node_memory_Mem.+\",instance!~\"(e|d|z|th).+\"}",
    "node_cpu_seconds_total{no_such_label=\"\",mode=\"user\"}",
    "{job=\"prometheus\",handler=~\".+\",code=\"200\",__name__!~\".*_bucket|.*_seconds\"}",
    "up{job=~\"node|prometheus\"}",
    "no_such_metric_at_all",
    // Counters.
    "rate(node_cpu_seconds_total[5s])",
    "rate(prometheus_http_requests_total[8s])",
    "irate(node_cpu_seconds_total{mode=\"user\"}[6s])",
    "increase(prometheus_tsdb_head_samples_appended_total[10s])",
    "resets(process_cpu_seconds_total[10s])",
    "sum by (job) (increase(process_cpu_seconds_total[7s]))",
    // Gauges over time.
    "avg_over_time(node_load1[6s])",
    "min_over_time(node_memory_MemFree_bytes[6s])",
    "max_over_time(node_memory_MemFree_bytes[6s])",
    "sum_over_time(up[10s])",
    "count_over_time({job=\"prometheus\",__name__=~\"go_.+\"}[5s])",
    "last_over_time(node_time_seconds[4s])",
    "stddev_over_time(node_memory_MemFree_bytes[8s])",
    "quantile_over_time(0.75, node_memory_MemFree_bytes[8s])",
    "delta(node_memory_MemFree_bytes[8s])",
    "idelta(node_memory_MemFree_bytes[8s])",
    "deriv(node_time_seconds[8s])",
    "predict_linear(node_time_seconds[8s], 60)",
    "changes(node_memory_MemFree_bytes[8s])",
    "present_over_time(up[3s])",
    "no_such_metric_at_all or node_load5",
    // Aggregations.
    "sum(node_memory_MemFree_bytes)",
    "sum by (mode) (rate(node_cpu_seconds_total[5s]))",
    "sum without (cpu, mode) (node_cpu_seconds_total)",
    "avg by (instance) (node_cpu_seconds_total)",
    "min by (job) (process_resident_memory_bytes)",
    "max without (cpu) (node_cpu_seconds_total)",
    "count by (__name__) ({__name__=~\"node_.+\",instance=\"alpha\"})",
    "stddev by (mode) (node_cpu_seconds_total)",
    "stdvar(node_load1)",
    "quantile by (mode) (0.9, node_cpu_seconds_total)",
    "group by (job, instance) ({__name__=~\".+_total\"})",
    "topk by (instance) (2, node_cpu_seconds_total{mode=~\"idle|user|system\"})",
    "bottomk(3, node_time_seconds)",
    "count_values(\"state\", up)",
    "topk(3, sum by (__name__) ({job=\"prometheus\",__name__=~\"go_memstats_.+_bytes\"}))",
    // Operators and joins.
    "node_memory_MemTotal_bytes - node_memory_MemFree_bytes",
    "1 - node_memory_MemFree_bytes / node_memory_MemTotal_bytes > 0.01",
    "node_cpu_seconds_total / on (instance, job) group_left () node_load1 > bool 5",
    "sum by (instance) (node_cpu_seconds_total) * on (instance) group_left (release) node_uname_info",
    "node_memory_MemFree_bytes and on (instance) node_uname_info{instance=~\"beta|gamma|.*eta\"}",
    "node_load1 or node_load5 or up",
    "up unless on (instance) node_load1",
    "node_load1 ^ 2 % 7 == bool 3",
    "-node_load1 + on (instance) node_load15 atan2 node_load5",
    // Histograms, classic and native.
    "histogram_quantile(0.9, sum by (le) (rate(prometheus_http_request_duration_seconds_bucket[8s])))",
    "histogram_quantile(0.5, prometheus_http_response_size_bytes_bucket)",
    "prometheus_http_request_duration_seconds",
    // Not rate: Prometheus 3.5 extrapolates a histogram's rate below zero where its series begins, 3.14 does not.
    "histogram_quantile(0.99, sum(irate(prometheus_http_request_duration_seconds[8s])))",
    "histogram_count(sum by (handler) (prometheus_http_request_duration_seconds))",
    "histogram_avg(prometheus_http_request_duration_seconds)",
    "histogram_fraction(0, 0.1, prometheus_http_request_duration_seconds)",
    // Time.
    "rate(node_cpu_seconds_total{mode=\"idle\"}[4s] offset 5s)",
    "node_memory_MemFree_bytes offset -2s",
    "node_memory_MemFree_bytes @ $T",
    "sum_over_time(up[4s] @ $T offset 1s)",
    "max_over_time(rate(node_cpu_seconds_total{mode=\"idle\",cpu=\"0\"}[4s])[6s:2s])",
    "timestamp(node_load1)",
    "absent(no_such_metric_at_all{job=\"x\"})",
    "absent(up)",
    "absent_over_time(node_load1{instance=\"alpha\"}[2s])",
    // Functions of labels and numbers.
    "label_replace(up, \"host\", \"$1\", \"instance\", \"(.).*\")",
    "clamp_max(round(node_load1, 0.25), 3) + scalar(sum(up))",
];

/// What queries contain that may say nothing, or fail.
const SILENT: [&str; 3] = ["no_such", "absent", "{job=\"prometheus\",__name__=~\"go_.+\"}"];

/// Queries whose order is a part of the answer.
const ORDERED: [&str; 3] = [
    "sort(sum by (mode) (node_cpu_seconds_total{instance=\"alpha\"}))",
    "sort_desc(sum by (mode) (node_cpu_seconds_total{instance=\"alpha\"}))",
    "topk(5, sum by (mode) (node_cpu_seconds_total{instance=\"alpha\"}))",
];

/// The configuration of the Prometheus; without targets where there are no more to be scraped. The jobs stay: a
/// Prometheus writes stale markers for a target that vanishes, none for a job.
fn configuration(receiver: &str, targets: Option<(&str, &str)>) -> String {
    let mut of_prometheus = String::from("[]");
    let mut of_node = String::from("[]");
    if let Some((node, own)) = targets {
        of_prometheus = format!("[{{targets: [\"{own}\"]}}]");
        of_node = String::new();
        for instance in NODES {
            let _ = write!(
                of_node,
                "\n      - {{targets: [\"{node}\"], labels: {{instance: {instance}}}}}"
            );
        }
    }
    // The first instance of node_exporter is kept whole, of the others some metrics.
    format!(
        r#"
global: {{scrape_interval: 1s, scrape_timeout: 900ms}}
remote_write:
  - url: {receiver}
    send_native_histograms: true
    queue_config: {{batch_send_deadline: 200ms}}
scrape_configs:
  - job_name: prometheus
    always_scrape_classic_histograms: true
    static_configs: {of_prometheus}
  - job_name: node
    static_configs: {of_node}
    metric_relabel_configs:
      - source_labels: [instance, __name__]
        regex: alpha;.+|.+;node_(cpu_seconds_total|load.*|time_seconds|uname_info|memory_MemT.*|memory_MemF.*)
        action: keep
"#
    )
}

/// A Prometheus, with where it listens.
struct Oracle {
    process: Process,
    base: String,
    config: std::path::PathBuf,
    receiver: String,
}

impl Oracle {
    async fn start(folder: &Path, receiver: String, node: &str) -> Result<Option<Self>> {
        let address = peers::free_address();
        let config = folder.join("oracle.yml");
        std::fs::write(&config, configuration(&receiver, Some((node, &address))))?;
        let flags = ["--enable-feature=native-histograms"];
        let started = peers::start_prometheus(folder, &config, &address, &flags).await?;
        Ok(started.map(|(process, base)| Oracle { process, base, config, receiver }))
    }

    /// Every target was scraped at least `SCRAPES` times since `since_ms`.
    async fn scraped_since(&self, since_ms: i64) -> Result<()> {
        eventually("targets are scraped", || async {
            let now_ms = now_ms();
            let window = (now_ms - since_ms).max(1_000);
            let query = format!("min(count_over_time(up[{window}ms]))");
            let answer = instant(&self.base, &query, now_ms).await?;
            let count: f64 = answer["result"][0]["value"][1].as_str().unwrap_or("0").parse()?;
            Ok((count >= SCRAPES as f64).then_some(()))
        })
        .await
        .with_context(|| self.process.log_tail())
    }

    /// Takes all targets away.
    fn stop_scraping(&self) -> Result<()> {
        std::fs::write(&self.config, configuration(&self.receiver, None))?;
        self.process.signal("HUP")
    }
}

fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000))
}

/// The `data` of an answer; of an error its type and text, which have to be the same on both sides, too.
async fn answer(url: &str, parameters: &[(&str, &str)]) -> Result<Value> {
    let mut answer = http::json(url, parameters).await?;
    match answer["status"].as_str() {
        Some("success") => Ok(answer["data"].take()),
        _ => Ok(json!({"resultType": format!("{}: {}", answer["errorType"], answer["error"])})),
    }
}

async fn instant(base: &str, query: &str, time_ms: i64) -> Result<Value> {
    let url = format!("{base}/api/v1/query");
    answer(&url, &[("query", query), ("time", &seconds(time_ms))]).await
}

async fn range(base: &str, query: &str, start_ms: i64, end_ms: i64, step: &str) -> Result<Value> {
    let (start, end) = (seconds(start_ms), seconds(end_ms));
    let parameters = [("query", query), ("start", &start), ("end", &end), ("step", step)];
    answer(&format!("{base}/api/v1/query_range"), &parameters).await
}

/// The agent's configuration before it has a target.
const AGENTS_GLOBAL: &str = "global: {scrape_interval: 1s, scrape_timeout: 1s}\n";

/// The shards that have a block in the bucket.
async fn shards_with_blocks(cluster: &Cluster, s3: &S3) -> Result<BTreeSet<String>> {
    let url = format!("http://{}/metrics?list-type=2&prefix=blocks/", s3.address);
    let listing = http::client().get(url).send().await?.text().await?;
    let keys = listing.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
    let config = format!("--objstore.config-file={}", s3.config.display());
    let mut shards = BTreeSet::new();
    for key in keys {
        let printed = cluster.tool(&["block", "inspect", key, &config])?;
        let line = printed.lines().find_map(|line| line.trim().strip_prefix("shard "));
        let line = line.with_context(|| format!("no shard in: {printed}"))?;
        shards.insert(line.split(' ').next().unwrap_or_default().to_string());
    }
    Ok(shards)
}

/// Both sides, and the times of what they hold.
struct Sides<'a> {
    ours: &'a str,
    theirs: &'a str,
    start_ms: i64,
    cut_ms: i64,
    end_ms: i64,
}

impl Sides<'_> {
    /// Waits until Pando has every sample that Prometheus has.
    async fn are_level(&self) -> Result<()> {
        let query = format!("{{__name__=~\".+\"}}[{}ms]", self.end_ms - self.start_ms);
        let end_ms = self.end_ms;
        eventually("Pando has all samples of Prometheus", || async {
            let (ours, theirs) = tokio::try_join!(
                instant(self.ours, &query, end_ms),
                instant(self.theirs, &query, end_ms)
            )?;
            let series = theirs["result"].as_array().map_or(0, Vec::len);
            ensure!(series > 500, "Prometheus has {series} series only: {}", theirs["resultType"]);
            answers::ensure_equal(&ours, &theirs).map(Some)
        })
        .await
    }

    async fn compare_instant(&self, query: &str, time_ms: i64) -> Result<()> {
        let (ours, theirs) = tokio::try_join!(
            instant(self.ours, query, time_ms),
            instant(self.theirs, query, time_ms)
        )?;
        answers::ensure_equal(&ours, &theirs)
    }

    async fn compare_range(&self, query: &str) -> Result<usize> {
        let (start, end) = (self.start_ms, self.end_ms);
        let (ours, theirs) = tokio::try_join!(
            range(self.ours, query, start, end, STEP),
            range(self.theirs, query, start, end, STEP)
        )?;
        answers::ensure_equal(&ours, &theirs)?;
        Ok(theirs["result"].as_array().map_or(0, Vec::len))
    }

    async fn compare(&self, query: &str) -> Vec<String> {
        let query = &query.replace("$T", &seconds(self.cut_ms));
        let mut differences = Vec::new();
        let middle = |a: i64, b: i64| a + (b - a) / 2;
        // In blocks, where blocks and head meet, in the head, and after the last sample.
        let times = [
            ("blocks", middle(self.start_ms, self.cut_ms)),
            ("cut", self.cut_ms + 700),
            ("head", middle(self.cut_ms, self.end_ms)),
            ("end", self.end_ms),
        ];
        for (place, time_ms) in times {
            if let Err(error) = self.compare_instant(query, time_ms).await {
                differences.push(format!("instant in {place} at {time_ms}: {query}: {error:#}"));
            }
        }
        match self.compare_range(query).await {
            Ok(0) if !SILENT.iter().any(|silent| query.contains(silent)) => {
                differences.push(format!("says nothing, so tests nothing: {query}"));
            }
            Ok(_) => {}
            Err(error) => differences.push(format!("range: {query}: {error:#}")),
        }
        differences
    }

    async fn compare_order(&self, query: &str) -> Result<()> {
        let time_ms = self.cut_ms;
        let (ours, theirs) = tokio::try_join!(
            instant(self.ours, query, time_ms),
            instant(self.theirs, query, time_ms)
        )?;
        let order = |answer: &Value| -> Vec<Value> {
            let result = answer["result"].as_array().into_iter().flatten();
            result.map(|series| series["metric"].clone()).collect()
        };
        let (ours, theirs) = (order(&ours), order(&theirs));
        ensure!(ours == theirs && !ours.is_empty(), "{query}: ours={ours:?} theirs={theirs:?}");
        Ok(())
    }
}

#[tokio::test]
async fn answers_are_those_of_the_prometheus_that_writes() -> Result<()> {
    let mut cluster = Cluster::new()?;
    let folder = cluster.folder.path().to_path_buf();
    let Some((_exporter, node)) = peers::start_node_exporter(&folder).await? else { return Ok(()) };
    let Some(s3) = peers::start_s3(&folder).await? else { return Ok(()) };
    cluster.add_roles(3, &s3.config);
    let flags = [
        "--controller.shards=4",
        "--controller.tenant-ranges=8",
        "--controller.replication-factor=3",
    ];
    cluster.give("controller", &flags);
    cluster.give("ingester", &["--ingester.query-timeout=2s"]);
    // The agent scrapes for another tenant, once the blocks of this one are counted.
    let agents_config = folder.join("agent.yml");
    std::fs::write(&agents_config, AGENTS_GLOBAL)?;
    let flags = [format!("--config.file={}", agents_config.display()), "--agent.tenant=b".into()];
    cluster.add("agent", "agent").flags.extend(flags);
    cluster.start()?;
    cluster.ready().await?;
    let receiver = cluster.url("receiver", "/api/v1/write");
    let start_ms = now_ms();
    let Some(oracle) = Oracle::start(&folder, receiver, &node).await? else { return Ok(()) };

    oracle.scraped_since(start_ms).await?;
    let printed = cluster.admin(&["cut"]).await?;
    let cut_ms = now_ms();
    let shards = shards_with_blocks(&cluster, &s3).await?;
    ensure!(shards.len() >= SHARDS, "blocks are of too few shards: {shards:?} printed: {printed}");
    let jobs = format!(
        "{AGENTS_GLOBAL}scrape_configs: [{{job_name: b, static_configs: [{{targets: ['{node}']}}]}}]\n"
    );
    std::fs::write(&agents_config, jobs)?;
    cluster.named("agent").process.as_ref().context("it runs")?.signal("HUP")?;
    oracle.scraped_since(cut_ms).await?;
    oracle.stop_scraping()?;
    let ours = cluster.url("query-frontend", "");
    eventually("the agent's target is up", || async {
        let url = format!("{ours}/api/v1/query");
        let answer = http::json_of("b", &url, &[("query", "up{job=\"b\"} == 1")]).await?;
        Ok((answer["data"]["result"].as_array().map(Vec::len) == Some(1)).then_some(()))
    })
    .await
    .with_context(|| cluster.named("agent").log_tail())?;
    // Both know that the targets are gone.
    let end_ms = eventually("series have gone stale", || async {
        let now_ms = now_ms();
        for base in [&ours, &oracle.base] {
            let up = instant(base, "up", now_ms).await?;
            ensure!(up["result"].as_array().is_some_and(Vec::is_empty), "{base}: {up}");
        }
        Ok(Some(now_ms))
    })
    .await?;
    let sides = Sides { ours: &ours, theirs: &oracle.base, start_ms, cut_ms, end_ms };
    sides.are_level().await.with_context(|| cluster.named("receiver").log_tail())?;

    let mut differences = Vec::new();
    for query in QUERIES {
        differences.extend(sides.compare(query).await);
    }
    for query in ORDERED {
        differences
            .extend(sides.compare_order(query).await.err().map(|error| format!("{error:#}")));
    }
    match differences.len() {
        0 => Ok(()),
        count => {
            differences.truncate(DIFFERENCES_MAX);
            bail!("{count} differences:\n{}", differences.join("\n"))
        }
    }
}
