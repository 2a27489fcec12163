//! Power loss: a disk that keeps only what was fsynced, on all members at once. Nothing acknowledged is missing;
//! with a disk that lies about fsync the same check fails.

use anyhow::Result;

use super::kills::{Load, check, three_of_all};

/// Power cuts of all members in CI.
const CUTS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_power_cut_of_all_members() -> Result<()> {
    let mut cluster = three_of_all(&[("PANDO_TEST_LOSSY_DISK", "1")])?;
    cluster.start()?;
    cluster.ready().await?;
    let bases: Vec<String> = cluster.members.iter().map(|m| m.url("")).collect();
    let load = Load::start(bases.clone());
    for _ in 0..CUTS {
        load.goes_on().await?;
        cluster.members.iter_mut().for_each(|member| member.kill());
        cluster.start()?;
    }
    load.goes_on().await?;
    let writer = load.end().await?;
    check(&writer, &bases[1]).await
}
