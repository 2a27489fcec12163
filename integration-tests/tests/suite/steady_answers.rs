//! Queries over samples that do not change, asked again and again while those samples live through all that a
//! cluster does with them: their shards are sealed and split, their generations cut, uploaded, committed, dropped
//! from memory, and their blocks compacted. Each answer has to be the first one's, up to the order of additions.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, ensure};
use pando_catalog::ShardStage;
use pando_integration_tests::catalog::CatalogNow;
use pando_integration_tests::cluster::Cluster;
use pando_integration_tests::load::{Load, check_ledger};
use pando_integration_tests::writer::{Writer, Written};
use pando_integration_tests::{answers, eventually, http, long, now_ms};
use pando_model::BlockSource;
use serde_json::Value;
use tokio::task::JoinSet;

/// Queries that have to be answered altogether, and while each stage goes on or right after it.
const ANSWERS: usize = 200;
const ANSWERS_PER_STAGE: usize = 20;
/// Lives in the long version.
const LONG_LIVES: usize = 10;
/// Who asks at the same time.
const ASKERS: usize = 2;

const INSTANCES: usize = 8;
/// Samples of each series, one a second. The first half is cut before the first query.
const SAMPLES: i64 = 320;
/// A counter begins anew after so many samples.
const RESET: i64 = 110;

/// A window of compaction. What is in it is merged once it is over, so all samples are of one that is.
const WINDOW_MS: i64 = 2 * 3_600_000;
/// How long before the window's end the first sample is.
const BEFORE_END_MS: i64 = 50 * 60_000;

/// Asked at the end of the samples, where the halves meet, and over all of them.
const QUERIES: [&str; 12] = [
    "{__name__=~\"steady_.+\",instance=\"node-3\"}",
    "steady_requests_total{code=\"500\"}",
    "sum by (instance) (rate(steady_requests_total[1m]))",
    "sum by (code) (increase(steady_requests_total[4m]))",
    "avg(steady_level)",
    "quantile by (pod) (0.9, steady_level)",
    "stddev without (instance) (steady_level)",
    "max_over_time(steady_level[90s]) > 5",
    "topk(3, sum by (instance, code) (rate(steady_requests_total[2m])))",
    "sum by (instance) (steady_level) / on (instance) group_left (zone) steady_info",
    "histogram_quantile(0.9, sum by (le) (rate(steady_seconds_bucket[2m])))",
    "count(count_over_time({__name__=~\"steady_.+\"}[10m]))",
];

/// Two shards, and all that happens to a generation happens soon. It leaves memory as soon as it is in a block, and a
/// closed shard with it, so that queries meet sources that are gone.
const FLAGS: [&str; 7] = [
    "--controller.shards=2",
    "--controller.tenant-ranges=8",
    "--ingester.query-timeout=1ms",
    "--compactor.min-block-age=1s",
    "--limits.out-of-order-time-window=12h",
    "--query.timeout=30s",
    // So that ranges are asked for in parts.
    "--query.split-interval=1m",
];

fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// The samples of one second.
fn samples(t_ms: i64, turn: i64) -> Vec<Written> {
    let mut all = Vec::new();
    for n in 0..INSTANCES {
        let instance = format!("node-{n}");
        let pod = format!("pod-{}", n % 3);
        let place = [("job", "steady"), ("instance", &instance)];
        let mut push = |name: &str, more: &[(&str, &str)], value: f64| {
            let pairs: Vec<(&str, &str)> = place.iter().chain(more).copied().collect();
            all.push(Written::new(name, &pairs, t_ms, value));
        };
        // Counters that begin anew, each at its own time, and do not grow evenly.
        let age = (turn + 31 * n as i64) % RESET;
        for (i, code) in ["200", "404", "500"].into_iter().enumerate() {
            let grown = age * (3 - i as i64) + (age * age) % 7;
            push("steady_requests_total", &[("code", code), ("pod", &pod)], grown as f64);
        }
        let level = ((turn * 7919 + 104_729 * n as i64) % 1000) as f64 / 97.0;
        push("steady_level", &[("pod", &pod)], level);
        let zone = if n % 2 == 0 { "even" } else { "odd" };
        push("steady_info", &[("zone", zone)], 1.0);
        for (i, le) in ["0.1", "1", "+Inf"].into_iter().enumerate() {
            push("steady_seconds_bucket", &[("le", le)], (age * (i as i64 + 1)) as f64);
        }
    }
    all
}

/// A query, and what was answered to it first.
struct Question {
    path: &'static str,
    parameters: Vec<(&'static str, String)>,
    first: Value,
}

impl Question {
    async fn ask(&self, base: &str) -> Result<Value> {
        let parameters: Vec<(&str, &str)> =
            self.parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        http::data(&format!("{base}{}", self.path), &parameters).await
    }

    async fn check(&self, base: &str) -> Result<()> {
        let answer = self.ask(base).await?;
        answers::ensure_equal(&answer, &self.first)
            .with_context(|| format!("{} {:?}", self.path, self.parameters))
    }
}

/// All questions, with their first answers.
async fn questions(base: &str, start_ms: i64) -> Result<Vec<Question>> {
    let (middle_ms, end_ms) = (start_ms + SAMPLES * 500, start_ms + (SAMPLES - 1) * 1000);
    let mut all = Vec::new();
    let mut add = |path, parameters| all.push(Question { path, parameters, first: Value::Null });
    for query in QUERIES {
        for t_ms in [middle_ms + 1_300, end_ms] {
            let parameters = vec![("query", query.to_string()), ("time", seconds(t_ms))];
            add("/api/v1/query", parameters);
        }
        let (start, end) = (seconds(start_ms), seconds(end_ms));
        let step = "7".to_string();
        let range = [("query", query.to_string()), ("start", start), ("end", end), ("step", step)];
        add("/api/v1/query_range", range.into());
    }
    let raw = "steady_requests_total{instance=~\"node-[0-3]\"}[6m]";
    add("/api/v1/query", vec![("query", raw.to_string()), ("time", seconds(end_ms))]);
    for question in &mut all {
        question.first = question.ask(base).await?;
        let series = question.first["result"].as_array().map_or(0, Vec::len);
        ensure!(series > 0, "no series: {:?}", question.parameters);
    }
    Ok(all)
}

/// Those who ask, until this is dropped.
struct Askers {
    shared: Arc<Asked>,
    _tasks: JoinSet<()>,
}

struct Asked {
    bases: Vec<String>,
    questions: Vec<Question>,
    answered: AtomicUsize,
    trouble: Mutex<Option<String>>,
}

impl Askers {
    fn start(bases: Vec<String>, questions: Vec<Question>) -> Self {
        let (answered, trouble) = (AtomicUsize::new(0), Mutex::new(None));
        let shared = Arc::new(Asked { bases, questions, answered, trouble });
        let mut tasks = JoinSet::new();
        for asker in 0..ASKERS {
            let shared = shared.clone();
            tasks.spawn(async move { shared.ask_all(asker).await });
        }
        Askers { shared, _tasks: tasks }
    }

    /// How many answers were right; fails once one was not.
    fn answered(&self) -> Result<usize> {
        let trouble = self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match trouble.as_ref() {
            Some(trouble) => Err(anyhow!("{trouble}")),
            None => Ok(self.shared.answered.load(Ordering::SeqCst)),
        }
    }

    /// Runs a part of the samples' life, and waits until enough was answered meanwhile.
    async fn during(&self, stage: &str, work: impl Future<Output = Result<()>>) -> Result<()> {
        let (begun_ms, before) = (now_ms(), self.answered()?);
        work.await.with_context(|| format!("stage={stage}"))?;
        let enough = before + ANSWERS_PER_STAGE;
        let done = eventually("queries are answered", || async {
            Ok(match self.answered() {
                Ok(answered) => (answered >= enough).then_some(Ok(answered)),
                Err(trouble) => Some(Err(trouble)),
            })
        });
        let answered = done.await?.with_context(|| format!("stage={stage}"))?;
        println!("stage={stage} answers={} took_ms={}", answered - before, now_ms() - begun_ms);
        Ok(())
    }
}

impl Asked {
    async fn ask_all(&self, asker: usize) {
        // Each in another order, and each question to each member in turn.
        for turn in 0.. {
            let question = &self.questions[(turn * (asker + 1) + asker) % self.questions.len()];
            let base = &self.bases[(turn / self.questions.len() + turn + asker) % self.bases.len()];
            if let Err(error) = question.check(base).await {
                let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
                trouble.get_or_insert(format!("asked={base}: {error:#}"));
                return;
            }
            self.answered.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// The cluster with its samples.
struct Life {
    cluster: Cluster,
    writer: Writer,
    start_ms: i64,
}

impl Life {
    async fn begin() -> Result<Self> {
        let cluster = Cluster::three_equals(&FLAGS).await?;
        let writer = Writer::new(&cluster.url("all-0", ""), "default");
        let start_ms = now_ms() / WINDOW_MS * WINDOW_MS - BEFORE_END_MS;
        Ok(Life { cluster, writer, start_ms })
    }

    async fn write(&self, turns: std::ops::Range<i64>) -> Result<()> {
        for from in turns.clone().step_by(40) {
            let some = from..(from + 40).min(turns.end);
            let batch: Vec<Written> =
                some.flat_map(|turn| samples(self.start_ms + 1000 * turn, turn)).collect();
            self.writer.write_surely(&batch).await?;
        }
        Ok(())
    }

    async fn catalog(&self) -> Result<CatalogNow> {
        CatalogNow::of(&self.cluster).await
    }

    /// Seals and splits the first open shard while its generation is open.
    async fn seal_one(&self) -> Result<()> {
        let before = self.catalog().await?;
        let open = |now: &CatalogNow| now.shards(ShardStage::Open);
        let shards = before.routing.shards().values();
        let first = shards.filter(|s| s.stage == ShardStage::Open).map(|s| s.id).min();
        let shard = first.context("a shard is open")?.0;
        let printed = self.cluster.admin(&["seal", "--split", &format!("--shard={shard}")]).await?;
        eventually("the sealed shard is closed and has two successors", || async {
            let now = self.catalog().await?;
            let closed = now.shards(ShardStage::Closed) > before.shards(ShardStage::Closed);
            Ok((closed && open(&now) > open(&before)).then_some(()))
        })
        .await
        .with_context(|| printed)
    }

    /// Cuts all shards; what they had is in blocks.
    async fn cut(&self) -> Result<()> {
        let before = self.catalog().await?.blocks.version();
        let printed = self.cluster.admin(&["cut"]).await?;
        ensure!(printed.contains("is in a block"), "printed: {printed}");
        eventually("the catalog has new blocks", || async {
            let now = self.catalog().await?.blocks;
            Ok(now.iter().any(|entry| entry.added > before).then_some(()))
        })
        .await
        .with_context(|| printed)
    }

    /// Cuts, and waits until members have let go of all samples: they are in blocks. Writers rest meanwhile.
    async fn drop_committed(&self, load: &Load) -> Result<()> {
        let _still = load.still().await?;
        let name = "pando_ingester_memory_bytes{part=\"samples\"}";
        let before = eventually("there is something to let go of", || async {
            let bytes = self.cluster.metric_of("all", name).await?;
            Ok((bytes > 0.0).then_some(bytes))
        })
        .await?;
        self.cut().await?;
        eventually("committed samples are dropped from memory", || async {
            let now = self.cluster.metric_of("all", name).await?;
            ensure!(now == 0.0, "before={before} now={now}");
            Ok(Some(()))
        })
        .await
    }

    /// Waits until no block is left that is a single generation of those that there are now.
    async fn compacted(&self) -> Result<()> {
        let begun_ms = now_ms();
        eventually("generations are compacted", || async {
            let now = self.catalog().await?;
            let merged = |source: &BlockSource| matches!(source, BlockSource::Compaction { .. });
            let count = now.blocks.iter().filter(|entry| merged(&entry.record.source)).count();
            let old = now.blocks.iter().filter(|entry| {
                let BlockSource::Generation(generation) = entry.record.source else {
                    return false;
                };
                // A shard's only block waits for another one to be merged with.
                let of_shard = |source: &BlockSource| {
                    matches!(source, BlockSource::Generation(g)
                    if g.shard == generation.shard)
                };
                let others = now.blocks.iter().filter(|e| of_shard(&e.record.source)).count() > 1;
                others && entry.record.created_ms < begun_ms
            });
            let old = old.count();
            ensure!(old == 0 && count >= 2, "uncompacted={old} compacted={count}");
            Ok(Some(()))
        })
        .await?;
        let replaced =
            self.cluster.metric_of("all", "pando_compactor_blocks_replaced_total").await?;
        ensure!(replaced >= 4.0, "blocks_replaced={replaced}");
        Ok(())
    }

    /// All that happens to the samples.
    async fn live(&self, askers: &Askers, load: &Load) -> Result<()> {
        askers.during("seal and split", self.seal_one()).await?;
        askers.during("cut, upload, commit", self.cut()).await?;
        askers.during("drop", self.drop_committed(load)).await?;
        askers.during("compact", self.compacted()).await?;
        askers.during("seal and split again", self.seal_one()).await?;
        askers.during("cut again", self.cut()).await?;
        load.goes_on(1).await?;
        eventually("enough queries are answered", || async {
            let answered = askers.answered()?;
            ensure!(answered >= ANSWERS, "answered={answered}");
            Ok(Some(()))
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_stay_while_samples_are_cut_committed_dropped_compacted_sealed_and_split()
-> Result<()> {
    let life = Life::begin().await?;
    let bases: Vec<String> = life.cluster.members.iter().map(|m| m.url("")).collect();
    life.write(0..SAMPLES / 2).await?;
    life.cut().await?;
    life.write(SAMPLES / 2..SAMPLES).await?;
    life.writer.check(&bases[0], "{__name__=~\"steady_.+\"}").await?;
    let questions = questions(&bases[0], life.start_ms).await?;

    let behind_ms = now_ms() - life.start_ms - SAMPLES * 1000;
    let load = Load::start_behind(bases.clone(), "beside", behind_ms);
    load.goes_on(1).await?;
    let askers = Askers::start(bases.clone(), questions);
    let lived = async {
        for _ in 0..if long() { LONG_LIVES } else { 1 } {
            life.live(&askers, &load).await?;
        }
        Ok(())
    };
    let lived = lived.await;
    let answered = askers.answered();
    // A wrong answer says more than what did not come true because of it.
    let answered = answered.and_then(|count| lived.map(|()| count));
    let answered = answered.with_context(|| life.cluster.log_tails())?;
    println!("answers={answered}");
    drop(askers);
    let ledger = load.end().await?;
    check_ledger(&bases[1], "beside", &ledger).await?;
    life.writer.check(&bases[2], "{__name__=~\"steady_.+\"}").await
}
