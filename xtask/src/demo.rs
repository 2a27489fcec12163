//! `cargo xtask demo`: Pando on this machine, scraping itself and a node_exporter.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::{build_pando, peers};

/// Options of `cargo xtask demo`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where data is kept.
    #[arg(long, default_value = "data")]
    path: String,
    /// Build with optimisations (several minutes the first time).
    #[arg(long)]
    release: bool,
    /// A built pando to run instead.
    #[arg(long)]
    pando: Option<PathBuf>,
    /// Where HTTP listens.
    #[arg(long, default_value = "127.0.0.1:9090")]
    http: SocketAddr,
    /// Where gRPC listens.
    #[arg(long, default_value = "127.0.0.1:9095")]
    grpc: SocketAddr,
    /// Where a node_exporter is looked for, else started.
    #[arg(long, default_value = "127.0.0.1:9100")]
    node_exporter: SocketAddr,
}

/// Builds and runs Pando until Ctrl-C.
pub(crate) fn run(options: &Options) -> Result<()> {
    for address in [options.http, options.grpc] {
        TcpListener::bind(address)
            .with_context(|| format!("the demo needs a port that is taken: address={address}"))?;
    }
    let pando = match &options.pando {
        Some(pando) => pando.clone(),
        None => build_pando(if options.release { "release" } else { "dev" })?,
    };
    fs::create_dir_all(&options.path)?;
    let exporter = start_node_exporter(options.node_exporter)?;
    let config = Path::new(&options.path).join("demo.yml");
    fs::write(&config, config_text(options, exporter.answers()))?;
    let url = format!("http://{}", options.http);
    println!(
        "\nPando is starting on {url} ({}). Try:\n\
         \n  curl '{url}/api/v1/query?query=up'\
         \n  curl -G {url}/api/v1/query --data-urlencode 'query=sum by (mode) (rate(node_cpu_seconds_total[1m]))'\
         \n  {} query instant {url} 'topk(5, scrape_samples_scraped)'\
         \n\nCtrl-C stops it.\n",
        exporter.describe(options.node_exporter),
        pando.display(),
    );
    // Pando takes this process' place: Ctrl-C reaches it and the exporter, both of the terminal's group, and
    // both end by themselves.
    let error = Command::new(&pando)
        .arg("all")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--web.listen-address={}", options.http))
        .arg(format!("--grpc.listen-address={}", options.grpc))
        .arg(format!("--storage.tsdb.path={}", options.path))
        .arg("--storage.tsdb.retention.time=15d")
        // HTTP and gRPC listen on loopback alone here: `pando admin cut` may be tried.
        .arg("--web.enable-admin-api")
        .exec();
    Err(error).context("cannot start pando")
}

fn config_text(options: &Options, node_exporter: bool) -> String {
    let job = |name: &str, target: SocketAddr| {
        format!("  - job_name: {name}\n    static_configs:\n      - targets: ['{target}']\n")
    };
    let mut text =
        "global:\n  scrape_interval: 5s\n  scrape_timeout: 4s\nscrape_configs:\n".to_string();
    text += &job("pando", options.http);
    if node_exporter {
        text += &job("node", options.node_exporter);
    }
    text
}

enum Exporter {
    Found,
    Started,
    Absent,
}

impl Exporter {
    fn answers(&self) -> bool {
        !matches!(self, Exporter::Absent)
    }

    fn describe(&self, address: SocketAddr) -> String {
        match self {
            Exporter::Found => format!("scraping itself and the node_exporter on {address}"),
            Exporter::Started => {
                format!("scraping itself and a node_exporter started for it on {address}")
            }
            Exporter::Absent => "scraping itself only: no node_exporter is to be had".to_string(),
        }
    }
}

fn start_node_exporter(address: SocketAddr) -> Result<Exporter> {
    if TcpStream::connect_timeout(&address, Duration::from_millis(300)).is_ok() {
        return Ok(Exporter::Found);
    }
    let Some(binary) = peers::node_exporter()? else {
        return Ok(Exporter::Absent);
    };
    let child = Command::new(binary)
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Ok(child.map_or(Exporter::Absent, |_| Exporter::Started))
}
