//! Containers as processes on loopback: their names become ports, and what is mounted becomes files here.
//!
//! It does not know who describes them, a chart or a compose file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::process::Process;
use crate::writer::{Writer, Written};
use crate::{eventually, http, now_ms, peers};

/// Where a container listens for HTTP, unless told otherwise.
const HTTP: &str = "--web.listen-address=0.0.0.0:9090";
/// Where a container that others reach listens for gRPC.
const GRPC: &str = "--grpc.listen-address=0.0.0.0:9095";
const GRPC_PORT: &str = ":9095";

/// A container as its process sees it.
pub struct Pod {
    /// Its name, unique among those it is started with.
    pub name: String,
    /// What others call it.
    pub host: String,
    /// Its arguments, the subcommand among them.
    pub args: Vec<String>,
    /// What of this machine it sees where. Nothing else of a pod's files exists.
    pub mounts: BTreeMap<String, PathBuf>,
}

/// A pod's process.
pub struct Running {
    /// The pod's name.
    pub name: String,
    /// `http://host:port` of its HTTP side.
    pub base: String,
    /// The process.
    pub process: Process,
}

impl Running {
    /// Waits until `/-/ready` says so.
    ///
    /// # Errors
    /// It never does; with the end of its log.
    pub async fn ready(&self) -> Result<()> {
        let url = format!("{}/-/ready", self.base);
        eventually(&format!("{} is ready", self.name), || async { http::ok(&url).await })
            .await
            .with_context(|| self.process.log_tail())
    }
}

/// Starts every pod with the program under test; logs go to `folder`.
///
/// # Errors
/// An argument names a file that the pod does not have or a pod that is not there, or a process cannot be started.
pub fn start(pods: &[Pod], folder: &std::path::Path) -> Result<Vec<Running>> {
    let address = |pod: &Pod| (pod.host.clone(), format!("127.0.0.1:{}", peers::free_port()));
    let addresses: BTreeMap<String, String> = pods.iter().map(address).collect();
    ensure!(addresses.len() == pods.len(), "two pods have one name");
    let mut running = Vec::new();
    for pod in pods {
        let http = format!("127.0.0.1:{}", peers::free_port());
        let mut args = Vec::new();
        for arg in &pod.args {
            args.push(argument(pod, arg, &http, &addresses)?);
        }
        if !pod.args.iter().any(|arg| arg == HTTP) {
            args.push(format!("--web.listen-address={http}"));
        }
        let log = folder.join(format!("{}.log", pod.name));
        let process = Process::start(&peers::pando(), args, &[], log)?;
        running.push(Running { name: pod.name.clone(), base: format!("http://{http}"), process });
    }
    Ok(running)
}

/// Waits until all of them are ready, writes at one of them, and reads it back at another; both by parts of their
/// names.
///
/// # Errors
/// One is not ready, or what was written is not answered.
pub async fn carry_samples(running: &[Running], written_at: &str, read_at: &str) -> Result<()> {
    for pod in running {
        pod.ready().await?;
    }
    let base = |part: &str| -> Result<&str> {
        let pod = running.iter().find(|pod| pod.name.contains(part));
        Ok(&pod.with_context(|| format!("no pod is a {part}"))?.base)
    };
    let writer = Writer::new(base(written_at)?, "default");
    let sample = |i: i32| {
        Written::new("carried", &[("job", "pods")], now_ms() - 1000 * i64::from(i), f64::from(i))
    };
    let samples: Vec<Written> = (0..10).rev().map(sample).collect();
    writer.write_surely(&samples).await?;
    writer.check(base(read_at)?, "carried").await
}

/// Ends them, the last one first, so that the first ones (controllers) are there for the others to say good-bye to.
///
/// # Errors
/// One ends badly.
pub fn terminate(mut running: Vec<Running>) -> Result<()> {
    for Running { name, process, .. } in running.iter_mut().rev() {
        let ended = process.terminate()?;
        ensure!(ended, "{name} ends badly: {}", process.log_tail());
    }
    Ok(())
}

/// An argument with what it means on loopback.
fn argument(
    pod: &Pod,
    arg: &str,
    http: &str,
    addresses: &BTreeMap<String, String>,
) -> Result<String> {
    let own = &addresses[&pod.host];
    let mut arg = match arg {
        HTTP => format!("--web.listen-address={http}"),
        GRPC => format!("--grpc.listen-address={own}"),
        arg => arg.to_string(),
    };
    for (host, address) in addresses {
        arg = arg.replace(&format!("{host}{GRPC_PORT}"), address);
    }
    ensure!(!arg.contains(GRPC_PORT), "{}: not the address of a pod: {arg}", pod.name);
    let Some((flag, path)) = arg.split_once("=/") else { return Ok(arg) };
    let path = format!("/{path}");
    let mount = pod.mounts.iter().find_map(|(at, here)| {
        let rest = path.strip_prefix(at.as_str())?;
        let joined = here.join(rest.trim_start_matches('/'));
        Some(if rest.is_empty() { here.clone() } else { joined })
    });
    let file = mount.with_context(|| format!("{}: not mounted: {arg}", pod.name))?;
    ensure!(file.exists(), "{}: no such file in the pod: {arg}", pod.name);
    Ok(format!("{flag}={}", file.display()))
}
