//! What an operator sets and a tenant then meets; a start while the store is away; a tool whose reader goes.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use pando_integration_tests::load::{Load, check_ledger};
use pando_integration_tests::writer::{Writer, Written};
use pando_integration_tests::{eventually, now_ms, peers};

use super::{one_process, through_a_door};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_above_its_own_rate_is_told_429_and_no_other_is() -> Result<()> {
    let cluster = one_process("global: {}\n", &[]).await?;
    let base = cluster.url("all", "");
    let set = cluster.admin(&["limits", "eager", "--samples-per-second=1"]).await?;
    ensure!(set.contains("samples_per_second=1 "), "{set}");
    let (eager, calm) = (Writer::new(&base, "eager"), Writer::new(&base, "calm"));
    let samples = |n: usize| -> Vec<Written> {
        let name = |i: usize| format!("metric_{i}");
        (0..n).map(|i| Written::new(&name(i), &[], now_ms(), 1.0)).collect()
    };
    let refused = eventually("the limit holds", || async {
        let outcome = eager.write_v1(&samples(100)).await;
        ensure!(outcome.status == 429, "not refused yet: {outcome:?}");
        Ok(Some(outcome))
    })
    .await?;
    ensure!(refused.body.contains("samples_per_s_max=1"), "{refused:?}");
    let outcome = calm.write_v1(&samples(100)).await;
    ensure!(outcome.is_acknowledged(), "another tenant is refused: {outcome:?}");
    cluster.admin(&["limits", "eager", "--reset"]).await?;
    eventually("the limit is gone", || async {
        let outcome = eager.write_v1(&samples(100)).await;
        ensure!(outcome.is_acknowledged(), "still refused: {outcome:?}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_needs_no_store() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(s3) = peers::start_s3(folder.path()).await? else { return Ok(()) };
    let (door, flag) = through_a_door(&s3, folder.path()).await?;
    let mut cluster = one_process("global: {}\n", &[&flag]).await?;
    let base = cluster.url("all", "");
    let load = Load::start(vec![base.clone()], "restarted");
    load.goes_on(20).await?;
    door.close();
    cluster.member("all").kill();
    cluster.start()?;
    cluster.ready().await.context("a start without the store")?;
    load.goes_on(20).await.context("writes after it")?;
    load.check(&base).await.context("a query after it")?;
    ensure!(door.was_asked(), "the bucket is looked at");
    door.open();
    cluster.admin(&["cut"]).await.context("uploads when it is back")?;
    let ledger = load.end().await?;
    check_ledger(&base, "restarted", &ledger).await.map(drop)
}

#[test]
fn a_tool_ends_quietly_when_its_reader_has_seen_enough() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("prometheus.yml");
    std::fs::write(&file, "scrape_configs: [{job_name: a}]\nrule_files: [a.yml]\n")?;
    let check = |stdout: Stdio| -> Result<(Option<i32>, String)> {
        let mut pando = Command::new(peers::pando());
        let output = pando.args(["check", "config"]).arg(&file).stdout(stdout).output()?;
        Ok((output.status.code(), String::from_utf8(output.stderr)?))
    };
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let ended = check(writer.into())?;
    ensure!(ended == (Some(0), String::new()), "a closed pipe is no fault: {ended:?}");
    let full = std::fs::File::options().write(true).open("/dev/full")?;
    let (code, text) = check(full.into())?;
    ensure!(code == Some(1) && text.contains("cannot write to standard output"), "{code:?} {text}");
    Ok(())
}
