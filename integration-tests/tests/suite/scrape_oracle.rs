//! The scrape oracle: a scripted exporter answers the n-th scrape of a real Prometheus and the n-th scrape of two
//! Pando agents, which share the targets, with the same body; both have to make the same series of it.
//!
//! Wall times differ, so scrapes are aligned by their number: each writes one sample of `up`, whose time is that
//! of all the scrape's samples without a timestamp of their own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use pando_integration_tests::cluster::{Cluster, Member};
use pando_integration_tests::exporter::{Exporter, Reply};
use pando_integration_tests::process::Process;
use pando_integration_tests::{eventually, http, now_ms, peers};
use serde_json::Value;

use scenarios::{REMOVED, SCRAPES, Scenario};

mod scenarios;

/// Differences that a failure spells out.
const DIFFERENCES_MAX: usize = 20;

/// When a sample was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum When {
    /// By which scrape.
    Scrape(usize),
    /// It has a time of its own.
    At(i64),
}

/// What a server has made of one scenario.
struct Observed {
    /// Series -> its samples.
    samples: BTreeMap<String, Vec<(When, String)>>,
    /// At the time of each scrape: series -> value. What is stale is not there.
    instants: Vec<BTreeMap<String, String>>,
}

/// One server with Prometheus' API.
struct Server {
    name: &'static str,
    url: String,
}

impl Server {
    async fn query(&self, query: &str, time_ms: i64) -> Result<Value> {
        let time = format!("{}.{:03}", time_ms / 1000, time_ms % 1000);
        let url = format!("{}/api/v1/query", self.url);
        let data = http::data(&url, &[("query", query), ("time", &time)]).await;
        Ok(data.with_context(|| self.name)?["result"].take())
    }

    /// Waits until every scenario was scraped often enough.
    async fn has_scraped(&self, scenarios: &[Scenario]) -> Result<()> {
        eventually(&format!("{} has scraped often enough", self.name), || async {
            let counts =
                self.query("min by (scenario) (count_over_time(up[10m]))", now_ms()).await?;
            let mut counts_by_name = BTreeMap::new();
            for item in counts.as_array().into_iter().flatten() {
                let count: f64 = item["value"][1].as_str().unwrap_or_default().parse()?;
                counts_by_name
                    .insert(item["metric"]["scenario"].as_str().unwrap_or_default(), count);
            }
            for Scenario { name, .. } in scenarios {
                let count = counts_by_name.get(name).copied().unwrap_or_default();
                // One more, so that the shards have all of the last that counts.
                ensure!(count > SCRAPES as f64, "scenario={name} scrapes={count}");
            }
            Ok(Some(()))
        })
        .await
    }

    async fn observe(&self, scenario: &str) -> Result<Observed> {
        let selector = format!("{{scenario=\"{scenario}\"}}");
        let raw = self.query(&format!("{selector}[10m]"), now_ms()).await?;
        if scenario == "target_limit" {
            return Ok(observed_pair(&raw));
        }
        let scrapes = scrape_times_ms(&raw)?;
        let end_ms = *scrapes.last().context("a scrape")?;
        let mut samples = BTreeMap::new();
        for item in raw.as_array().into_iter().flatten() {
            let series = series_of(item);
            let points = item["values"].as_array().into_iter().flatten();
            let found: Vec<_> = points
                .filter(|point| time_ms_of(point) <= end_ms)
                .map(|point| {
                    let t = time_ms_of(point);
                    let when = scrapes.binary_search(&t).map_or(When::At(t), When::Scrape);
                    (when, value_of(&series, &point[1]))
                })
                .collect();
            samples.insert(series, found);
        }
        // What came after the last scrape that counts is in the other's future.
        samples.retain(|_, found| !found.is_empty());
        let mut instants = Vec::new();
        for t in scrapes {
            let result = self.query(&selector, t).await?;
            let items = result.as_array().into_iter().flatten();
            let items = items.map(|item| {
                let series = series_of(item);
                let value = value_of(&series, &item["value"][1]);
                (series, value)
            });
            instants.push(items.collect());
        }
        Ok(Observed { samples, instants })
    }
}

/// A pair of targets that both write their report and nothing else: the n-th sample is that of the n-th scrape.
fn observed_pair(raw: &Value) -> Observed {
    let items = raw.as_array().into_iter().flatten();
    let samples = items.map(|item| {
        let series = series_of(item);
        let points = item["values"].as_array().into_iter().flatten().take(SCRAPES / 2);
        let points = points.enumerate();
        let found = points.map(|(n, point)| (When::Scrape(n), value_of(&series, &point[1])));
        let found = found.collect();
        (series, found)
    });
    Observed { samples: samples.collect(), instants: Vec::new() }
}

/// The labels of an item, in their order.
fn series_of(item: &Value) -> String {
    let labels: BTreeMap<&str, &str> = item["metric"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()))
        .collect();
    format!("{labels:?}")
}

/// The times of the first scrapes: those of the first series of `up` that the server itself has written.
fn scrape_times_ms(raw: &Value) -> Result<Vec<i64>> {
    let items = raw.as_array().context("a matrix")?;
    // A target may say `up`, too, with a label more or another job.
    let own = |item: &&Value| item["metric"]["__name__"] == "scrape_samples_scraped";
    let series = items.iter().find(own).context("no scrape_samples_scraped")?;
    let points = series["values"].as_array().context("points")?;
    ensure!(points.len() >= SCRAPES, "scrapes are missing: have={}", points.len());
    Ok(points[..SCRAPES].iter().map(time_ms_of).collect())
}

fn time_ms_of(point: &Value) -> i64 {
    (point[0].as_f64().unwrap_or(f64::NAN) * 1000.0).round() as i64
}

fn value_of(series: &str, value: &Value) -> String {
    // How long a scrape took is nobody's but its own.
    match series.contains("scrape_duration_seconds") {
        true => "any".to_string(),
        false => value.as_str().unwrap_or("not a number").to_string(),
    }
}

/// Whether the server itself writes this series for a target.
fn is_reported(series: &str) -> bool {
    ["\"up\"", "\"scrape_"].iter().any(|name| series.contains(name))
}

/// Whether a series has to end where a scrape fails: not one whose samples have times of their own.
fn is_tracked(series: &str) -> bool {
    !is_reported(series) && !series.contains("timed")
}

fn is_down(instant: &BTreeMap<String, String>) -> bool {
    instant.iter().any(|(series, value)| series.contains("\"up\"") && value == "0")
}

/// What differs between two servers, in words.
fn differences(scenario: &str, ours: &Observed, theirs: &Observed) -> Vec<String> {
    // How many series a scrape has added is approximate by its definition: Prometheus counts lines that its
    // cache does not have, and keeps that through failed and empty scrapes.
    let counts_alike = !theirs.instants.iter().any(is_down)
        && !["duplicates", "timestamps", "empty"].iter().any(|name| scenario.starts_with(name));
    let is_loose = |series: &str| series.contains("scrape_series_added") && !counts_alike;
    let mut found = Vec::new();
    let names = ours.samples.keys().chain(theirs.samples.keys());
    let names: std::collections::BTreeSet<&String> = names.collect();
    for series in names {
        let (a, b) = (ours.samples.get(series), theirs.samples.get(series));
        if a != b && !is_loose(series) {
            found.push(format!(
                "{scenario}: samples of {series}:\n  pando {a:?}\n  prometheus {b:?}"
            ));
        }
    }
    if !found.is_empty() {
        return found;
    }
    for (n, (a, b)) in ours.instants.iter().zip(&theirs.instants).enumerate() {
        let mut missing: Vec<_> = b.iter().filter(|(k, v)| a.get(*k) != Some(v)).collect();
        let mut extra: Vec<_> = a.iter().filter(|(k, v)| b.get(*k) != Some(v)).collect();
        missing.retain(|(series, _)| !is_loose(series));
        extra.retain(|(series, _)| !is_loose(series));
        if is_down(b) {
            // Where a body fails in its middle, Prometheus forgets to end the series before that place.
            missing.retain(|(series, _)| is_reported(series));
            extra.extend(a.iter().filter(|(series, _)| is_tracked(series)));
        }
        if !missing.is_empty() || !extra.is_empty() {
            found.push(format!(
                "{scenario}: at scrape {n}:\n  only pando {extra:?}\n  only prometheus {missing:?}"
            ));
        }
    }
    found
}

async fn start_prometheus(folder: &Path, config: &Path) -> Result<Option<(Process, Server)>> {
    let started = peers::start_prometheus(folder, config, &peers::free_address(), &[]).await?;
    Ok(started.map(|(process, url)| (process, Server { name: "prometheus", url })))
}

/// A `pando all` and an agent beside it: two agents, both with the empty configuration at `config`.
async fn start_pando(config: &Path) -> Result<Cluster> {
    let mut cluster = Cluster::new()?;
    let flag = format!("--config.file={}", config.display());
    cluster.add("all", "all").flags.push(flag.clone());
    cluster.start()?;
    cluster.ready().await?;
    cluster.found();
    cluster.add("agent", "agent").flags.push(flag);
    cluster.start()?;
    cluster.ready().await?;
    eventually("the controller knows both", || async {
        let nodes = cluster.named("all").metric("pando_controller_nodes").await?;
        Ok((nodes >= 2.0).then_some(()))
    })
    .await?;
    Ok(cluster)
}

fn reload(member: &Member) -> Result<()> {
    member.process.as_ref().context("a running member")?.signal("HUP")
}

/// How many targets a member scrapes.
async fn targets_of(member: &Member) -> Result<f64> {
    member.metric("prometheus_target_scrape_pool_targets").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_agents_make_of_scrapes_what_prometheus_makes() -> Result<()> {
    let scenarios = scenarios::all(now_ms());
    let scripts = scenarios.iter().map(|s| (format!("/{}", s.name), s.replies.clone()));
    let exporter = Exporter::start(scripts).await?;
    let folder = tempfile::tempdir()?;
    let (empty, full) = (folder.path().join("pando.yml"), folder.path().join("prometheus.yml"));
    let targets = folder.path().join("targets.yml");
    let (text, target) = scenarios::config(&scenarios, &exporter.address);
    std::fs::write(&empty, scenarios::head() + "  []\n")?;
    std::fs::write(&full, text)?;
    std::fs::write(&targets, target)?;
    let Some((mut prometheus, theirs)) = start_prometheus(folder.path(), &full).await? else {
        return Ok(());
    };
    let mut cluster = start_pando(&empty).await?;
    // Both agents are there before there is a target: none changes hands, so that each script is run by one.
    std::fs::copy(&full, &empty)?;
    cluster.members.iter().try_for_each(reload)?;
    let ours = Server { name: "pando", url: cluster.member("all").url("") };
    theirs.has_scraped(&scenarios).await.with_context(|| prometheus.log_tail())?;
    ours.has_scraped(&scenarios).await.with_context(|| cluster.member("all").log_tail())?;
    for member in &cluster.members {
        let (targets, name) = (targets_of(member).await?, &member.name);
        ensure!(targets > 0.0, "agents do not share: {name} scrapes {targets}");
    }
    let mut found = Vec::new();
    for Scenario { name, .. } in &scenarios {
        let (a, b) = (ours.observe(name).await?, theirs.observe(name).await?);
        found.extend(differences(name, &a, &b));
        let path = format!("/{name}");
        let (a, b) = (exporter.query("Pando", &path), exporter.query("Prometheus", &path));
        if a != b {
            found.push(format!("{name}: query strings: pando {a:?} prometheus {b:?}"));
        }
    }
    if !found.is_empty() {
        let shown = found.iter().take(DIFFERENCES_MAX).map(String::as_str);
        bail!("{} differences:\n{}", found.len(), shown.collect::<Vec<_>>().join("\n"));
    }
    // A target that is not there any more is not down: all its series end.
    std::fs::write(&targets, "[]\n")?;
    for server in [&theirs, &ours] {
        eventually(&format!("{}: the removed target's series end", server.name), || async {
            let left = server.query(&format!("{{scenario=\"{REMOVED}\"}}"), now_ms()).await?;
            Ok(left.as_array().is_some_and(Vec::is_empty).then_some(()))
        })
        .await?;
    }
    prometheus.kill();
    Ok(())
}

/// How long the others may take to scrape a dead agent's targets.
const TAKE_OVER_MS: i64 = 30_000;
const TARGETS: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_agents_targets_are_taken_over() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("prometheus.yml");
    std::fs::write(&config, scenarios::head() + "  []\n")?;
    let cluster = start_pando(&config).await?;
    check_take_over(cluster, &config, "agent", "all").await
}

/// One that holds shards, too, and is a member for as long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_equals_targets_are_taken_over() -> Result<()> {
    let mut cluster = Cluster::new()?;
    let objstore = cluster.local_bucket()?;
    cluster.add_equals(3, &objstore)?;
    cluster.start()?;
    cluster.ready().await?;
    eventually("the controllers know all", || async {
        let nodes = cluster.named("all-0").metric("pando_controller_nodes").await?;
        Ok((nodes >= 3.0).then_some(()))
    })
    .await?;
    let config = cluster.folder.path().join("prometheus.yml");
    check_take_over(cluster, &config, "all-1", "all-0").await
}

/// Agents share targets; the member `victim` is killed. The others scrape all of them in time, and no series that
/// lives on goes stale meanwhile.
async fn check_take_over(
    mut cluster: Cluster,
    config: &Path,
    victim: &str,
    survivor: &str,
) -> Result<()> {
    let paths: Vec<String> = (0..TARGETS).map(|i| format!("/t{i}")).collect();
    let script = |body: &str| vec![Reply::text(body)];
    let before = paths.iter().map(|path| (path.clone(), script("stays 1\n")));
    let exporter = Exporter::start(before).await?;
    let mut text = scenarios::head();
    for (i, path) in paths.iter().enumerate() {
        let _ = write!(
            text,
            "  - job_name: t{i}\n    metrics_path: {path}\n    static_configs:\n\
             \x20   - {{targets: ['{}']}}\n",
            exporter.address
        );
    }
    std::fs::write(config, text)?;
    cluster.members.iter().try_for_each(reload)?;
    eventually("every target is scraped", || async {
        Ok(paths.iter().all(|path| exporter.count("Pando", path) > 2).then_some(()))
    })
    .await?;
    let shared = targets_of(cluster.member(victim)).await?;
    ensure!(shared > 0.0 && shared < TARGETS as f64, "agents do not share: {shared} of {TARGETS}");
    let ours = Server { name: "pando", url: cluster.member(survivor).url("") };
    eventually("the series of every target is there", || async {
        let found = ours.query("count(stays)", now_ms()).await?;
        Ok((found[0]["value"][1] == TARGETS.to_string().as_str()).then_some(()))
    })
    .await?;

    cluster.member(victim).kill();
    let killed_ms = now_ms();
    paths.iter().for_each(|path| exporter.script(path, script("stays 2\n")));
    let taken_over = |path: &String| {
        let times = exporter.times_ms("Pando", path);
        times.iter().filter(|t| **t > killed_ms).count() >= 3
    };
    eventually("every target is scraped again", || async {
        Ok(paths.iter().all(taken_over).then_some(()))
    })
    .await?;
    for path in &paths {
        let times = exporter.times_ms("Pando", path);
        let gap = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        ensure!(gap <= TAKE_OVER_MS, "target was left alone: path={path} gap_ms={gap}");
    }
    // What the other one has scraped is stored: no gap there either, and nothing comes twice.
    let up = eventually("the samples are stored", || async {
        let up = ours.query("up[10m]", now_ms()).await?;
        let series = up.as_array().context("a matrix")?;
        ensure!(series.len() == TARGETS, "series of up: {}", series.len());
        for item in series {
            let points = item["values"].as_array().context("points")?;
            let after = points.iter().filter(|p| time_ms_of(p) > killed_ms).count();
            ensure!(after >= 2, "up after the kill: series={} samples={after}", item["metric"]);
        }
        Ok(Some(up))
    })
    .await?;
    for item in up.as_array().into_iter().flatten() {
        let points = item["values"].as_array().context("points")?;
        let times: Vec<i64> = points.iter().map(time_ms_of).collect();
        let gap = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        ensure!(
            gap <= TAKE_OVER_MS,
            "stored samples are missing: series={} gap_ms={gap}",
            item["metric"]
        );
    }
    // A stale marker would hide a series until its next sample.
    for time_ms in (killed_ms..now_ms()).step_by(100) {
        let found = ours.query("count(stays)", time_ms).await?;
        let count = &found[0]["value"][1];
        ensure!(*count == TARGETS.to_string().as_str(), "series went stale: {found} at={time_ms}");
    }
    Ok(())
}
