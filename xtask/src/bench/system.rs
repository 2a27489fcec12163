//! `System`: a measured server on loopback with a folder of its own: how it is started, made to write its blocks,
//! asked, weighed and ended.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::clock::eventually;
use super::http::{Client, percent_encoded};
use super::process::Process;

/// How long a system may take to become ready.
const READY_PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to end.
const END_PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to write its blocks.
const BLOCKS_PATIENCE: Duration = Duration::from_secs(300);
/// Far more files than a run leaves behind.
const FILES_MAX: usize = 1_000_000;

/// Which system it is; the order of the table's columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Pando,
    Prometheus,
    VictoriaMetrics,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Pando, Kind::Prometheus, Kind::VictoriaMetrics];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Pando => "pando",
            Kind::Prometheus => "prometheus",
            Kind::VictoriaMetrics => "victoria-metrics",
        }
    }

    /// The path that answers with 200 when the system is ready.
    pub(crate) fn ready_path(self) -> &'static str {
        match self {
            Kind::Pando | Kind::Prometheus => "/-/ready",
            Kind::VictoriaMetrics => "/health",
        }
    }
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub(crate) struct Binaries {
    pub(crate) pando: PathBuf,
    pub(crate) prometheus: Option<PathBuf>,
    pub(crate) victoria_metrics: Option<PathBuf>,
    pub(crate) vmagent: Option<PathBuf>,
}

impl Binaries {
    /// Pando without peers.
    pub(crate) fn alone(pando: PathBuf) -> Self {
        Binaries { pando, prometheus: None, victoria_metrics: None, vmagent: None }
    }

    /// Pando and the peers that are in `folder`.
    pub(crate) fn find(pando: PathBuf, folder: &Path) -> Self {
        let find = |name: &str| Some(folder.join(name)).filter(|path| path.exists());
        Binaries {
            pando,
            prometheus: find("prometheus"),
            victoria_metrics: find("victoria-metrics"),
            vmagent: find("vmagent"),
        }
    }

    pub(crate) fn has_all(&self) -> bool {
        self.prometheus.is_some() && self.victoria_metrics.is_some()
    }

    /// The server of `kind`, if it is there.
    pub(crate) fn server(&self, kind: Kind) -> Option<&Path> {
        match kind {
            Kind::Pando => Some(&self.pando),
            Kind::Prometheus => self.prometheus.as_deref(),
            Kind::VictoriaMetrics => self.victoria_metrics.as_deref(),
        }
    }

    /// What the server of `kind` says to `--version`, its first words; VictoriaMetrics' package says nothing.
    pub(crate) fn version(&self, kind: Kind) -> String {
        let Some(program) = self.server(kind) else { return "not measured".to_string() };
        let output = Command::new(program).arg("--version").output();
        let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().map(str::trim).find(|line| !line.is_empty());
        line.unwrap_or("it does not say").split(" (").next().unwrap_or_default().to_string()
    }
}

/// A point of an answer: seconds, value.
pub(crate) type Points = Vec<(f64, f64)>;

/// A running server.
pub(crate) struct System {
    pub(crate) kind: Kind,
    pub(crate) process: Process,
    pub(crate) http: SocketAddr,
    client: Client,
    /// Pando's gRPC side.
    grpc: SocketAddr,
    program: PathBuf,
    args: Vec<String>,
    folder: PathBuf,
    /// Prometheus' snapshot, once there is one.
    snapshot: Option<PathBuf>,
}

impl System {
    /// Starts the server in `folder`, which must not be there yet, and waits until it is ready. `scrapes` is its
    /// scrape configuration.
    pub(crate) fn start(
        binaries: &Binaries,
        kind: Kind,
        folder: &Path,
        scrapes: Option<&str>,
    ) -> Result<Option<Self>> {
        let Some(program) = binaries.server(kind) else { return Ok(None) };
        fs::create_dir_all(folder)?;
        let config = folder.join("prometheus.yml");
        fs::write(&config, scrapes.unwrap_or("global: {}\n"))?;
        let (http, grpc) = (free_address()?, free_address()?);
        let data = folder.join("data");
        let args = match kind {
            Kind::Pando => vec![
                "all".to_string(),
                format!("--config.file={}", config.display()),
                format!("--web.listen-address={http}"),
                format!("--grpc.listen-address={grpc}"),
                format!("--storage.tsdb.path={}", data.display()),
                "--storage.tsdb.retention.time=50y".to_string(),
                "--web.enable-admin-api".to_string(),
                "--log.level=warn".to_string(),
            ],
            Kind::Prometheus => vec![
                format!("--config.file={}", config.display()),
                format!("--web.listen-address={http}"),
                format!("--storage.tsdb.path={}", data.display()),
                "--storage.tsdb.retention.time=50y".to_string(),
                "--web.enable-remote-write-receiver".to_string(),
                "--web.enable-admin-api".to_string(),
                "--log.level=warn".to_string(),
            ],
            Kind::VictoriaMetrics => {
                let mut args = vec![
                    format!("-httpListenAddr={http}"),
                    format!("-storageDataPath={}", data.display()),
                    "-retentionPeriod=100y".to_string(),
                    "-loggerLevel=WARN".to_string(),
                ];
                if scrapes.is_some() {
                    args.push(format!("-promscrape.config={}", config.display()));
                }
                args
            }
        };
        let process = Process::start(program, &args, folder.join("log"))?;
        let mut system = System {
            kind,
            process,
            http,
            client: Client::new(http),
            grpc,
            program: program.to_path_buf(),
            args,
            folder: folder.to_path_buf(),
            snapshot: None,
        };
        system.wait_ready()?;
        Ok(Some(system))
    }

    /// Ends the server, and starts it anew on what it has written: a process that has answered
    /// nothing yet.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.process.end(END_PATIENCE)?;
        self.process = Process::start(&self.program, &self.args, self.folder.join("log"))?;
        self.client = Client::new(self.http);
        self.wait_ready()
    }

    fn wait_ready(&mut self) -> Result<()> {
        wait_ready(&mut self.process, self.http, self.kind.ready_path())
            .with_context(|| format!("{} is not ready", self.kind.name()))
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Has everything that is still in memory written as blocks, in the form in which it will be kept.
    pub(crate) fn write_blocks(&mut self) -> Result<()> {
        match self.kind {
            Kind::Pando => {
                let args = ["admin", "cut", "--controller", &self.grpc.to_string()];
                let cut = Process::start(&self.program, args, self.folder.join("cut.log"))?;
                cut.wait(BLOCKS_PATIENCE).context("pando admin cut")
            }
            Kind::Prometheus => {
                let data = self.client.data("POST", "/api/v1/admin/tsdb/snapshot")?;
                let name = data["name"].as_str().context("a snapshot has a name")?;
                self.snapshot = Some(self.data().join("snapshots").join(name));
                Ok(())
            }
            Kind::VictoriaMetrics => {
                self.client.get("/internal/force_flush")?;
                self.client.get("/internal/force_merge")?;
                // The merge begins a moment later, in the background.
                std::thread::sleep(Duration::from_millis(500));
                eventually("the end of the merge", BLOCKS_PATIENCE, || {
                    let merges = self.metric_sum("vm_active_force_merges")?;
                    Ok((merges == 0.0).then_some(()))
                })
            }
        }
    }

    /// Bytes of the blocks, after [`write_blocks`](Self::write_blocks): what is kept for the time of retention.
    pub(crate) fn stored_bytes(&mut self) -> Result<u64> {
        match self.kind {
            Kind::Pando => folder_bytes(&self.data().join("bucket/blocks"), Size::Content, None),
            Kind::Prometheus => {
                let snapshot = self.snapshot.clone().context("no snapshot was taken")?;
                folder_bytes(&snapshot, Size::Content, None)
            }
            Kind::VictoriaMetrics => Ok(self.metric_sum("vm_data_size_bytes")? as u64),
        }
    }

    /// Bytes that the whole data directory takes on disk: logs, caches and blocks.
    pub(crate) fn directory_bytes(&self) -> Result<u64> {
        let snapshots = self.data().join("snapshots");
        folder_bytes(&self.data(), Size::Allocated, Some(&snapshots))
    }

    /// The sum of a metric over all its series.
    pub(crate) fn metric_sum(&mut self, name: &str) -> Result<f64> {
        let text = self.client.get("/metrics")?;
        let text = String::from_utf8_lossy(&text);
        let of_metric = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        let values = of_metric.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(values.sum())
    }

    /// Asks for a range of time, without the caches of results of who has them. Returns the values of each series
    /// by its label `by`.
    pub(crate) fn query_range(
        &mut self,
        expression: &str,
        by: &str,
        (start_ms, end_ms, step_s): (i64, i64, u64),
    ) -> Result<BTreeMap<String, Points>> {
        let path = format!(
            "/api/v1/query_range?query={}&start={}&end={}&step={step_s}&nocache=1",
            percent_encoded(expression),
            start_ms as f64 / 1e3,
            end_ms as f64 / 1e3,
        );
        let data = self.client.data("GET", &path)?;
        let mut answer = BTreeMap::new();
        for series in data["result"].as_array().context("no result")? {
            let label = name_of(&series["metric"], by);
            let points = series["values"]
                .as_array()
                .context("no values")?
                .iter()
                .filter_map(|p| Some((p[0].as_f64()?, p[1].as_str()?.parse::<f64>().ok()?)));
            answer.insert(label, points.collect());
        }
        Ok(answer)
    }

    /// As [`System::query_range`], at one time.
    pub(crate) fn query_instant(
        &mut self,
        expression: &str,
        by: &str,
        time_ms: i64,
    ) -> Result<BTreeMap<String, Points>> {
        let (query, time) = (percent_encoded(expression), time_ms as f64 / 1e3);
        let data = self
            .client
            .data("GET", &format!("/api/v1/query?query={query}&time={time}&nocache=1"))?;
        let mut answer = BTreeMap::new();
        for series in data["result"].as_array().context("no result")? {
            let label = name_of(&series["metric"], by);
            let (time, value) = (series["value"][0].as_f64(), series["value"][1].as_str());
            let point = time.zip(value.and_then(|value| value.parse::<f64>().ok()));
            answer.insert(label, point.into_iter().collect());
        }
        Ok(answer)
    }

    /// The value of an expression that is one number now; 0 where there is none.
    pub(crate) fn number(&mut self, expression: &str) -> Result<f64> {
        let path = format!("/api/v1/query?query={}&nocache=1", percent_encoded(expression));
        let data = self.client.data("GET", &path)?;
        let text = data["result"][0]["value"][1].as_str();
        Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0.0))
    }
}

/// Tells the series of an answer apart by everything that they have.
pub(crate) const ALL_LABELS: &str = "*";

fn name_of(metric: &serde_json::Value, by: &str) -> String {
    match by {
        ALL_LABELS => metric.to_string(),
        by => metric[by].as_str().unwrap_or_default().to_string(),
    }
}

/// Waits until `path` answers with success; fails early where the process ends.
pub(crate) fn wait_ready(process: &mut Process, address: SocketAddr, path: &str) -> Result<()> {
    let mut client = Client::new(address);
    let mut ended = None;
    let ready = eventually("readiness", READY_PATIENCE, || {
        if let Err(error) = process.check() {
            ended = Some(error);
            return Ok(Some(()));
        }
        Ok(client.get(path).ok().map(|_| ()))
    });
    if let Some(error) = ended {
        return Err(error);
    }
    ready.with_context(|| process.log_tail())
}

/// An address of loopback that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Size {
    /// What files hold.
    Content,
    /// What they take on disk.
    Allocated,
}

/// Bytes of the files below `folder`, a file with several names counted once; what is below `without` is not
/// counted. A file may go away meanwhile.
fn folder_bytes(folder: &Path, size: Size, without: Option<&Path>) -> Result<u64> {
    let mut waiting = vec![folder.to_path_buf()];
    let (mut seen, mut bytes) = (HashSet::new(), 0);
    while let Some(folder) = waiting.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                if Some(entry.path().as_path()) != without {
                    waiting.push(entry.path());
                }
            } else if seen.insert((metadata.dev(), metadata.ino())) {
                bytes += match size {
                    Size::Content => metadata.len(),
                    Size::Allocated => metadata.blocks() * 512,
                };
            }
            ensure!(seen.len() <= FILES_MAX, "too many files: limit={FILES_MAX}");
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_two_names_weighs_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("a/b")).expect("folders");
        fs::create_dir_all(path("snapshots")).expect("folders");
        fs::write(path("a/b/x"), [0; 700]).expect("a file");
        fs::write(path("snapshots/y"), [0; 900]).expect("a file");
        fs::hard_link(path("a/b/x"), path("a/z")).expect("a second name");
        let bytes = |without| folder_bytes(folder.path(), Size::Content, without).expect("sizes");
        assert_eq!(bytes(None), 1_600);
        assert_eq!(bytes(Some(&path("snapshots"))), 700);
    }
}
