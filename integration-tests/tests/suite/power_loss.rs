//! Power cuts of all members at once, on disks that keep only what was fsynced: nothing that was acknowledged is
//! missing. With disks that lie about fsync the same check fails, so it would notice an fsync that is left out.

use anyhow::{Context, Result, bail, ensure};
use pando_integration_tests::load::check_ledger;

use super::kills::{Arena, FAST, GOES_ON, Victim};

/// Loses what was not fsynced when the process is killed.
const HONEST: [(&str, &str); 1] = [("PANDO_TEST_LOSSY_DISK", "1")];
/// Loses what was fsynced, too.
const LYING: [(&str, &str); 1] = [("PANDO_TEST_LOSSY_DISK", "2")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_of_all_members_loses_nothing_acknowledged() -> Result<()> {
    Arena::of_equals(&FAST, &HONEST).await?.rounds(Victim::All, 10).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_check_notices_disks_that_lie_about_fsync() -> Result<()> {
    // No cuts: what is in the bucket is on another disk.
    let mut arena = Arena::of_equals(&[], &HONEST).await?;
    let load = arena.load("kept");
    load.goes_on(GOES_ON).await?;
    let kept = load.end().await?;
    for member in &mut arena.cluster.members {
        let mut process = member.process.take().context("a running member")?;
        ensure!(process.terminate()?, "{} does not end well: {}", member.name, process.log_tail());
    }

    arena.cluster.set_envs(&LYING);
    arena.cluster.start()?;
    arena.cluster.ready().await?;
    let load = arena.load("lied_about");
    load.goes_on(10 * GOES_ON).await?;
    let lied_about = load.end().await?;
    check_ledger(&arena.frontend()?, "lied_about", &lied_about).await.context("before the cut")?;
    arena.cluster.kill_all();

    arena.cluster.set_envs(&HONEST);
    arena.cluster.start()?;
    arena.cluster.ready().await?;
    let base = arena.frontend()?;
    check_ledger(&base, "kept", &kept).await.context("what no disk has lied about")?;
    match check_ledger(&base, "lied_about", &lied_about).await {
        Ok(samples) => bail!("nobody notices: samples={samples}"),
        Err(error) if format!("{error:#}").contains(" lost") => Ok(()),
        Err(error) => Err(error.context("another fault than the loss")),
    }
}
