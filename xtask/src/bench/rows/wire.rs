//! What an agent puts on the wire for each sample that it scrapes, in a steady state. Pando's agent sends write
//! blocks to an ingester, through a proxy that counts; Prometheus' and VictoriaMetrics' agents send remote write
//! to a sink that counts.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::bench::clock::eventually;
use crate::bench::exporter::Exporter;
use crate::bench::process::Process;
use crate::bench::proxy::Proxy;
use crate::bench::rows::{Bench, row};
use crate::bench::scale::Scale;
use crate::bench::serve::{Server, Sink};
use crate::bench::system::{Kind, free_address, wait_ready};
use crate::bench::table::{Better, Row};

/// How long scraping and sending may take to begin.
pub(super) const SCRAPED_PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn rows(bench: &mut Bench) -> Vec<Row> {
    let measured = bench.each("wire", |bench, kind, folder| {
        fs::create_dir_all(folder)?;
        match kind {
            Kind::Pando => pando(bench, folder).map(Some),
            Kind::Prometheus => prometheus(bench, folder),
            Kind::VictoriaMetrics => vmagent(bench, folder),
        }
    });
    let unit = ("B/sample", Better::Less);
    vec![row(
        "wire",
        "sent by an agent (Prometheus, vmagent: remote write)",
        unit,
        &measured,
        |b| *b,
    )]
}

fn pando(bench: &Bench, folder: &Path) -> Result<f64> {
    let exporter = start_exporter(&bench.scale)?;
    let controller = free_address()?;
    let store = folder.join("objstore.yml");
    let bucket = folder.join("bucket");
    fs::write(&store, format!("type: FILESYSTEM\nconfig:\n  directory: {}\n", bucket.display()))?;
    let config = write_config(&bench.scale, &exporter, folder, "")?;
    let start = |role: &str, grpc: SocketAddr, more: &[String]| -> Result<Process> {
        let http = free_address()?;
        let mut args = vec![
            role.to_string(),
            format!("--web.listen-address={http}"),
            format!("--grpc.listen-address={grpc}"),
            format!("--storage.tsdb.path={}", folder.join(role).display()),
            format!("--cluster.controllers={controller}"),
            "--log.level=warn".to_string(),
        ];
        args.extend_from_slice(more);
        let log = folder.join(format!("{role}.log"));
        let mut process = Process::start(&bench.binaries.pando, args, log)?;
        wait_ready(&mut process, http, "/-/ready").with_context(|| format!("pando {role}"))?;
        Ok(process)
    };
    let store = format!("--objstore.config-file={}", store.display());
    let _controller = start("controller", controller, std::slice::from_ref(&store))?;
    let ingester = free_address()?;
    let proxy = Proxy::start(ingester)?;
    let advertised = format!("--grpc.advertise-address={}", proxy.address);
    let _ingester = start("ingester", ingester, &[store, advertised])?;
    let mut agent = start("agent", free_address()?, &[config])?;
    bytes_per_sample(&bench.scale, &exporter, &mut agent, || proxy.up_bytes())
}

fn prometheus(bench: &Bench, folder: &Path) -> Result<Option<f64>> {
    let Some(program) = &bench.binaries.prometheus else { return Ok(None) };
    let exporter = start_exporter(&bench.scale)?;
    let sink = Server::start(Arc::new(Sink))?;
    let remote = format!("remote_write:\n  - url: http://{}/api/v1/write\n", sink.address);
    let http = free_address()?;
    let args = [
        "--agent".to_string(),
        write_config(&bench.scale, &exporter, folder, &remote)?,
        format!("--web.listen-address={http}"),
        format!("--storage.agent.path={}", folder.join("data").display()),
        "--log.level=warn".to_string(),
    ];
    let mut agent = Process::start(program, args, folder.join("log"))?;
    wait_ready(&mut agent, http, "/-/ready")?;
    let received = || sink.received_bytes();
    bytes_per_sample(&bench.scale, &exporter, &mut agent, received).map(Some)
}

fn vmagent(bench: &Bench, folder: &Path) -> Result<Option<f64>> {
    let Some(program) = &bench.binaries.vmagent else { return Ok(None) };
    let exporter = start_exporter(&bench.scale)?;
    let sink = Server::start(Arc::new(Sink))?;
    let http = free_address()?;
    let config = write_config(&bench.scale, &exporter, folder, "")?;
    let args = [
        config.replacen("--config.file", "-promscrape.config", 1),
        format!("-httpListenAddr={http}"),
        format!("-remoteWrite.url=http://{}/api/v1/write", sink.address),
        format!("-remoteWrite.tmpDataPath={}", folder.join("data").display()),
        "-loggerLevel=WARN".to_string(),
    ];
    let mut agent = Process::start(program, args, folder.join("log"))?;
    wait_ready(&mut agent, http, "/health")?;
    let received = || sink.received_bytes();
    bytes_per_sample(&bench.scale, &exporter, &mut agent, received).map(Some)
}

fn start_exporter(scale: &Scale) -> Result<Exporter> {
    Exporter::start(scale.targets, scale.target_series)
}

/// Writes the scrape configuration and returns the flag that names it.
fn write_config(scale: &Scale, exporter: &Exporter, folder: &Path, more: &str) -> Result<String> {
    let path = folder.join("prometheus.yml");
    fs::write(&path, exporter.scrape_config(scale.scrape_interval.as_secs()) + more)?;
    Ok(format!("--config.file={}", path.display()))
}

/// Lets the agent scrape and send, and divides what it sent by what it scraped.
fn bytes_per_sample(
    scale: &Scale,
    exporter: &Exporter,
    agent: &mut Process,
    sent_bytes: impl Fn() -> u64,
) -> Result<f64> {
    eventually("the first bytes", SCRAPED_PATIENCE, || {
        agent.check()?;
        Ok((exporter.scrapes() > 0 && sent_bytes() > 0).then_some(()))
    })?;
    thread::sleep(scale.warm_up);
    let (scrapes, bytes) = (exporter.scrapes(), sent_bytes());
    thread::sleep(scale.window);
    // A sender that waits for a full batch may need longer than the tiny scale's window.
    eventually("the next bytes", SCRAPED_PATIENCE, || Ok((sent_bytes() > bytes).then_some(())))?;
    let (scrapes, bytes) = (exporter.scrapes() - scrapes, sent_bytes() - bytes);
    ensure!(scrapes > 0, "nothing was scraped within {:?}", scale.window);
    Ok(bytes as f64 / (scrapes * scale.target_series as u64) as f64)
}
