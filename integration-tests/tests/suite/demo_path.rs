//! The way of a sample from a real target into the object store and back: scraped, cut, dropped from the head, and
//! answered from a block that no cache holds.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use pando_integration_tests::cluster::{Cluster, Member};
use pando_integration_tests::{answers, eventually, http, now_ms, peers};
use serde_json::Value;

/// Scrapes before the cut.
const SCRAPES: f64 = 8.0;

/// Instant and range queries over what was scraped; a range is evaluated over the last minute.
const INSTANT: [&str; 5] = [
    "count by (job, instance) ({__name__=~\"node_.+\"})",
    "node_memory_MemTotal_bytes",
    "sum by (mode) (last_over_time(node_cpu_seconds_total[1m]))",
    "count_over_time(up[1m])",
    "node_uname_info * on (instance) group_left () count by (instance) (node_cpu_seconds_total)",
];
const RANGE: [&str; 4] = [
    "up",
    "node_time_seconds",
    "sum by (mode) (rate(node_cpu_seconds_total[5s]))",
    "max_over_time(node_load1[3s])",
];

fn scrape_config(folder: &Path, target: Option<&str>) -> Result<()> {
    let mut text = String::from("global: {scrape_interval: 500ms, scrape_timeout: 450ms}\n");
    if let Some(target) = target {
        text += &format!(
            "scrape_configs:\n  - job_name: node\n    static_configs: [{{targets: [\"{target}\"]}}]\n"
        );
    }
    std::fs::write(folder.join("prometheus.yml"), text)?;
    Ok(())
}

async fn instant(base: &str, query: &str, time_ms: i64) -> Result<Value> {
    let time = (time_ms as f64 / 1000.0).to_string();
    http::data(&format!("{base}/api/v1/query"), &[("query", query), ("time", &time)]).await
}

async fn range(base: &str, query: &str, end_ms: i64) -> Result<Value> {
    let seconds = |ms: i64| (ms as f64 / 1000.0).to_string();
    let (start, end) = (seconds(end_ms - 60_000), seconds(end_ms));
    let parameters = [("query", query), ("start", &start), ("end", &end), ("step", "500ms")];
    http::data(&format!("{base}/api/v1/query_range"), &parameters).await
}

/// What all queries answer at one time.
async fn ask(base: &str, time_ms: i64) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for query in INSTANT {
        all.push(instant(base, query, time_ms).await?);
    }
    for query in RANGE {
        all.push(range(base, query, time_ms).await?);
    }
    for (query, answer) in INSTANT.iter().chain(&RANGE).zip(&all) {
        let series = answer["result"].as_array().map_or(0, Vec::len);
        ensure!(series > 0, "no series: query={query}");
    }
    Ok(all)
}

fn ensure_same(before: &[Value], after: &[Value]) -> Result<()> {
    for ((query, before), after) in INSTANT.iter().chain(&RANGE).zip(before).zip(after) {
        answers::ensure_equal(after, before).with_context(|| format!("query={query}"))?;
    }
    Ok(())
}

async fn scraped(base: &str) -> Result<()> {
    eventually("node_exporter is scraped", || async {
        let answer = instant(base, "min(count_over_time(up[1m]))", now_ms()).await?;
        let count = answer["result"][0]["value"][1].as_str().unwrap_or("0").parse::<f64>()?;
        Ok((count >= SCRAPES).then_some(()))
    })
    .await
}

/// A gauge that does not change is stored as the target said it.
async fn ensure_true_to(target: &str, base: &str, time_ms: i64) -> Result<()> {
    let url = format!("http://{target}/metrics");
    let text = http::client().get(url).send().await?.text().await?;
    let name = "node_memory_MemTotal_bytes ";
    let said = text.lines().find_map(|line| line.strip_prefix(name)).context("it has memory")?;
    let answer = instant(base, name.trim(), time_ms).await?;
    let stored = answer["result"][0]["value"][1].as_str().context("a value")?;
    ensure!(stored.parse::<f64>()? == said.parse::<f64>()?, "said={said} stored={stored}");
    Ok(())
}

/// The committed generation is dropped once the longest query could have ended. A restart does not bring it back.
async fn emptied(member: &Member) -> Result<()> {
    eventually("the head is empty", || async {
        let dropped = member.metric("pando_ingester_generations_dropped_total").await?;
        let bytes = member.metric("pando_ingester_memory_bytes{part=\"samples\"}").await?;
        ensure!(dropped > 0.0 && bytes == 0.0, "dropped={dropped} samples take {bytes} bytes");
        Ok(Some(()))
    })
    .await
    .with_context(|| member.log_tail())
}

/// Moves the blocks of a bucket away, or back.
fn move_blocks(bucket: &Path, from: &str, to: &str) -> Result<()> {
    // A block that loses the race for its generation leaves empty folders behind.
    let target = bucket.join(to);
    if target.exists() {
        std::fs::remove_dir_all(&target)?;
    }
    std::fs::rename(bucket.join(from), target).context("the bucket has blocks")
}

#[tokio::test]
async fn one_process_answers_from_object_storage_what_it_scraped() -> Result<()> {
    let mut cluster = Cluster::new()?;
    let folder = cluster.folder.path().to_path_buf();
    let Some((_exporter, target)) = peers::start_node_exporter(&folder).await? else {
        return Ok(());
    };
    scrape_config(&folder, Some(&target))?;
    let config = format!("--config.file={}", folder.join("prometheus.yml").display());
    let all = cluster.add("all", "all");
    all.flags = vec![config, "--ingester.query-timeout=1s".into()];
    cluster.start()?;
    cluster.ready().await?;
    let base = cluster.url("all", "");
    scraped(&base).await.with_context(|| cluster.named("all").log_tail())?;
    ensure_true_to(&target, &base, now_ms()).await?;

    // Scraping ends, so that the cut takes all there is and the head stays empty after it.
    scrape_config(&folder, None)?;
    let process = cluster.named("all").process.as_ref().context("it runs")?;
    process.signal("HUP")?;
    let end_ms = eventually("the target is gone", || async {
        let now_ms = now_ms();
        let answer = instant(&base, "up", now_ms).await?;
        Ok(answer["result"].as_array().is_some_and(Vec::is_empty).then_some(now_ms - 3_000))
    })
    .await?;
    let from_head = ask(&base, end_ms).await?;
    let printed = cluster.admin(&["cut"]).await?;
    ensure!(printed.contains("is in a block"), "printed: {printed}");
    ensure_same(&from_head, &ask(&base, end_ms).await?)?;
    emptied(cluster.named("all")).await?;
    ensure_same(&from_head, &ask(&base, end_ms).await?)?;

    // Neither memory nor a cached file is left. Without the object there is no answer, and no wrong one.
    let data = cluster.named("all").folder.join("data");
    cluster.member("all").kill();
    std::fs::remove_dir_all(data.join("blocks"))?;
    move_blocks(&data.join("bucket"), "blocks", "away")?;
    cluster.start()?;
    cluster.ready().await?;
    let url = cluster.url("all", "/api/v1/query");
    let time = (end_ms as f64 / 1000.0).to_string();
    let answer = http::json(&url, &[("query", INSTANT[1]), ("time", &time)]).await?;
    ensure!(answer["status"] == "error", "answered without its object: {answer}");

    cluster.member("all").kill();
    move_blocks(&data.join("bucket"), "away", "blocks")?;
    cluster.start()?;
    cluster.ready().await?;
    let from_bucket = ask(&base, end_ms).await.with_context(|| cluster.named("all").log_tail())?;
    ensure_same(&from_head, &from_bucket)?;
    let through_gateway = gateway_calls(cluster.named("all")).await?;
    let queries = (INSTANT.len() + RANGE.len()) as f64;
    ensure!(through_gateway >= queries, "answers of the gateway: {through_gateway} of {queries}");
    ensure_true_to(&target, &base, end_ms).await?;
    check_tools(&cluster, &base, &time).await
}

/// Fragments that the store gateway of a process has answered.
async fn gateway_calls(member: &Member) -> Result<f64> {
    member.metric("pando_executor_calls_total{call=\"execute\",code=\"Ok\"}").await
}

/// What a person would look with.
async fn check_tools(cluster: &Cluster, base: &str, time: &str) -> Result<()> {
    let (count, start) = ("count(up{job=\"node\"})", (time.parse::<f64>()? - 60.0).to_string());
    let instant = ["query", "instant", base, count, "--time", time];
    let range = ["query", "range", base, count, "--start", &start, "--end", time, "--step", "1s"];
    for (args, begin) in [(&instant[..], "{} => 1 @["), (&range[..], "{} =>\n")] {
        let printed = cluster.tool(args)?;
        ensure!(printed.starts_with(begin) && printed.contains("1 @["), "printed: {printed}");
        let Some(promtool) = peers::promtool() else { continue };
        let theirs = tokio::process::Command::new(promtool).args(args).output().await?;
        let theirs = String::from_utf8(theirs.stdout)?;
        ensure!(printed == theirs, "{args:?}: printed: {printed} promtool: {theirs}");
    }
    let failed =
        cluster.tool(&["query", "instant", base, "sum("]).err().context("it is no query")?;
    ensure!(failed.to_string().contains("bad_data"), "{failed}");
    let query = format!("{base}/api/v1/query");
    let preflight =
        http::client().request(reqwest::Method::OPTIONS, &query).header("Origin", "http://x");
    let answer = preflight.send().await?;
    let allowed = answer.headers().get("access-control-allow-origin").is_some();
    ensure!(answer.status() == 204 && allowed, "preflight of a browser: {answer:?}");
    for path in ["/-/healthy", "/-/ready"] {
        let answer = http::client().get(format!("{base}{path}")).send().await?;
        ensure!(answer.status() == 200, "path={path} status={}", answer.status());
    }
    Ok(())
}

/// Overwrites a member's own copies of blocks, as a failing disk would.
fn damage_copies(member: &Member) -> Result<usize> {
    let mut damaged = 0;
    for entry in std::fs::read_dir(member.folder.join("data/blocks"))? {
        let path = entry?.path();
        let bytes = std::fs::metadata(&path)?.len();
        std::fs::write(&path, vec![0x55u8; usize::try_from(bytes)?])?;
        damaged += 1;
    }
    Ok(damaged)
}

/// An objstore.yml for a store that nobody reaches, as a flag.
fn unreachable_bucket(folder: &Path) -> Result<String> {
    let file = folder.join("unreachable.yml");
    let keys = "access_key: a, secret_key: s, region: r, insecure: true";
    let text = format!("type: S3\nconfig: {{bucket: b, endpoint: '127.0.0.1:1', {keys}}}\n");
    std::fs::write(&file, text)?;
    Ok(format!("--objstore.config-file={}", file.display()))
}

/// Every role is a process. The ingester's own copies of the blocks are damaged and it does not reach the bucket,
/// so that it has no whole ones, and the store gateway has to read them.
#[tokio::test]
async fn the_store_gateway_answers_what_an_agent_scraped() -> Result<()> {
    let mut cluster = Cluster::new()?;
    let folder = cluster.folder.path().to_path_buf();
    let Some((_exporter, target)) = peers::start_node_exporter(&folder).await? else {
        return Ok(());
    };
    scrape_config(&folder, Some(&target))?;
    let objstore = cluster.local_bucket()?;
    cluster.add_roles(1, &objstore);
    cluster.give("ingester", &["--ingester.query-timeout=1s"]);
    let config = format!("--config.file={}", folder.join("prometheus.yml").display());
    cluster.add("agent", "agent").flags.push(config);
    cluster.start()?;
    cluster.ready().await?;
    let base = cluster.url("query-frontend", "");
    scraped(&base).await.with_context(|| cluster.named("agent").log_tail())?;
    ensure_true_to(&target, &base, now_ms()).await?;

    // The agent flushes before it ends.
    let agent = cluster.member("agent").process.as_mut().context("it runs")?;
    ensure!(agent.terminate()?, "the agent does not end well: {}", agent.log_tail());
    cluster.members.retain(|member| member.name != "agent");
    let end_ms = now_ms();
    let from_head = ask(&base, end_ms).await?;
    cluster.admin(&["cut"]).await?;
    emptied(cluster.named("ingester-0")).await?;
    ensure_same(&from_head, &ask(&base, end_ms).await?)?;
    let gateway = cluster.named("store-gateway");
    ensure!(gateway.metric("pando_executor_samples_total").await? == 0.0, "the ingester reads");

    let ingester = cluster.member("ingester-0");
    ingester.kill();
    ensure!(damage_copies(ingester)? > 0, "the ingester keeps what it has uploaded");
    ingester.flags.retain(|flag| !flag.starts_with("--objstore.config-file"));
    ingester.flags.push(unreachable_bucket(&folder)?);
    cluster.start()?;
    cluster.ready().await?;
    let answered =
        ask(&base, end_ms).await.with_context(|| cluster.named("ingester-0").log_tail())?;
    ensure_same(&from_head, &answered)?;
    let gateway = cluster.named("store-gateway");
    ensure!(gateway.metric("pando_executor_samples_total").await? > 0.0, "the gateway reads");
    eventually("damaged copies are counted", || async {
        let name = "prometheus_tsdb_reloads_failures_total";
        Ok((cluster.named("ingester-0").metric(name).await? > 0.0).then_some(()))
    })
    .await
}
