//! Azure's blob storage as the bucket: founding a cluster needs create-if-absent, a cut needs writes and reads back,
//! and a query what a member no longer has.

use anyhow::{Context, Result, ensure};
use pando_integration_tests::cluster::Cluster;
use pando_integration_tests::{eventually, http, now_ms, peers};

#[tokio::test]
async fn a_cluster_lives_on_azure() -> Result<()> {
    let mut cluster = Cluster::new()?;
    let folder = cluster.folder.path().to_path_buf();
    let Some((_azure, objstore)) = peers::start_azure(&folder).await? else { return Ok(()) };
    let config = folder.join("prometheus.yml");
    let all = cluster.add("all", "all");
    let target = format!("127.0.0.1:{}", all.http_port);
    let flags = [
        format!("--config.file={}", config.display()),
        format!("--objstore.config-file={}", objstore.display()),
    ];
    all.flags.extend(flags);
    let job = format!("{{job_name: self, static_configs: [{{targets: ['{target}']}}]}}");
    let text = format!(
        "global: {{scrape_interval: 500ms, scrape_timeout: 450ms}}\nscrape_configs: [{job}]\n"
    );
    std::fs::write(&config, text)?;
    cluster.start()?;
    cluster.ready().await?;
    let url = cluster.url("all", "/api/v1/query");
    let count = async |at_ms: i64| -> Result<f64> {
        let time = (at_ms as f64 / 1000.0).to_string();
        let query = [("query", "count_over_time(up[1h])"), ("time", &time)];
        let answer = http::data(&url, &query).await?;
        Ok(answer["result"][0]["value"][1].as_str().unwrap_or("0").parse()?)
    };
    eventually("Pando scrapes itself", || async {
        Ok((count(now_ms()).await? >= 3.0).then_some(()))
    })
    .await
    .with_context(|| cluster.named("all").log_tail())?;
    let at_ms = now_ms() - 1_000;
    let before = count(at_ms).await?;
    let printed = cluster.admin(&["cut"]).await?;
    ensure!(printed.contains("is in a block"), "printed: {printed}");

    // The member's copies of blocks are gone; the objects are not.
    cluster.member("all").kill();
    let copies = cluster.named("all").folder.join("data/blocks");
    std::fs::remove_dir_all(&copies)?;
    cluster.start()?;
    cluster.ready().await?;
    let after = count(at_ms).await.with_context(|| cluster.named("all").log_tail())?;
    ensure!(after == before, "before={before} after={after}");
    Ok(())
}
