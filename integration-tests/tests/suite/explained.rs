//! Explanations of queries against processes of their own: what they name is what the members do, as they count it
//! themselves.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use pando_integration_tests::catalog::CatalogNow;
use pando_integration_tests::cluster::Cluster;
use pando_integration_tests::writer::{Writer, Written};
use pando_integration_tests::{eventually, http, now_ms};
use serde_json::Value;

/// As many ranges as shards, each with one replica: no two pieces of a query read the same block, and the same member
/// reads it each time.
const FLAGS: [&str; 3] =
    ["--controller.shards=4", "--controller.tenant-ranges=4", "--controller.replication-factor=1"];
/// As the flags have it.
const RANGES: usize = 4;
const INSTANCES: usize = 24;
const SAMPLES: i64 = 60;
const QUERY: &str = "sum by (instance) (rate(explained_total[1m])) / 2";
/// What members count fragments with.
const CALLS: &str = "pando_executor_calls_total{call=\"execute\"";

/// The cluster with samples in blocks, none of them in a cache.
struct Explained {
    cluster: Cluster,
    end_ms: i64,
}

impl Explained {
    async fn begin() -> Result<Self> {
        let cluster = Cluster::three_equals(&FLAGS).await?;
        CatalogNow::spread(&cluster, RANGES).await?;
        let writer = Writer::new(&cluster.url("all-0", ""), "default");
        let end_ms = now_ms();
        let mut samples = Vec::new();
        for n in 0..INSTANCES {
            let instance = format!("node-{n}");
            let place = [("job", "explained"), ("instance", &instance)];
            for turn in 0..SAMPLES {
                let t_ms = end_ms - 1_000 * (SAMPLES - 1 - turn);
                samples.push(Written::new("explained_total", &place, t_ms, turn as f64));
            }
        }
        writer.write_surely(&samples).await?;
        // Fragments are executed from here on, so that there is a count of them.
        writer.check(&cluster.url("all-0", ""), "explained_total").await?;
        let printed = cluster.admin(&["cut"]).await?;
        ensure!(printed.contains("is in a block"), "printed: {printed}");
        let explained = Explained { cluster, end_ms };
        explained.forget_copies().await?;
        Ok(explained)
    }

    /// Removes the copies of blocks that ingesters keep.
    async fn forget_copies(&self) -> Result<()> {
        eventually("no member has a copy of a block", || async {
            let mut removed = 0;
            for member in &self.cluster.members {
                for entry in std::fs::read_dir(member.folder.join("data").join("blocks"))? {
                    std::fs::remove_file(entry?.path())?;
                    removed += 1;
                }
            }
            Ok((removed == 0).then_some(()))
        })
        .await
    }

    fn time(&self) -> String {
        format!("{}.{:03}", self.end_ms / 1000, self.end_ms % 1000)
    }

    async fn ask(&self, path: &str, more: (&str, &str)) -> Result<Value> {
        let (url, time) = (self.cluster.url("all-1", path), self.time());
        http::data(&url, &[("query", QUERY), ("time", &time), more]).await
    }

    async fn explain(&self, analyze: &str) -> Result<Value> {
        self.ask("/api/v1/explain", ("analyze", analyze)).await
    }

    /// Fragments that the members have executed, as they count them.
    async fn calls(&self) -> Result<f64> {
        let mut calls = Vec::new();
        for member in &self.cluster.members {
            let text = http::client().get(member.url("/metrics")).send().await?.text().await?;
            let lines = text.lines().filter(|line| line.starts_with(CALLS));
            let counts = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
            calls.extend(counts);
        }
        // A name that is mistyped is not 0.
        ensure!(!calls.is_empty(), "no member has {CALLS}");
        Ok(calls.iter().sum())
    }
}

fn pieces(explained: &Value) -> Vec<&Value> {
    let fragments = explained["fragments"].as_array().into_iter().flatten();
    fragments.flat_map(|one| one["pieces"].as_array().into_iter().flatten()).collect()
}

/// The sum of a number of each piece's run.
fn sum(explained: &Value, number: impl Fn(&Value) -> &Value) -> u64 {
    pieces(explained).iter().filter_map(|piece| number(&piece["run"]).as_u64()).sum()
}

fn hits(explained: &Value) -> u64 {
    ["footers", "ranges", "folder"]
        .iter()
        .map(|kind| sum(explained, |run| &run["cacheHits"][kind]))
        .sum()
}

fn members(explained: &Value) -> BTreeSet<&str> {
    pieces(explained).iter().filter_map(|piece| piece["member"]["address"].as_str()).collect()
}

#[tokio::test]
async fn explanations_name_what_members_do() -> Result<()> {
    let cluster = Explained::begin().await?;
    let addresses: Vec<String> = cluster.cluster.members.iter().map(|m| m.grpc_address()).collect();

    let before = cluster.calls().await?;
    let planned = cluster.explain("false").await?;
    ensure!(cluster.calls().await? == before, "a plan has run something: {planned}");
    ensure!(pieces(&planned).len() == RANGES, "not a piece a range: {planned}");
    let named = members(&planned);
    ensure!(named.len() >= 2, "too few members: {planned}");
    ensure!(named.iter().all(|one| addresses.iter().any(|a| a == one)), "unknown: {planned}");
    ensure!(pieces(&planned).iter().all(|piece| piece.get("run").is_none()), "{planned}");
    let blocks = pieces(&planned)
        .iter()
        .filter(|p| p["blocks"].as_array().is_some_and(|b| b.len() == 1))
        .count();
    ensure!(blocks == RANGES, "not a block a piece: {planned}");

    let first = cluster.explain("true").await?;
    ensure!(cluster.calls().await? == before + RANGES as f64, "not a call a piece: {first}");
    ensure!(members(&first) == named, "planned: {planned} run: {first}");
    ensure!(hits(&first) == 0, "hits where nothing can be: {first}");
    let (read, fetched) =
        (sum(&first, |run| &run["bytesRead"]), sum(&first, |run| &run["bytesFetched"]));
    ensure!(read > 0 && read == fetched, "read={read} fetched={fetched}: {first}");
    ensure!(sum(&first, |run| &run["series"]) == INSTANCES as u64, "{first}");
    ensure!(sum(&first, |run| &run["partials"]) == INSTANCES as u64, "{first}");

    let second = cluster.explain("true").await?;
    ensure!(hits(&second) > 0, "no hits: {second}");
    ensure!(sum(&second, |run| &run["fetches"]) == 0, "fetched again: {second}");

    let answer = cluster.ask("/api/v1/query", ("stats", "true")).await?;
    let samples = answer["stats"]["samples"]["samplesRead"].as_u64();
    let samples = samples.with_context(|| format!("no statistics: {answer}"))?;
    ensure!(samples > 0, "{answer}");
    for explained in [&first, &second] {
        ensure!(sum(explained, |run| &run["samples"]) == samples, "samples={samples}: {explained}");
        ensure!(explained["totals"]["samples"] == samples, "samples={samples}: {explained}");
    }
    ensure!(first["result"]["series"] == INSTANCES, "{first}");

    let (url, time) = (cluster.cluster.url("all-2", ""), format!("--time={}", cluster.time()));
    let tool = |how: &str| cluster.cluster.tool(&["query", "instant", &url, QUERY, &time, how]);
    let text = tool("--explain")?;
    ensure!(named.iter().all(|member| text.contains(&format!(" at {member} "))), "{text}");
    ensure!(!text.contains("total\n"), "{text}");
    let text = tool("--explain=analyze")?;
    ensure!(text.contains(&format!("read {INSTANCES} series, {samples} samples;")), "{text}");
    Ok(())
}
