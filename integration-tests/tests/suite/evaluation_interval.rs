//! The step of subqueries that name none: what a prometheus.yml says, here as at a real Prometheus, also after it is
//! read again.

use anyhow::{Context, Result, ensure};
use pando_integration_tests::cluster::Cluster;
use pando_integration_tests::{eventually, http, peers};
use serde_json::Value;

/// Steps of five minutes.
const QUERY: &str = "count_over_time(vector(1)[5m:])";
/// What a configuration says, and the steps.
const INTERVALS: [(&str, &str); 3] =
    [("evaluation_interval: 15s", "20"), ("", "5"), ("evaluation_interval: 50s", "6")];

async fn counted(base: &str) -> Result<Value> {
    let parameters = [("query", QUERY), ("time", "6000")];
    let data = http::data(&format!("{base}/api/v1/query"), &parameters).await?;
    Ok(data["result"][0]["value"][1].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subqueries_have_the_step_of_the_configuration() -> Result<()> {
    let mut cluster = Cluster::new()?;
    let file = cluster.folder.path().join("prometheus.yml");
    let write = |interval| std::fs::write(&file, format!("global: {{{interval}}}\n"));
    write(INTERVALS[0].0)?;
    let address = peers::free_address();
    let folder = cluster.folder.path().to_path_buf();
    let peer = peers::start_prometheus(&folder, &file, &address, &[]).await?;
    cluster.add("all", "all").flags.push(format!("--config.file={}", file.display()));
    cluster.start()?;
    cluster.ready().await?;
    let ours = cluster.url("all", "");
    let process = cluster.named("all").process.as_ref().context("it runs")?;
    for (turn, (interval, steps)) in INTERVALS.into_iter().enumerate() {
        write(interval)?;
        let peers = peer.iter().map(|(process, url)| (process, url.as_str()));
        for (process, url) in [(process, ours.as_str())].into_iter().chain(peers) {
            if turn > 0 {
                process.signal("HUP")?;
            }
            eventually("subqueries have the step", || async {
                let counted = counted(url).await?;
                ensure!(counted == steps, "steps={counted} expected={steps} url={url}");
                Ok(Some(()))
            })
            .await?;
        }
    }
    ensure!(!process.log().contains("evaluation_interval"), "it is said to have no effect");
    // What cannot be read changes nothing.
    write("evaluation_interval: 10 parsecs")?;
    process.signal("HUP")?;
    eventually("the fault is logged", || async {
        Ok(process.log().contains("parsecs").then_some(()))
    })
    .await?;
    ensure!(counted(&ours).await? == INTERVALS[2].1, "it has another step");
    Ok(())
}
