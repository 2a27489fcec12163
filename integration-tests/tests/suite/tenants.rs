//! Two tenants that write the same series at the same times: neither is ever shown anything of the other, and a third
//! one nothing at all; out of heads, out of a block that both are in, out of caches, and by every endpoint (INV-9).

use anyhow::{Context, Result, ensure};
use pando_integration_tests::catalog::CatalogNow;
use pando_integration_tests::cluster::Cluster;
use pando_integration_tests::writer::{Writer, Written};
use pando_integration_tests::{eventually, http, now_ms};
use pando_model::{Labels, Metadata, MetricType};

/// Each tenant's name is a part of everything that only it may see.
const TENANTS: [&str; 2] = ["crimson", "azure"];
/// They have written nothing; "" is the tenant of a request without a header.
const STRANGERS: [&str; 2] = ["ochre", ""];
/// Samples of each series, one a second.
const SAMPLES: i64 = 30;
/// Rounds of alternating requests in each state of the cluster: all but the first may be answered by a cache.
const ROUNDS: usize = 3;

/// Where a tenant's data is.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Head,
    Block,
}

/// A request, and how long it has an answer that is the tenant's own.
struct Request {
    path: &'static str,
    parameters: Vec<(&'static str, String)>,
    /// Metadata and cardinality are those of live generations.
    live_only: bool,
}

/// The values of a tenant begin with these digits, so that a number shows whose it is.
fn digits(tenant: &str) -> &'static str {
    if tenant == TENANTS[0] { "71717" } else { "83838" }
}

fn requests(end_ms: i64) -> Vec<Request> {
    let seconds = |ms: i64| format!("{}.{:03}", ms / 1000, ms % 1000);
    let (start, end) = (seconds(end_ms - 60_000), seconds(end_ms));
    let mut all = Vec::new();
    let mut add = |path, parameters: Vec<(&'static str, &str)>, live_only| {
        let owned = parameters.into_iter().map(|(name, value)| (name, value.to_string()));
        all.push(Request { path, parameters: owned.collect(), live_only });
    };
    for query in [
        "same_metric",
        "same_metric[1m]",
        "max by (instance) (same_metric)",
        "topk(10, {__name__=~\".+\"})",
        "max_over_time(same_metric[30s])",
        "same_metric * on (instance) group_left (owner) owned_info",
    ] {
        add("/api/v1/query", vec![("query", query), ("time", &end)], false);
        if !query.ends_with(']') {
            let range = vec![("query", query), ("start", &start), ("end", &end), ("step", "5")];
            add("/api/v1/query_range", range, false);
        }
    }
    let times = [("start", start.as_str()), ("end", end.as_str())];
    let within = |more: &[(&'static str, &'static str)]| [&times, more].concat();
    add("/api/v1/series", within(&[("match[]", "{job=\"app\"}")]), false);
    add("/api/v1/labels", within(&[]), false);
    add("/api/v1/labels", within(&[("match[]", "owned_info")]), false);
    add("/api/v1/label/__name__/values", within(&[]), false);
    add("/api/v1/label/owner/values", within(&[]), false);
    add("/api/v1/metadata", vec![], true);
    add("/api/v1/metadata", vec![("metric", "same_metric")], true);
    add("/api/v1/query_exemplars", within(&[("query", "same_metric")]), false);
    add("/api/v1/status/tsdb", vec![("limit", "1000")], true);
    all
}

/// Writes what is the same for both by name and labels, and what is a tenant's own.
async fn write(writer: &Writer, end_ms: i64) -> Result<()> {
    let tenant = writer.tenant();
    let begin: f64 = format!("{}000", digits(tenant)).parse()?;
    let label = format!("label_of_{tenant}");
    let name = format!("metric_of_{tenant}");
    for turn in 0..SAMPLES {
        let t_ms = end_ms - 1000 * (SAMPLES - 1 - turn);
        let value = begin + turn as f64;
        let mut samples = Vec::new();
        for instance in ["one", "two", "three"] {
            let place = [("job", "app"), ("instance", instance)];
            samples.push(Written::new("same_metric", &place, t_ms, value));
            let owned = [("job", "app"), ("instance", instance), ("owner", tenant), (&label, "x")];
            samples.push(Written::new("owned_info", &owned, t_ms, 1.0));
        }
        samples.push(Written::new(&name, &[("job", "app"), ("instance", "one")], t_ms, value));
        writer.write_surely(&samples).await?;
    }
    let place = [("job", "app"), ("instance", "one")];
    let last = Written::new("same_metric", &place, end_ms, begin + (SAMPLES - 1) as f64);
    let trace = format!("trace-of-{tenant}");
    writer.write_exemplar(&last, Labels::from_pairs([("trace_id", trace.as_str())])).await?;
    let help = format!("What {tenant} says of it.");
    let metadata = Metadata { metric_type: MetricType::Gauge, unit: String::new(), help };
    writer.describe("same_metric", &metadata).await
}

/// Whether an answer shows something of a tenant.
fn shows(answer: &str, tenant: &str) -> bool {
    answer.contains(tenant) || answer.contains(digits(tenant))
}

async fn check(base: &str, end_ms: i64, place: Place) -> Result<()> {
    for request in requests(end_ms) {
        let parameters: Vec<(&str, &str)> =
            request.parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let url = format!("{base}{}", request.path);
        for _ in 0..ROUNDS {
            for (tenant, other) in [(TENANTS[0], TENANTS[1]), (TENANTS[1], TENANTS[0])] {
                let answer = http::data_of(tenant, &url, &parameters).await?.to_string();
                let what =
                    || format!("{} {parameters:?} as {tenant}: {answer:.2000}", request.path);
                ensure!(!shows(&answer, other), "the other's is shown: {}", what());
                let own = shows(&answer, tenant);
                ensure!(own || (request.live_only && place == Place::Block), "{}", what());
            }
            for stranger in STRANGERS {
                let answer = http::data_of(stranger, &url, &parameters).await?.to_string();
                let any = TENANTS.iter().any(|tenant| shows(&answer, tenant));
                let same = answer.contains("same_metric") || answer.contains("owner");
                ensure!(!any && !same, "{} shows a stranger: {answer:.2000}", request.path);
            }
        }
    }
    check_targets(base).await
}

/// The only agent scrapes for the first tenant.
async fn check_targets(base: &str) -> Result<()> {
    let url = format!("{base}/api/v1/targets");
    for tenant in TENANTS.into_iter().chain(STRANGERS) {
        let said = http::data_of(tenant, &url, &[]).await?;
        let pools = said["activeTargets"].as_array().map_or(0, Vec::len);
        let dropped = said["droppedTargets"].as_array().map_or(0, Vec::len);
        let named = said.to_string().contains("job-of-");
        let own = tenant == TENANTS[0];
        let expected = if own { (1, 1) } else { (0, 0) };
        ensure!((pools, dropped) == expected && named == own, "targets as {tenant:?}: {said}");
    }
    Ok(())
}

/// One process whose agent belongs to the first tenant. It has a target that it does not come to within the test,
/// and one that it drops.
fn cluster() -> Result<Cluster> {
    let mut cluster = Cluster::new()?;
    let config = cluster.folder.path().join("prometheus.yml");
    let text = "global: {scrape_interval: 1d}\nscrape_configs:\n  - job_name: job-of-crimson\n    \
                static_configs: [{targets: [\"localhost:1\", \"dropped:1\"]}]\n    \
                relabel_configs: [{source_labels: [__address__], regex: \"dropped.*\", action: drop}]\n";
    std::fs::write(&config, text)?;
    let all = cluster.add("all", "all");
    all.flags = vec![
        format!("--config.file={}", config.display()),
        format!("--agent.tenant={}", TENANTS[0]),
        "--ingester.query-timeout=1s".into(),
    ];
    Ok(cluster)
}

async fn emptied(cluster: &Cluster) -> Result<()> {
    eventually("the head is empty", || async {
        let name = "pando_ingester_memory_bytes{part=\"samples\"}";
        let bytes = cluster.named("all").metric(name).await?;
        ensure!(bytes == 0.0, "samples take {bytes} bytes");
        Ok(Some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_tenant_is_shown_what_is_anothers() -> Result<()> {
    let mut cluster = cluster()?;
    cluster.start()?;
    cluster.ready().await?;
    let base = cluster.url("all", "");
    let end_ms = now_ms() / 1000 * 1000;
    let writers = TENANTS.map(|tenant| Writer::new(&base, tenant));
    for writer in &writers {
        write(writer, end_ms).await?;
    }
    check(&base, end_ms, Place::Head).await.context("in heads")?;

    cluster.admin(&["cut"]).await?;
    emptied(&cluster).await?;
    let catalog = CatalogNow::of(&cluster).await?;
    let shared = catalog.blocks.iter().any(|entry| entry.record.tenants.len() == TENANTS.len());
    ensure!(shared, "no block has both tenants");
    check(&base, end_ms, Place::Block).await.context("in a block that the process keeps")?;

    cluster.member("all").kill();
    std::fs::remove_dir_all(cluster.named("all").folder.join("data/blocks"))?;
    cluster.start()?;
    cluster.ready().await?;
    check(&base, end_ms, Place::Block).await.context("in a block in the bucket")?;
    for writer in &writers {
        writer.check(&base, "{job=\"app\"}").await.context(writer.tenant().to_string())?;
    }
    Ok(())
}
