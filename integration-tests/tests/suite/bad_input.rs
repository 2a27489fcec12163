//! Broken input of every kind: each gets a clear error, and nothing is lost or stuck.

mod config;
mod operators;
mod store;
mod targets;
mod writes;

use std::path::Path;

use anyhow::Result;
use pando_integration_tests::cluster::Cluster;
use pando_integration_tests::door::Door;
use pando_integration_tests::peers::{self, S3};

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

/// A way to the store that can be closed, and the flag that leads through it; its file is in `folder`.
async fn through_a_door(s3: &S3, folder: &Path) -> Result<(Door, String)> {
    let door = Door::to(&s3.address).await?;
    let objstore = folder.join("through-the-door.yml");
    peers::write_s3_config(&objstore, &door.address)?;
    Ok((door, format!("--objstore.config-file={}", objstore.display())))
}
