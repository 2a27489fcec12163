//! A broken prometheus.yml: every fault is named with its place, no process starts with it, and a running one goes
//! on with what it has.

use anyhow::{Context, Result, ensure};
use pando_integration_tests::cluster::Cluster;
use pando_integration_tests::exporter::{Exporter, Reply};
use pando_integration_tests::{eventually, http};

use super::one_process;

/// Three faults, at lines 2, 5 and 7.
const BROKEN: &str = "global:\n  scrape_interval: 10 parsecs\nscrape_configs:\n  - job_name: a\n    \
                      scrape_intervall: 5s\n    static_configs: [{targets: ['x:1']}]\n  - job_name: a\n";
const FAULTS: [&str; 3] = [
    "prometheus.yml:2:20: global.scrape_interval",
    "prometheus.yml:5:5: scrape_configs[0].scrape_intervall",
    "prometheus.yml:7:5: scrape_configs[1]: found multiple scrape configs with job name \"a\"",
];

fn ensure_names_all(text: &str) -> Result<()> {
    for fault in FAULTS {
        ensure!(text.contains(fault), "fault is not named: fault={fault} text={text}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_prometheus_yml_is_refused_with_every_fault() -> Result<()> {
    let mut cluster = Cluster::new()?;
    let file = cluster.folder.path().join("prometheus.yml").display().to_string();
    std::fs::write(&file, BROKEN)?;
    let checked = cluster.tool(&["check", "config", &file]);
    ensure_names_all(&checked.err().context("pando check config takes it")?.to_string())?;
    std::fs::write(&file, "scrape_configs: [\n")?;
    let checked = cluster.tool(&["check", "config", &file]);
    let text = checked.err().context("pando check config takes what is no YAML")?.to_string();
    ensure!(text.contains("prometheus.yml:1:17"), "the place is not named: {text}");

    std::fs::write(&file, BROKEN)?;
    cluster.add("all", "all").flags.push(format!("--config.file={file}"));
    cluster.start()?;
    let process = cluster.member("all").process.as_mut().context("it was started")?;
    for _ in 0..600 {
        if process.has_ended() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    ensure!(process.ended_well() == Some(false), "it does not refuse: {}", process.log_tail());
    ensure_names_all(&process.log())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_reload_changes_nothing() -> Result<()> {
    let exporter = Exporter::start([("/metrics".to_string(), vec![Reply::text("m 1\n")])]).await?;
    let good = format!(
        "global: {{scrape_interval: 500ms, scrape_timeout: 400ms}}\nscrape_configs:\n  - job_name: kept\n    \
         static_configs: [{{targets: ['{}']}}]\n",
        exporter.address
    );
    let cluster = one_process(&good, &["--web.enable-lifecycle"]).await?;
    let scraped = || exporter.count("Pando", "/metrics");
    eventually("the target is scraped", || async { Ok((scraped() > 1).then_some(())) }).await?;

    std::fs::write(cluster.folder.path().join("prometheus.yml"), BROKEN)?;
    let answer = http::client().post(cluster.url("all", "/-/reload")).send().await?;
    let (status, text) = (answer.status().as_u16(), answer.text().await?);
    ensure!(status == 500, "status={status} text={text}");
    ensure_names_all(&text)?;
    // The same by signal: an error in the log.
    let process = cluster.named("all").process.as_ref().context("it runs")?;
    process.signal("HUP")?;
    eventually("the fault is logged", || async {
        let log = process.log();
        Ok((log.contains("level=error") && log.contains("parsecs")).then_some(()))
    })
    .await?;
    let before = scraped();
    eventually("the target is scraped on", || async { Ok((scraped() > before + 2).then_some(())) })
        .await?;
    let config = http::data(&cluster.url("all", "/api/v1/status/config"), &[]).await?;
    let yaml = config["yaml"].as_str().unwrap_or_default();
    ensure!(yaml.contains("kept") && !yaml.contains("parsecs"), "another configuration: {yaml}");

    std::fs::write(cluster.folder.path().join("prometheus.yml"), good.replace("kept", "next"))?;
    let answer = http::client().post(cluster.url("all", "/-/reload")).send().await?;
    ensure!(
        answer.status().is_success(),
        "a good configuration is not taken: {}",
        answer.text().await?
    );
    Ok(())
}
