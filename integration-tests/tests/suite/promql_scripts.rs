//! Prometheus' own PromQL test scripts, run by `pando test promql --url` against a cluster whose roles are processes of
//! their own: samples go in by remote write, and answers are put together of fragments from four shards. Each load is
//! cut in its middle, so that every series has its first half in blocks of the object store and its second in heads.
//!
//! That this is so is read from the catalog afterwards: every load, of hundreds, is a tenant's, and what becomes of the
//! tenant's key ranges and generations is recorded there.
//!
//! What remote write or the API cannot express, case by case. No eval is left out; of six, all in native_histograms.test,
//! one number is not looked at, because the API shows no zero bucket with less than nothing in it (lines 960, 964, 968,
//! 988 and 1596) or with NaN (line 1020): a unit test of promqltest keeps this list. Of no histogram it shows the schema,
//! the counter reset hint, empty buckets, and the width of an empty zero bucket; a stale marker is a NaN as any other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use pando_catalog::ShardStage;
use pando_integration_tests::catalog::CatalogNow;
use pando_integration_tests::cluster::Cluster;
use pando_integration_tests::peers;
use pando_model::{BlockSource, ShardId, TenantId};
use tokio::process::Command;

/// All evals of the scripts.
const EVALS: usize = 2_214;
/// Shards, at least; ingesters, each of which leads some.
const SHARDS: usize = 4;
/// Loads that have to lie in blocks and heads at once: all of the scripts but a few that hold one sample a shard.
const TENANTS_IN_BOTH: usize = 150;

/// A script that a Prometheus 3.5 passes, and its evals.
const PROMETHEUS_KNOWS: (&str, usize) = ("subquery.test", 34);

const FEATURES: &str = "--enable-feature=promql-experimental-functions,promql-extended-range-selectors,\
                        promql-binop-fill-modifiers,promql-delayed-name-removal,use-start-timestamps";

/// What the tool printed, read.
struct Report {
    passed: usize,
    failed: usize,
    /// Scripts with lines, and what was said of them.
    failures: BTreeMap<String, String>,
}

impl Report {
    fn read(printed: &str) -> Result<Self> {
        let last = printed.lines().last().context("nothing was printed")?;
        let sum = || last.strip_suffix(" failed")?.split_once(" passed, ");
        let (passed, failed) = sum().with_context(|| format!("no sum: {last}"))?;
        let mut failures = BTreeMap::new();
        for line in printed.lines() {
            // `path/name.test:line: expression: why`; the sum of a script has no line.
            let Some((_, rest)) = line.rsplit_once("/promqltest/") else { continue };
            let mut words = rest.splitn(3, ':');
            let (Some(file), Some(at)) = (words.next(), words.next()) else { continue };
            if at.parse::<usize>().is_ok() {
                let why = words.next().unwrap_or_default().trim().to_string();
                failures.insert(format!("{file}:{at}"), why);
            }
        }
        Ok(Report { passed: passed.parse()?, failed: failed.parse()?, failures })
    }
}

/// What the catalog says of the tenants of the run.
#[derive(Debug, Default)]
struct Places {
    /// Tenants, and the shards that their key ranges are in: each of these answers for a fragment of every query.
    routes: BTreeMap<TenantId, BTreeSet<ShardId>>,
    /// Samples of a tenant by shard and generation.
    samples: BTreeMap<(TenantId, ShardId), BTreeMap<u64, u64>>,
}

impl Places {
    async fn of(cluster: &Cluster) -> Result<Self> {
        let catalog = CatalogNow::of(cluster).await?;
        let sealed = catalog.routing.shards().len() - catalog.shards(ShardStage::Open);
        ensure!(sealed == 0, "shards were sealed meanwhile: {sealed}");
        let mut places = Places::default();
        for tenant in catalog.routing.tenants().keys() {
            let Some(route) = catalog.routing.route(tenant) else { continue };
            let shards = route.ranges().map(|(_, shard)| shard).collect();
            places.routes.insert(tenant.clone(), shards);
        }
        for block in catalog.blocks.iter() {
            let BlockSource::Generation(generation) = &block.record.source else {
                anyhow::bail!("nobody compacts here: block={:?}", block.record.id);
            };
            for span in &block.record.tenants {
                let of = places.samples.entry((span.tenant.clone(), generation.shard));
                *of.or_default().entry(generation.cut.0).or_default() += span.samples;
            }
        }
        Ok(places)
    }

    /// Tenants that had samples in blocks and in heads of one shard at once: those of an earlier generation were
    /// committed before those of the last one were written.
    fn tenants_in_both(&self) -> usize {
        let both = self.samples.iter().filter(|(_, generations)| generations.len() > 1);
        both.map(|((tenant, _), _)| tenant).collect::<BTreeSet<_>>().len()
    }

    /// Samples that lay in blocks, and in heads, when their tenant's last queries were asked.
    fn samples_in_each(&self) -> (u64, u64) {
        let last = |generations: &BTreeMap<u64, u64>| generations.values().last().copied();
        let heads = self.samples.values().filter_map(last).sum();
        let all: u64 = self.samples.values().flat_map(BTreeMap::values).sum();
        (all - heads, heads)
    }

    fn shards_with_samples(&self) -> usize {
        self.samples.keys().map(|(_, shard)| shard).collect::<BTreeSet<_>>().len()
    }
}

/// A cluster of one controller, four ingesters, a store gateway, a receiver and a query frontend. There is no
/// compactor: it would merge the blocks whose generations are counted.
async fn cluster() -> Result<Cluster> {
    let mut cluster = Cluster::new()?;
    let bucket = cluster.local_bucket()?;
    cluster.add_roles(SHARDS, &bucket);
    cluster.members.retain(|member| member.role != "compactor");
    let flags = [
        "--controller.shards=4",
        "--controller.tenant-ranges=4",
        "--controller.replication-factor=1",
        "--limits.out-of-order-time-window=100y",
    ];
    cluster.give("controller", &flags);
    // Most ranges are of a few minutes.
    cluster.give("query-frontend", &[FEATURES, "--query.split-interval=7m"]);
    cluster.start()?;
    cluster.ready().await?;
    CatalogNow::has_open_shards(&cluster, SHARDS).await?;
    // All of them have leaders when this has an answer.
    cluster.admin(&["cut"]).await?;
    Ok(cluster)
}

/// Runs all scripts and returns what was printed.
async fn run(cluster: &Cluster, scripts: &Path) -> Result<String> {
    let controller = cluster.named("controller").grpc_address();
    let cut = format!("'{}' admin cut --controller={controller}", peers::pando().display());
    let (frontend, receiver) = (cluster.url("query-frontend", ""), cluster.url("receiver", ""));
    let mut command = Command::new(peers::pando());
    command.args(["test", "promql", "--url", &frontend, "--write-url", &receiver]);
    command.args(["--cut-cmd", &cut]).arg(scripts).kill_on_drop(true);
    let output = command.output().await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, trouble) = (text(&output.stdout), text(&output.stderr));
    ensure!(out.contains(" passed, "), "{out}{trouble}{}", cluster.log_tails());
    Ok(out)
}

#[tokio::test]
async fn prometheus_scripts_pass_over_blocks_and_heads_of_four_shards() -> Result<()> {
    let Some(scripts) = peers::shared("promqltest") else { return Ok(()) };
    let cluster = cluster().await?;
    let printed = run(&cluster, &scripts).await?;
    let report = Report::read(&printed)?;
    ensure!(report.passed + report.failed == EVALS, "evals are missing: {printed}");
    ensure!(report.failed == report.failures.len(), "failures are not read: {printed}");
    ensure!(report.failed == 0, "evals fail: {:#?}", report.failures);

    let fragments =
        cluster.metric_of("query-frontend", "pando_query_frontend_fragments_total").await?;
    let queries = cluster.metric_of("query-frontend", "pando_query_frontend_queries_total").await?;
    // What is in heads now becomes generations, as those before it.
    cluster.admin(&["cut"]).await?;
    let places = Places::of(&cluster).await?;
    let (in_blocks, in_heads) = places.samples_in_each();
    println!(
        "{} tenants, {} of them in blocks and heads at once; samples in blocks={in_blocks} in heads={in_heads}; \
         queries={queries} fragments={fragments}",
        places.routes.len(),
        places.tenants_in_both(),
    );
    let few = places.routes.iter().find(|(_, shards)| shards.len() < SHARDS);
    ensure!(few.is_none(), "a tenant's keys are in too few shards: {few:?}");
    ensure!(places.shards_with_samples() >= SHARDS, "shards without samples: {places:?}");
    ensure!(places.tenants_in_both() >= TENANTS_IN_BOTH, "borders do not lie within the data");
    ensure!(in_blocks > 1_000 && in_heads > 1_000, "samples are all in one place");
    // Four to each selector; some queries have none.
    ensure!(fragments > 3.0 * queries, "fragments are too few: {fragments} of {queries} queries");
    Ok(())
}

/// A Prometheus that a script starts, again and again.
struct Restarted {
    folder: tempfile::TempDir,
}

impl Restarted {
    /// Writes down how it is started at `address` with no data, in place of what runs there.
    fn new(prometheus: &Path, address: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = "global: {evaluation_interval: 1m}\n\
                      storage: {tsdb: {out_of_order_time_window: 36500d}}\n";
        fs::write(folder.path().join("prometheus.yml"), config)?;
        let (host, port) = address.split_once(':').context("host:port")?;
        let reset = format!(
            "set -e; cd '{folder}'\n\
             end() {{ kill \"$(cat id)\"; while kill -0 \"$(cat id)\" 2> /dev/null; do sleep 0.02; done; rm id; }}\n\
             if [ -f id ]; then end; fi\n\
             if [ \"$1\" = end ]; then exit; fi\n\
             rm -rf data\n\
             '{prometheus}' --config.file=prometheus.yml --storage.tsdb.path=data \
             --web.listen-address={address} --web.enable-remote-write-receiver \
             --storage.tsdb.retention.time=100y --enable-feature=promql-delayed-name-removal,\
             promql-experimental-functions,native-histograms >> log 2>&1 &\n\
             echo $! > id\n\
             answers() {{ exec 3<> '/dev/tcp/{host}/{port}'; printf 'GET /-/ready HTTP/1.0\\r\\n\\r\\n' >&3; \
             grep -q ' 200 ' <&3; }}\n\
             for _ in $(seq 1000); do if (answers) 2> /dev/null; then exit; fi; sleep 0.02; done; exit 1\n",
            folder = folder.path().display(),
            prometheus = prometheus.display(),
        );
        fs::write(folder.path().join("reset.sh"), reset)?;
        Ok(Restarted { folder })
    }

    fn command(&self) -> String {
        format!("bash '{}'", self.folder.path().join("reset.sh").display())
    }
}

impl Drop for Restarted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("sh").arg("-c").arg(self.command() + " end").status();
    }
}

/// Another server than Pando is emptied by a command; what it answers is judged as Pando's answers are.
#[tokio::test]
async fn scripts_run_against_prometheus_too() -> Result<()> {
    let (Some(prometheus), Some(scripts)) = (peers::prometheus(), peers::shared("promqltest"))
    else {
        return Ok(());
    };
    let address = peers::free_address();
    let server = Restarted::new(&prometheus, &address)?;
    let own = server.folder.path().join("own.test");
    let text = "load 1m\n  a 1 2 3\n\neval instant at 2m a\n  a 3\n\nclear\n\neval instant at 2m a\n\n\
                eval instant at 2m 1 + 1\n  3\n";
    fs::write(&own, text)?;
    let (name, evals) = PROMETHEUS_KNOWS;
    let mut command = Command::new(peers::pando());
    command.args(["test", "promql", "--url", &format!("http://{address}")]);
    command
        .args(["--reset-cmd", &server.command()])
        .arg(scripts.join(name))
        .arg(own)
        .kill_on_drop(true);
    let output = command.output().await?;
    let printed = String::from_utf8_lossy(&output.stdout);
    ensure!(printed.contains(&format!("{name}: {evals} passed, 0 failed\n")), "{printed}");
    // What was loaded is gone where it has to be; what is wrong is said.
    ensure!(printed.contains("own.test:11: 1 + 1: as written: 2, expected 3\n"), "{printed}");
    ensure!(printed.contains("own.test: 2 passed, 1 failed\n"), "{printed}");
    ensure!(!output.status.success(), "one eval failed");
    Ok(())
}
