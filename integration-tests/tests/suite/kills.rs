//! Members are killed without a word while samples are written: writes and queries go on, and nothing that was
//! acknowledged is missing or doubled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use pando_integration_tests::cluster::Cluster;
use pando_integration_tests::writer::{Writer, Written};
use pando_integration_tests::{eventually, http, long, now_ms};

/// Rounds of kills over both kinds of cluster: fifty in CI.
const ROUNDS_ALL: usize = 28;
const ROUNDS_ROLES: usize = 22;
/// How many times as many rounds the long version has.
const LONG: usize = 20;
/// Series of each write.
const SERIES: usize = 8;
/// Writes that have to be acknowledged before a cluster counts as going on.
const PROGRESS: u64 = 3;

/// Writes without end, to any receiver that answers, and counts what is acknowledged.
pub(super) struct Load {
    writer: Arc<Writer>,
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Load {
    #[expect(clippy::disallowed_methods, reason = "the test owns the task and waits for it")]
    pub(super) fn start(receivers: Vec<String>) -> Self {
        let writer = Arc::new(Writer::new(&receivers[0], "default"));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let (w, a, s) = (writer.clone(), acknowledged.clone(), stop.clone());
        let task = tokio::spawn(async move {
            let (mut turn, mut last_ms) = (0, 0);
            while !s.load(Ordering::SeqCst) {
                // Each write has a time of its own, so that a repeated one would show.
                let time_ms = now_ms().max(last_ms + 1);
                last_ms = time_ms;
                let sample = |i: usize| {
                    let instance = format!("i{i}");
                    let pairs = [("job", "load"), ("instance", instance.as_str())];
                    Written::new("load_total", &pairs, time_ms, (time_ms % 1000) as f64 + i as f64)
                };
                let samples: Vec<Written> = (0..SERIES).map(sample).collect();
                let outcome = match turn % 2 {
                    0 => w.write_v2(&samples).await,
                    _ => w.write_v1(&samples).await,
                };
                if outcome.is_acknowledged() {
                    a.fetch_add(1, Ordering::SeqCst);
                } else {
                    turn += 1;
                    w.redirect(&receivers[turn % receivers.len()]);
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            }
        });
        Load { writer, acknowledged, stop, task }
    }

    /// Waits until some more writes are acknowledged.
    pub(super) async fn goes_on(&self) -> Result<()> {
        let wanted = self.acknowledged.load(Ordering::SeqCst) + PROGRESS;
        let now = || self.acknowledged.load(Ordering::SeqCst);
        eventually("writes go on", || async { Ok((now() >= wanted).then_some(())) }).await
    }

    /// Ends the load and returns its ledger.
    pub(super) async fn end(self) -> Result<Arc<Writer>> {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.context("the load panicked")?;
        Ok(self.writer)
    }
}

/// Three `pando all` that form one cluster.
pub(super) fn three_of_all(envs: &[(&str, &str)]) -> Result<Cluster> {
    let mut cluster = Cluster::new()?;
    let config = cluster.folder.path().join("prometheus.yml");
    std::fs::write(&config, "global: {scrape_interval: 1m}\n")?;
    let objstore = cluster.local_bucket()?;
    for name in ["all-0", "all-1", "all-2"] {
        let member = cluster.add("all", name);
        member.flags.push(format!("--config.file={}", config.display()));
        member.flags.push(format!("--objstore.config-file={}", objstore.display()));
        member.flags.push("--ingester.cut-interval=7s".to_string());
        member.flags.push("--ingester.query-timeout=2s".to_string());
        member.envs = envs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    }
    cluster.found();
    Ok(cluster)
}

/// Waits until a query at `base` is answered.
pub(super) async fn queries_go_on(base: &str) -> Result<()> {
    let url = format!("{base}/api/v1/query");
    eventually("a query is answered", || async {
        let answer =
            http::data(&url, &[("query", "count(last_over_time(load_total[1h]))")]).await?;
        let count = answer["result"][0]["value"][1].as_str().unwrap_or("0").to_string();
        Ok((count == SERIES.to_string()).then_some(()))
    })
    .await
}

/// Checks what was acknowledged, at `base`, once it answers.
pub(super) async fn check(writer: &Writer, base: &str) -> Result<()> {
    queries_go_on(base).await?;
    ensure!(writer.ledger().acknowledged_count() > 0, "nothing was acknowledged");
    writer.check(base, "load_total").await
}

/// The member that leads shard 1, or the first one.
async fn leader(cluster: &Cluster, among: &[usize]) -> usize {
    for at in among {
        let led = cluster.members[*at].metric("pando_ingester_shards_led").await;
        if led.is_ok_and(|led| led >= 1.0) {
            return *at;
        }
    }
    among[0]
}

/// One round: kills the members `victims`, lets the rest go on where they can, starts them again.
async fn round(cluster: &mut Cluster, load: &Load, victims: &[usize], rest: &str) -> Result<()> {
    for victim in victims {
        cluster.members[*victim].kill();
    }
    if !rest.is_empty() {
        load.goes_on().await.context("after the kill")?;
        queries_go_on(rest).await.context("after the kill")?;
    }
    cluster.start()?;
    load.goes_on().await.context("after the restart")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn any_of_three_equal_processes_may_be_killed_and_all_at_once() -> Result<()> {
    let mut cluster = three_of_all(&[])?;
    cluster.start()?;
    cluster.ready().await?;
    let bases: Vec<String> = cluster.members.iter().map(|m| m.url("")).collect();
    let load = Load::start(bases.clone());
    load.goes_on().await?;
    let rounds = if long() { ROUNDS_ALL * LONG } else { ROUNDS_ALL };
    for n in 0..rounds {
        let victims = match n % 5 {
            4 => vec![0, 1, 2],
            2 => vec![leader(&cluster, &[0, 1, 2]).await],
            _ => vec![n % 3],
        };
        let rest = (0..3).find(|i| !victims.contains(i)).map_or("", |i| bases[i].as_str());
        round(&mut cluster, &load, &victims, rest)
            .await
            .with_context(|| format!("round {n}: killed {victims:?}"))?;
    }
    let writer = load.end().await?;
    for base in &bases {
        check(&writer, base).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn any_controller_or_ingester_may_be_killed_and_all_at_once() -> Result<()> {
    let mut cluster = Cluster::new()?;
    let objstore = format!("--objstore.config-file={}", cluster.local_bucket()?.display());
    for n in 0..3 {
        let member = cluster.add("controller", &format!("controller-{n}"));
        member.flags.push(objstore.clone());
        member.flags.push("--controller.shards=2".to_string());
        member.flags.push("--controller.tenant-ranges=4".to_string());
    }
    cluster.found();
    for n in 0..3 {
        let member = cluster.add("ingester", &format!("ingester-{n}"));
        member.flags.push(objstore.clone());
        member.flags.push("--ingester.cut-interval=7s".to_string());
        member.flags.push("--ingester.query-timeout=2s".to_string());
    }
    cluster.add("store-gateway", "store-gateway").flags.push(objstore.clone());
    cluster.add("receiver", "receiver");
    cluster.add("query-frontend", "query-frontend");
    cluster.start()?;
    cluster.ready().await?;
    let frontend = cluster.url("query-frontend", "");
    let load = Load::start(vec![cluster.url("receiver", "")]);
    load.goes_on().await?;
    let rounds = if long() { ROUNDS_ROLES * LONG } else { ROUNDS_ROLES };
    for n in 0..rounds {
        let (victims, rest) = match n % 6 {
            0 => (vec![n % 3], frontend.as_str()),
            1 | 3 => (vec![3 + n % 3], frontend.as_str()),
            2 => (vec![leader(&cluster, &[3, 4, 5]).await], frontend.as_str()),
            4 => (vec![0, 1, 2, 3, 4, 5], ""),
            _ => (vec![n % 3, 3 + n % 3], frontend.as_str()),
        };
        round(&mut cluster, &load, &victims, rest)
            .await
            .with_context(|| format!("round {n}: killed {victims:?}"))?;
    }
    let writer = load.end().await?;
    check(&writer, &frontend).await
}
