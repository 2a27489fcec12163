//! Real programs that `cargo xtask test` has fetched.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

use crate::process::Process;
use crate::{eventually, http};

/// Where `cargo xtask fetch` keeps peers.
fn cache_dir() -> PathBuf {
    let var = |name| std::env::var_os(name).map(PathBuf::from);
    var("PANDO_CACHE_DIR")
        .or_else(|| var("XDG_CACHE_HOME").map(|dir| dir.join("pando")))
        .or_else(|| var("HOME").map(|dir| dir.join(".cache/pando")))
        .unwrap_or_else(|| PathBuf::from(".cache/pando"))
}

/// The path of a peer below the cache directory, such as `root/usr/bin/prometheus`; `None`, with a word to the
/// reader, where it was not fetched. With CI=true that is a failure.
///
/// # Panics
/// Where CI=true and the peer is absent.
pub fn find(file: &str) -> Option<PathBuf> {
    let path = cache_dir().join(file);
    if path.exists() {
        return Some(path);
    }
    let ci = std::env::var("CI").is_ok_and(|v| v == "true");
    assert!(!ci, "peer is missing: {file}; cargo xtask fetch gets it");
    println!("skipped: peer is missing: {file}; cargo xtask fetch gets it");
    None
}

/// Prometheus: `PANDO_PROMETHEUS`, else the one of the cache.
pub fn prometheus() -> Option<PathBuf> {
    match std::env::var_os("PANDO_PROMETHEUS") {
        Some(path) => Some(PathBuf::from(path)),
        None => find("root/usr/bin/prometheus"),
    }
}

/// promtool.
pub fn promtool() -> Option<PathBuf> {
    find("root/usr/bin/promtool")
}

/// VictoriaMetrics.
pub fn victoria_metrics() -> Option<PathBuf> {
    find("root/usr/bin/victoria-metrics")
}

/// node_exporter.
pub fn node_exporter() -> Option<PathBuf> {
    find("root/usr/bin/prometheus-node-exporter")
}

/// The Python of the virtual environment.
pub fn python() -> Option<PathBuf> {
    find("venv/bin/python")
}

/// The binary under test: `PANDO_BIN`, else the debug build beside this test's own binary.
///
/// # Panics
/// Where it is not there.
pub fn pando() -> PathBuf {
    if let Some(path) = std::env::var_os("PANDO_BIN") {
        return PathBuf::from(path);
    }
    let here = std::env::current_exe().expect("a running program has a path");
    let folder = here.parent().and_then(Path::parent).expect("target/debug/deps");
    let path = folder.join("pando");
    assert!(path.exists(), "no binary at {}: cargo build --package pando", path.display());
    path
}

/// The shared test data beside the repository; `None`, with a word, where it is absent.
///
/// # Panics
/// Where CI=true and it is absent.
pub fn shared(file: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared").join(file);
    if path.exists() {
        return Some(path);
    }
    let ci = std::env::var("CI").is_ok_and(|v| v == "true");
    assert!(!ci, "CI=true, and there is no {}", path.display());
    println!("skipped: no {}", path.display());
    None
}

/// Ports that are handed out: below those that the kernel gives to connections, so that none of those takes a port
/// between this call and the listener's start.
const PORTS: std::ops::Range<u32> = 12_000..32_000;

/// A port that is free, and that no other call in this process is given.
///
/// # Panics
/// Where loopback has none left.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes that run beside this one begin elsewhere.
    let begin = std::process::id().wrapping_mul(997);
    let count = PORTS.end - PORTS.start;
    let mut ports = (0..count).map(|_| {
        let turn = NEXT.fetch_add(1, Ordering::Relaxed);
        PORTS.start + begin.wrapping_add(turn) % count
    });
    ports
        .find_map(|port| {
            let port = u16::try_from(port).ok()?;
            TcpListener::bind(("127.0.0.1", port)).ok().map(|_| port)
        })
        .expect("loopback has a free port")
}

/// A running node_exporter and its address.
///
/// # Errors
/// It does not answer.
pub async fn start_node_exporter(folder: &Path) -> Result<Option<(Process, String)>> {
    let Some(binary) = node_exporter() else { return Ok(None) };
    let address = format!("127.0.0.1:{}", free_port());
    let args = [format!("--web.listen-address={address}")];
    let process = Process::start(&binary, args, &[], folder.join("node_exporter.log"))?;
    let url = format!("http://{address}/metrics");
    eventually("node_exporter answers", || async { http::ok(&url).await }).await?;
    Ok(Some((process, address)))
}

/// A Prometheus with the configuration `config` that runs at `address`, and its URL; its data and its log are in
/// `folder`.
///
/// # Errors
/// It does not become ready.
pub async fn start_prometheus(
    folder: &Path,
    config: &Path,
    address: &str,
    flags: &[&str],
) -> Result<Option<(Process, String)>> {
    let Some(binary) = prometheus() else { return Ok(None) };
    let own = [
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", folder.join("prometheus").display()),
        format!("--web.listen-address={address}"),
    ];
    let args = own.into_iter().chain(flags.iter().map(|flag| flag.to_string()));
    let process = Process::start(&binary, args, &[], folder.join("prometheus.log"))?;
    let url = format!("http://{address}");
    let ready = format!("{url}/-/ready");
    let ready = eventually("Prometheus is ready", || async { http::ok(&ready).await }).await;
    ready.with_context(|| process.log_tail())?;
    Ok(Some((process, url)))
}

/// A loopback address with a port that is free.
pub fn free_address() -> String {
    format!("127.0.0.1:{}", free_port())
}

/// A running S3 server with a bucket, and the objstore.yml for it.
pub struct S3 {
    /// The server. Killing it is an outage.
    pub process: Process,
    /// host:port.
    pub address: String,
    /// The configuration file for `--objstore.config-file`.
    pub config: PathBuf,
}

/// Starts moto's S3 server and makes the bucket `metrics`.
///
/// # Errors
/// It does not answer.
pub async fn start_s3(folder: &Path) -> Result<Option<S3>> {
    let Some(binary) = find("venv/bin/moto_server") else { return Ok(None) };
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let args = ["-H".to_string(), "127.0.0.1".into(), "-p".into(), port.to_string()];
    let process = Process::start(&binary, args, &[], folder.join("s3.log"))?;
    let base = format!("http://{address}");
    eventually("the S3 server answers", || async { http::ok(&base).await }).await?;
    let made = http::client().put(format!("{base}/metrics")).send().await?;
    made.error_for_status().context("cannot make the bucket")?;
    let config = folder.join("objstore.yml");
    write_s3_config(&config, &address)?;
    Ok(Some(S3 { process, address, config }))
}

/// Writes the objstore.yml of the S3 server that is reached at `address`.
///
/// # Errors
/// The file cannot be written.
pub fn write_s3_config(file: &Path, address: &str) -> Result<()> {
    let text = format!(
        "type: S3\nconfig:\n  bucket: metrics\n  endpoint: {address}\n  region: us-east-1\n  \
         insecure: true\n  access_key: test\n  secret_key: test\n"
    );
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// The account that every Azurite has, and its key.
const AZURITE: (&str, &str) = (
    "devstoreaccount1",
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
);

/// Makes a container: a signed request, by what Python has at hand.
const MAKE_CONTAINER: &str = r#"
import base64, email.utils, hashlib, hmac, sys, urllib.request
base, account, key = sys.argv[1:]
headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
lines = ["PUT", *[""] * 11, *[f"{n}:{v}" for n, v in sorted(headers.items())]]
lines += [f"/{account}/{account}/metrics", "restype:container"]
signature = hmac.new(base64.b64decode(key), "\n".join(lines).encode(), hashlib.sha256).digest()
headers["Authorization"] = f"SharedKey {account}:{base64.b64encode(signature).decode()}"
url = f"{base}/{account}/metrics?restype=container"
urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=headers))
"#;

/// Starts Azurite with the container `metrics`; the server and the objstore.yml for it.
///
/// # Errors
/// It does not answer.
pub async fn start_azure(folder: &Path) -> Result<Option<(Process, PathBuf)>> {
    let (Some(binary), Some(python)) = (find("npm/node_modules/.bin/azurite-blob"), python())
    else {
        return Ok(None);
    };
    let base = format!("http://127.0.0.1:{}", free_port());
    let port = base.rsplit(':').next().unwrap_or_default();
    let args = ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"];
    let args = args.into_iter().chain(["--blobPort", port]).map(str::to_string);
    let process = Process::start(&binary, args, &[], folder.join("azure.log"))?;
    let (account, key) = AZURITE;
    eventually("the Azure server has a container", || async {
        let mut made = std::process::Command::new(&python);
        let made = made.args(["-c", MAKE_CONTAINER, &base, account, key]).output()?;
        anyhow::ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Ok(Some(()))
    })
    .await
    .with_context(|| process.log_tail())?;
    let config = folder.join("objstore.yml");
    let text = format!(
        "type: AZURE\nconfig:\n  storage_account: {account}\n  storage_account_key: {key}\n  \
         container: metrics\n  endpoint: {base}/{account}\n"
    );
    std::fs::write(&config, text)?;
    Ok(Some((process, config)))
}
