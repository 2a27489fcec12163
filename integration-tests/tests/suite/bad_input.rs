//! Broken input of every kind: each gets a clear error, and nothing is lost or stuck.

mod config;
mod operators;
mod store;
mod targets;
mod writes;

use anyhow::Result;
use pando_integration_tests::cluster::Cluster;

/// A `pando all` alone with this prometheus.yml (in the cluster's folder) and these flags, ready.
async fn one_process(config: &str, flags: &[&str]) -> Result<Cluster> {
    let mut cluster = Cluster::new()?;
    let file = cluster.folder.path().join("prometheus.yml");
    std::fs::write(&file, config)?;
    cluster.add("all", "all").flags.push(format!("--config.file={}", file.display()));
    cluster.give("all", flags);
    cluster.start()?;
    cluster.ready().await?;
    Ok(cluster)
}
