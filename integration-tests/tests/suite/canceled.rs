//! A client that leaves in the middle of its query: every process that works for it stops.
//!
//! ```text
//! store:       hangs, so that whoever executes a fragment goes on until it is told to stop
//! ingester-0:  executes its ranges, until the way to it leads nowhere
//! gateway:     is asked for them then, and waits for that ingester and for the store
//! ingester-1:  executes its own ranges all the time
//! ```

use anyhow::{Context, Result, ensure};
use pando_integration_tests::catalog::CatalogNow;
use pando_integration_tests::cluster::Cluster;
use pando_integration_tests::door::Door;
use pando_integration_tests::peers::S3;
use pando_integration_tests::writer::{Writer, Written};
use pando_integration_tests::{eventually, now_ms, peers};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// One replica: nobody else can answer for what a member has in memory.
const FLAGS: [&str; 3] =
    ["--controller.shards=4", "--controller.tenant-ranges=4", "--controller.replication-factor=1"];
const RANGES: usize = 4;
/// Metrics by names, so that their series are in all ranges.
const NAMES: usize = 64;
const QUERY: &str = "/api/v1/query?query=count(%7B__name__%3D~%22canceled_.%2B%22%7D)";

const RUNNING: &str = "pando_executor_calls_running{call=\"execute\"}";
const CANCELED: &str = "pando_executor_calls_total{call=\"execute\",code=\"Cancelled\"}";
const QUERIES_CANCELED: &str = "pando_query_frontend_queries_total{outcome=\"canceled\"}";
const QUERIES: &str = "prometheus_engine_queries";
const EXECUTORS: [&str; 3] = ["ingester-0", "ingester-1", "store-gateway"];

/// Roles in processes of their own, with samples in blocks that nobody has in a cache.
async fn begin(s3: &S3) -> Result<(Cluster, Door)> {
    let mut cluster = Cluster::new()?;
    cluster.add_roles(2, &s3.config);
    cluster.give("controller", &FLAGS);
    let ingester = cluster.member("ingester-0");
    let door = Door::to(&ingester.grpc_address()).await?;
    ingester.flags.push(format!("--grpc.advertise-address={}", door.address));
    cluster.start()?;
    cluster.ready().await?;
    CatalogNow::spread(&cluster, RANGES).await?;
    let writer = Writer::new(&cluster.url("receiver", ""), "default");
    let name = |n: usize| format!("canceled_{n}");
    let samples: Vec<_> =
        (0..NAMES).map(|n| Written::new(&name(n), &[("job", "canceled")], now_ms(), 1.0)).collect();
    writer.write_surely(&samples).await?;
    let printed = cluster.admin(&["cut"]).await?;
    ensure!(printed.contains("is in a block"), "printed: {printed}");
    forget_copies(&cluster).await?;
    Ok((cluster, door))
}

/// Removes the copies of blocks that ingesters keep.
async fn forget_copies(cluster: &Cluster) -> Result<()> {
    eventually("no ingester has a copy of a block", || async {
        let mut removed = 0;
        for member in cluster.members.iter().filter(|member| member.role == "ingester") {
            let folder = member.folder.join("data").join("blocks");
            for entry in std::fs::read_dir(folder)? {
                std::fs::remove_file(entry?.path())?;
                removed += 1;
            }
        }
        Ok((removed == 0).then_some(()))
    })
    .await
}

/// Waits until a metric of each of these members is as wanted.
async fn metric_is(
    cluster: &Cluster,
    (members, metric): (&[&str], &str),
    wanted: impl Fn(f64) -> bool,
) -> Result<()> {
    eventually(metric, || async {
        for name in members {
            let value = cluster.named(name).metric(metric).await?;
            ensure!(wanted(value), "{name}: {metric} {value}");
        }
        Ok(Some(()))
    })
    .await
}

/// A query whose answer nobody has read yet.
async fn ask(cluster: &Cluster) -> Result<TcpStream> {
    let address = format!("127.0.0.1:{}", cluster.named("query-frontend").http_port);
    let mut stream = TcpStream::connect(&address).await?;
    let request = format!("GET {QUERY} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_ends_its_query_in_every_process() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(s3) = peers::start_s3(folder.path()).await? else { return Ok(()) };
    let (cluster, door) = begin(&s3).await?;
    let frontend = ["query-frontend"];
    s3.process.signal("STOP")?;
    let client = ask(&cluster).await?;
    metric_is(&cluster, (&EXECUTORS[..2], RUNNING), |running| running >= 1.0).await?;
    door.mute();
    metric_is(&cluster, (&EXECUTORS[1..], RUNNING), |running| running >= 1.0).await?;
    metric_is(&cluster, (&frontend, QUERIES), |queries| queries == 1.0).await?;
    drop(client);
    let ended = async {
        metric_is(&cluster, (&frontend, QUERIES_CANCELED), |queries| queries == 1.0).await?;
        metric_is(&cluster, (&EXECUTORS, RUNNING), |running| running == 0.0).await?;
        metric_is(&cluster, (&EXECUTORS, CANCELED), |canceled| canceled >= 1.0).await
    };
    ended.await.with_context(|| cluster.log_tails())?;
    s3.process.signal("CONT")
}
