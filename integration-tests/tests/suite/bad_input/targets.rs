//! Targets that send what no target should: each is down and says why, the agent lives within its memory, other
//! targets are scraped, and a target that recovers is up again.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use pando_integration_tests::exporter::{Exporter, Reply, gzip, gzip_bomb};
use pando_integration_tests::{eventually, http};

use super::one_process;

/// Resident memory that the process may have needed at most, kB: three of the targets below send without end and
/// have no limit of their own, so that each may have 256 MiB, twice while its buffer grows; and half a GiB.
const MEMORY_KB_MAX: u64 = 2 << 20;

/// Name, settings, what is said, and a part of the error that is shown.
fn bad_targets() -> Result<Vec<(&'static str, &'static str, Reply, &'static str)>> {
    // One comment without an end: nothing but its size is wrong with it. 16 GiB.
    let bomb = Reply::Packed(gzip_bomb(b'#', 1024)?);
    let cut_off = gzip(&b"m 1\n".repeat(10_000));
    let cut_off = cut_off[..cut_off.len() / 2].to_vec();
    Ok(vec![
        ("garbage", "", Reply::text("\u{1}\u{2}\u{3}{{{{ 1 2 3 }}}}\n"), ""),
        ("html", "", Reply::text("<html><body>503</body></html>\n"), ""),
        ("not_gzip", "", Reply::Packed("m 1\n".into()), "gzip"),
        ("cut_off_gzip", "", Reply::Packed(cut_off.into()), "gzip"),
        ("endless", "", Reply::Endless("m 1\n"), ""),
        ("endless_line", "", Reply::Endless("a"), ""),
        (
            "endless_limited",
            "body_size_limit: 1MB",
            Reply::Endless("m 1\n"),
            "body size limit exceeded",
        ),
        ("bomb", "", bomb.clone(), ""),
        ("bomb_limited", "body_size_limit: 1MB", bomb, "body size limit exceeded"),
        (
            "long_value",
            "",
            Reply::text(format!("m{{a=\"{}\"}} 1\n", "x".repeat(2 << 20))),
            "label_value_length_limit",
        ),
        ("many_labels", "", Reply::text(many_labels(5_000)), "label_limit"),
        ("same_label_twice", "", Reply::text("m{a=\"1\",a=\"2\"} 1\n"), ""),
    ])
}

fn many_labels(count: usize) -> String {
    let labels: Vec<String> = (0..count).map(|i| format!("l{i}=\"v\"")).collect();
    format!("m{{{}}} 1\n", labels.join(","))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_targets_are_down_and_harm_nobody() -> Result<()> {
    let bad = bad_targets()?;
    let scripts = bad.iter().map(|(name, _, reply, _)| (format!("/{name}"), vec![reply.clone()]));
    let good = [("/good".to_string(), vec![Reply::text("m 1\n")])];
    let exporter = Exporter::start(scripts.chain(good)).await?;
    let mut config =
        "global: {scrape_interval: 1s, scrape_timeout: 900ms}\nscrape_configs:\n".to_string();
    for (name, settings) in
        bad.iter().map(|(name, settings, ..)| (*name, *settings)).chain([("good", "")])
    {
        let _ = write!(
            config,
            "  - job_name: {name}\n    metrics_path: /{name}\n    static_configs: [{{targets: ['{}']}}]\n    {settings}\n",
            exporter.address
        );
    }
    let cluster = one_process(&config, &[]).await?;
    let up = |value: &'static str, count: usize| {
        let url = cluster.url("all", "/api/v1/query");
        async move {
            // Each of the last scrapes, not just one.
            let query = format!(
                "count(min_over_time(up{{job!=\"good\"}}[6s]) == {value} and \
                 max_over_time(up{{job!=\"good\"}}[6s]) == {value} and count_over_time(up[6s]) > 1)"
            );
            let answer = http::data(&url, &[("query", &query)]).await?;
            let found = answer["result"][0]["value"][1].as_str().unwrap_or("0").to_string();
            ensure!(found == count.to_string(), "targets with up={value}: {found} of {count}");
            Ok(Some(()))
        }
    };
    eventually("the bad targets are down", || up("0", bad.len())).await?;
    let targets = http::data(&cluster.url("all", "/api/v1/targets"), &[]).await?;
    for (name, _, _, why) in &bad {
        let targets = targets["activeTargets"].as_array().context("targets")?;
        let target = targets.iter().find(|t| t["labels"]["job"] == *name);
        let error = target.and_then(|t| t["lastError"].as_str()).unwrap_or_default();
        ensure!(!error.is_empty() && error.contains(why), "job={name} lastError={error:?}");
        ensure!(
            error.len() < 2_000,
            "the error is as long as its cause: job={name} bytes={}",
            error.len()
        );
    }
    // The good one is scraped on all the while, and was never down.
    let query = "min_over_time(up{job=\"good\"}[5m]) * count_over_time(up{job=\"good\"}[5s])";
    eventually("the good target is scraped on", || async {
        let answer = http::data(&cluster.url("all", "/api/v1/query"), &[("query", query)]).await?;
        let scrapes: f64 = answer["result"][0]["value"][1].as_str().unwrap_or("0").parse()?;
        ensure!(scrapes >= 4.0, "scrapes in 5 s: {scrapes}");
        Ok(Some(()))
    })
    .await?;
    let process = cluster.named("all").process.as_ref().context("it runs")?;
    let peak = peak_memory_kb(process.id())?;
    ensure!(peak < MEMORY_KB_MAX, "memory_kb={peak} limit_kb={MEMORY_KB_MAX}");
    for (name, ..) in &bad {
        exporter.script(&format!("/{name}"), vec![Reply::text("m 2\n")]);
    }
    eventually("targets that recover are up", || up("1", bad.len())).await
}

/// The most resident memory that a process has had, kB.
fn peak_memory_kb(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let text = line.context("no VmHWM")?.trim().trim_end_matches("kB").trim();
    Ok(text.parse()?)
}
