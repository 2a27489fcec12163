//! A store that cannot be reached, and blocks that are not what they were: ingest and the last hours do not need
//! the store; a damaged block is named, never answered from.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use pando_integration_tests::cluster::Cluster;
use pando_integration_tests::door::Door;
use pando_integration_tests::load::{Load, check_ledger};
use pando_integration_tests::peers::S3;
use pando_integration_tests::writer::{Ledger, raw_samples};
use pando_integration_tests::{eventually, http, peers};

use super::{one_process, through_a_door};

/// Blocks come fast and leave memory at once.
const FAST: [&str; 2] = ["--ingester.cut-interval=2s", "--ingester.query-timeout=1s"];
const UNCOMMITTED: &str = "pando_ingester_generations_uncommitted";
const FAILURES: &str = "pando_ingester_commit_failures_total";

/// Waits until a metric, added up over all members, is as `wanted`.
async fn metric_is(cluster: &Cluster, name: &str, wanted: impl Fn(f64) -> bool) -> Result<f64> {
    eventually(name, || async {
        let value = cluster.metric_of("all", name).await?;
        ensure!(wanted(value), "{name} {value}");
        Ok(Some(value))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_store_stops_uploads_alone() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(s3) = peers::start_s3(folder.path()).await? else { return Ok(()) };
    let (door, flag) = through_a_door(&s3, folder.path()).await?;
    let cluster = one_process("global: {}\n", &[FAST[0], FAST[1], &flag]).await?;
    outage(&cluster, &s3, &door).await
}

/// The leader alone builds and uploads: the others answer with what they hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_store_stops_uploads_alone_of_three_equals() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(s3) = peers::start_s3(folder.path()).await? else { return Ok(()) };
    let (door, flag) = through_a_door(&s3, folder.path()).await?;
    let objstore = flag.split_once('=').context("a flag")?.1;
    let mut cluster = Cluster::new()?;
    cluster.add_equals(3, Path::new(objstore))?;
    cluster.give("all", &FAST);
    cluster.start()?;
    cluster.ready().await?;
    outage(&cluster, &s3, &door).await
}

/// A store that refuses connections, and then one that hangs, under writes and queries of every member.
async fn outage(cluster: &Cluster, s3: &S3, door: &Door) -> Result<()> {
    let bases: Vec<String> = cluster.members.iter().map(|member| member.url("")).collect();
    let load = Load::start(bases.clone(), "outage");
    let check = async |when: &str| -> Result<()> {
        for base in &bases {
            load.check(base).await.with_context(|| format!("a query {when}: {base}"))?;
        }
        Ok(())
    };
    let members = bases.len() as f64;
    // Every controller counts them.
    let blocks =
        |more: f64| metric_is(cluster, "pando_controller_blocks", move |v| v >= more * members);
    let mut committed = blocks(2.0).await? / members;
    // Refused connections first, then a store that takes them and says nothing.
    for hangs in [false, true] {
        let failures = cluster.metric_of("all", FAILURES).await?;
        match hangs {
            true => s3.process.signal("STOP")?,
            false => door.close(),
        }
        load.goes_on(30).await.context("writes during the outage")?;
        check("during the outage").await?;
        // A store that hangs fails only when patience with it ends; what waits shows either way.
        metric_is(cluster, UNCOMMITTED, |v| v >= 1.0).await?;
        if !hangs {
            ensure!(door.was_asked(), "nobody has tried to upload");
            metric_is(cluster, FAILURES, |v| v > failures).await?;
        }
        load.goes_on(10).await?;
        check("later in the outage").await?;
        match hangs {
            true => s3.process.signal("CONT")?,
            false => door.open(),
        }
        let more = blocks(committed + 2.0).await.context("uploads after the outage")?;
        committed = more / members;
        check("after the outage").await?;
    }
    let ledger = load.end().await?;
    metric_is(cluster, UNCOMMITTED, |v| v == 0.0).await.context("everything is uploaded")?;
    for base in &bases {
        check_ledger(base, "outage", &ledger).await.with_context(|| base.clone())?;
    }
    Ok(())
}

/// All objects of blocks in a bucket's folder.
fn blocks_of(bucket: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in std::fs::read_dir(bucket.join("blocks"))? {
        for file in std::fs::read_dir(folder?.path())? {
            let path = file?.path();
            if path.extension().is_some_and(|e| e == "parquet") {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// A process that has written one block, and has nothing of it but the object in its bucket.
async fn with_one_block() -> Result<(Cluster, Ledger, PathBuf)> {
    let mut cluster = one_process("global: {}\n", &["--ingester.query-timeout=1s"]).await?;
    let base = cluster.url("all", "");
    let load = Load::start(vec![base.clone()], "damaged");
    load.goes_on(20).await?;
    let ledger = load.end().await?;
    cluster.admin(&["cut"]).await?;
    check_ledger(&base, "damaged", &ledger).await.context("before the damage")?;
    let blocks = blocks_of(&cluster.named("all").folder.join("data/bucket"))?;
    let [block] = blocks.as_slice() else { bail!("one block was expected: {blocks:?}") };
    let block = block.clone();
    restart_without_caches(&mut cluster).await?;
    Ok((cluster, ledger, block))
}

async fn restart_without_caches(cluster: &mut Cluster) -> Result<()> {
    let member = cluster.member("all");
    member.kill();
    let caches = member.folder.join("data/blocks");
    std::fs::remove_dir_all(&caches).with_context(|| caches.display().to_string())?;
    cluster.start()?;
    cluster.ready().await
}

/// What the process says to a query of everything in the block: an error's text, or nothing where the answer is
/// whole and right.
async fn trouble_of(cluster: &Cluster, ledger: &Ledger) -> Result<Option<String>> {
    let (first_ms, last_ms) = ledger.bounds_ms().context("something was written")?;
    let base = cluster.url("all", "");
    match raw_samples(&base, "default", "load", first_ms, last_ms).await {
        Ok(answer) => ledger.check_against(&[answer]).map(|()| None),
        Err(error) => Ok(Some(format!("{error:#}"))),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_block_is_named_and_never_answered_from() -> Result<()> {
    let (mut cluster, ledger, path) = with_one_block().await?;
    let block = path.display().to_string();
    let name = path.file_stem().and_then(|s| s.to_str()).context("a name")?.to_string();
    let whole = std::fs::read(&path)?;
    cluster.tool(&["block", "verify", &block]).context("a whole block")?;
    let mut damaged: Vec<(String, Vec<u8>)> = Vec::new();
    for percent in [1, 30, 60, 99] {
        let at = whole.len() * percent / 100;
        let mut bytes = whole.clone();
        bytes[at] ^= 0x04;
        damaged.push((format!("bit flipped at byte {at} of {}", whole.len()), bytes));
    }
    damaged.push(("cut to its half".to_string(), whole[..whole.len() / 2].to_vec()));
    damaged.push(("cut by one byte".to_string(), whole[..whole.len() - 1].to_vec()));
    damaged.push(("empty".to_string(), Vec::new()));
    let mut named = 0;
    for (what, bytes) in damaged {
        std::fs::write(&path, bytes)?;
        let verdict = cluster.tool(&["block", "verify", &block]);
        let verdict = verdict.err().with_context(|| format!("verify finds nothing: {what}"))?;
        let verdict = format!("{verdict:#}");
        ensure!(verdict.contains(&name), "verify does not name the block: {what}: {verdict}");
        restart_without_caches(&mut cluster).await?;
        // A query that does not touch the damage may be answered; what it answers is right.
        if let Some(trouble) = trouble_of(&cluster, &ledger).await.context(what.clone())? {
            ensure!(trouble.contains(&name), "the block is not named: {what}: {trouble}");
            named += 1;
        } else {
            println!("no query needs it: {what}");
        }
        let health = http::client().get(cluster.url("all", "/-/ready")).send().await?;
        ensure!(health.status().is_success(), "the process is not ready: {what}");
    }
    ensure!(named >= 4, "damage that queries have met: {named}");
    // The whole block is back, and nothing of the damaged one is remembered.
    std::fs::write(&path, &whole)?;
    eventually("queries are answered again", || async {
        match trouble_of(&cluster, &ledger).await? {
            None => Ok(Some(())),
            Some(trouble) => bail!(trouble),
        }
    })
    .await?;
    tokio::time::timeout(
        Duration::from_secs(60),
        check_ledger(&cluster.url("all", ""), "damaged", &ledger),
    )
    .await?
    .map(drop)
}

#[tokio::test]
async fn a_member_with_a_bucket_that_is_not_the_clusters_ends_and_says_so() -> Result<()> {
    let mut cluster = Cluster::new()?;
    let bucket = cluster.local_bucket()?;
    cluster.add_roles(1, &bucket);
    cluster.start()?;
    cluster.ready().await?;
    let other = cluster.folder.path().join("other");
    std::fs::create_dir_all(&other)?;
    let file = cluster.folder.path().join("other.yml");
    std::fs::write(
        &file,
        format!("type: FILESYSTEM\nconfig: {{directory: {}}}\n", other.display()),
    )?;
    for role in ["ingester", "store-gateway", "compactor"] {
        let name = format!("stray-{role}");
        let flag = format!("--objstore.config-file={}", file.display());
        cluster.add(role, &name).flags.push(flag);
        cluster.start()?;
        eventually("the stray member ends", || {
            let process = cluster.member(&name).process.as_mut();
            let ended = process.map(|process| (process.ended_well(), process.log_tail()));
            async move {
                let (ended, log) = ended.context("a process")?;
                let said = log.contains("the bucket has no cluster.json");
                match ended {
                    None => Ok(None),
                    Some(false) if said => Ok(Some(())),
                    _ => anyhow::bail!("{ended:?} {log}"),
                }
            }
        })
        .await?;
    }
    ensure!(std::fs::read_dir(&other)?.next().is_none(), "something was written");
    Ok(())
}
