//! The chart, rendered with the real Helm engine: its objects are valid and what they have to be
//! (`helm/tests/check_chart.py`), and the real binary takes the prometheus.yml and runs with the arguments of each
//! pod of each size until it is ready.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use pando_integration_tests::cluster::Cluster;
use pando_integration_tests::process::Process;
use pando_integration_tests::{eventually, http, peers};
use serde_json::Value;

/// The ports that all pods listen at, each with an address of its own.
const HTTP: &str = "0.0.0.0:9090";
const GRPC: &str = "0.0.0.0:9095";
const GRPC_PORT: &str = ":9095";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A pod as its process sees it: its arguments, and what is mounted where.
struct Pod {
    name: String,
    /// What others call it.
    host: String,
    args: Vec<String>,
    files: BTreeMap<String, String>,
}

impl Pod {
    fn of(said: &Value) -> Result<Self> {
        let text = |name: &str| -> Result<String> {
            Ok(said[name].as_str().with_context(|| format!("no {name}"))?.to_string())
        };
        let args = said["args"].as_array().context("no args")?.iter();
        let args = args.map(|arg| Ok(arg.as_str().context("an argument")?.to_string()));
        let args: Result<Vec<String>> = std::iter::once(text("role")).chain(args).collect();
        let files = said["files"].as_object().context("no files")?.iter();
        let files = files.map(|(at, kind)| Ok((at.clone(), kind.as_str().context("")?.into())));
        Ok(Pod {
            name: text("name")?,
            host: text("host")?,
            args: args?,
            files: files.collect::<Result<_>>()?,
        })
    }
}

/// A size of the chart on loopback: pods' names become ports, and what is mounted becomes files.
struct Size {
    cluster: Cluster,
    pods: Vec<Pod>,
    /// gRPC address of each pod by its host name.
    addresses: BTreeMap<String, String>,
    config: PathBuf,
    objstore: PathBuf,
}

impl Size {
    fn of(said: &Value) -> Result<Self> {
        let cluster = Cluster::new()?;
        let objstore = cluster.local_bucket()?;
        let config = cluster.folder.path().join("prometheus.yml");
        std::fs::write(&config, said["config"].as_str().context("no config")?)?;
        let pods = said["pods"].as_array().context("no pods")?;
        let pods = pods.iter().map(Pod::of).collect::<Result<Vec<Pod>>>()?;
        let address = |pod: &Pod| (pod.host.clone(), format!("127.0.0.1:{}", peers::free_port()));
        let addresses: BTreeMap<String, String> = pods.iter().map(address).collect();
        Ok(Size { cluster, pods, addresses, config, objstore })
    }

    /// An argument with what it means on loopback. It must not name a file that is not mounted.
    fn argument(&self, pod: &Pod, arg: &str, http: &str) -> Result<String> {
        let own = &self.addresses[&pod.host];
        let mut arg = arg.replace(HTTP, http).replace(GRPC, own);
        for (host, address) in &self.addresses {
            arg = arg.replace(&format!("{host}{GRPC_PORT}"), address);
        }
        let Some((flag, path)) = arg.split_once("=/") else { return Ok(arg) };
        let path = format!("/{path}");
        let mount = pod.files.iter().find(|(at, _)| path.starts_with(at.as_str()));
        let (at, kind) = mount.with_context(|| format!("{}: not mounted: {arg}", pod.name))?;
        let file = match (kind.as_str(), path.strip_prefix(at.as_str()).unwrap_or_default()) {
            ("config", "/prometheus.yml") => self.config.clone(),
            ("objstore", "/objstore.yml") => self.objstore.clone(),
            ("data", "") => self.cluster.folder.path().join(&pod.name),
            _ => anyhow::bail!("{}: no such file in the pod: {arg}", pod.name),
        };
        Ok(format!("{flag}={}", file.display()))
    }

    /// Starts every pod's process; returns them with the address of their HTTP side.
    fn start(&self) -> Result<Vec<(Process, String)>> {
        let mut running = Vec::new();
        for pod in &self.pods {
            let http = format!("127.0.0.1:{}", peers::free_port());
            let args = pod.args.iter().map(|arg| self.argument(pod, arg, &http));
            let args = args.collect::<Result<Vec<String>>>()?;
            let left = args.iter().find(|arg| arg.contains(".svc") || arg.contains("$("));
            ensure!(left.is_none(), "{}: not the address of a pod: {left:?}", pod.name);
            let log = self.cluster.folder.path().join(format!("{}.log", pod.name));
            running.push((Process::start(&peers::pando(), args, &[], log)?, http));
        }
        Ok(running)
    }
}

/// What the checks of the chart print; `None` where Helm's engine was not fetched.
async fn rendered() -> Result<Option<Value>> {
    let Some(python) = peers::python() else { return Ok(None) };
    let mut check = tokio::process::Command::new(python);
    check.arg(root().join("helm/tests/check_chart.py")).arg(root().join("helm/pando"));
    let output = check.output().await?;
    let trouble = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{trouble}");
    Ok(Some(serde_json::from_slice(&output.stdout).context(trouble)?))
}

#[tokio::test]
async fn the_chart_is_valid_and_its_pods_run_in_every_size() -> Result<()> {
    let Some(sizes) = rendered().await? else { return Ok(()) };
    let expected = [("distributed", 15), ("ha", 3), ("single", 1)];
    ensure!(sizes.as_object().is_some_and(|sizes| sizes.len() == expected.len()), "three sizes");
    for (name, pods) in expected {
        let size = Size::of(&sizes[name])?;
        ensure!(size.pods.len() == pods, "size={name} pods={}", size.pods.len());
        let config = size.config.display().to_string();
        size.cluster.tool(&["check", "config", &config]).context("prometheus.yml")?;
        let mut running = size.start()?;
        for ((process, http), pod) in running.iter_mut().zip(&size.pods) {
            let url = format!("http://{http}/-/ready");
            let ready = eventually("the pod is ready", || async { http::ok(&url).await }).await;
            ready.with_context(|| format!("size={name} pod={}: {}", pod.name, process.log_tail()))?;
            let zone = pod.args.iter().any(|arg| arg.starts_with("--cluster.zone=zone-"));
            ensure!(zone, "{} is told no zone: {:?}", pod.name, pod.args);
        }
        for ((process, _), pod) in running.iter_mut().zip(&size.pods).rev() {
            // Those before it in the chart, controllers first, still run: each can say good-bye.
            let ended = process.terminate()?;
            ensure!(ended, "size={name} pod={} ends badly: {}", pod.name, process.log_tail());
        }
    }
    Ok(())
}
