//! `cargo xtask demo`: Pando on this machine, scraping itself and a node_exporter.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
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
}

const NODE_EXPORTER: &str = "127.0.0.1:9100";
const HTTP: &str = "127.0.0.1:9090";
const GRPC: &str = "127.0.0.1:9095";

/// Builds and runs Pando until Ctrl-C.
pub(crate) fn run(options: &Options) -> Result<()> {
    for address in [HTTP, GRPC] {
        TcpListener::bind(address)
            .with_context(|| format!("the demo needs a port that is taken: address={address}"))?;
    }
    let pando = build_pando(if options.release { "release" } else { "dev" })?;
    fs::create_dir_all(&options.path)?;
    let exporter = start_node_exporter()?;
    let config = Path::new(&options.path).join("demo.yml");
    fs::write(&config, config_text(exporter.answers()))?;
    println!(
        "\nPando is starting on http://127.0.0.1:9090 ({}). Try:\n\
         \n  curl 'http://127.0.0.1:9090/api/v1/query?query=up'\
         \n  curl -G http://127.0.0.1:9090/api/v1/query --data-urlencode 'query=sum by (mode) (rate(node_cpu_seconds_total[1m]))'\
         \n  {} query instant http://127.0.0.1:9090 'topk(5, scrape_samples_scraped)'\
         \n\nCtrl-C stops it.\n",
        exporter.describe(),
        pando.display(),
    );
    // Pando takes this process' place: Ctrl-C reaches it and the exporter, both of the terminal's group, and
    // both end by themselves.
    let error = Command::new(&pando)
        .arg("all")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--web.listen-address={HTTP}"))
        .arg(format!("--grpc.listen-address={GRPC}"))
        .arg(format!("--storage.tsdb.path={}", options.path))
        .arg("--storage.tsdb.retention.time=15d")
        // HTTP and gRPC listen on loopback alone here: `pando admin cut` may be tried.
        .arg("--web.enable-admin-api")
        .exec();
    Err(error).context("cannot start pando")
}

fn config_text(node_exporter: bool) -> String {
    let mut text = "global:\n  scrape_interval: 5s\n  scrape_timeout: 4s\nscrape_configs:\n\
                    \x20 - job_name: pando\n    static_configs:\n      - targets: ['127.0.0.1:9090']\n"
        .to_string();
    if node_exporter {
        text += &format!(
            "  - job_name: node\n    static_configs:\n      - targets: ['{NODE_EXPORTER}']\n"
        );
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

    fn describe(&self) -> &'static str {
        match self {
            Exporter::Found => "scraping itself and the node_exporter on :9100",
            Exporter::Started => "scraping itself and a node_exporter started for it",
            Exporter::Absent => "scraping itself only: no node_exporter is to be had",
        }
    }
}

fn start_node_exporter() -> Result<Exporter> {
    let address = NODE_EXPORTER.parse().context("a fixed address")?;
    if TcpStream::connect_timeout(&address, Duration::from_millis(300)).is_ok() {
        return Ok(Exporter::Found);
    }
    let Some(binary) = peers::node_exporter()? else {
        return Ok(Exporter::Absent);
    };
    let child = Command::new(binary)
        .arg(format!("--web.listen-address={NODE_EXPORTER}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Ok(child.map_or(Exporter::Absent, |_| Exporter::Started))
}
