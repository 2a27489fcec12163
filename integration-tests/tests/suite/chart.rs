//! The chart, rendered with the real Helm engine: its objects are valid and what they have to be
//! (`helm/tests/check_chart.py`), and the real binary takes the prometheus.yml and runs with the arguments of each
//! pod of each size until it is ready.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use pando_integration_tests::cluster::Cluster;
use pando_integration_tests::peers;
use pando_integration_tests::pods::{self, Pod};
use serde_json::Value;

/// Sizes and how many pods they have.
const SIZES: [(&str, usize); 3] = [("distributed", 15), ("ha", 3), ("single", 1)];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
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

/// A pod with its volumes as folders below `folder`: its own data, and what all pods share.
fn pod(said: &Value, folder: &Path) -> Result<Pod> {
    let text = |value: &Value| value.as_str().map(String::from).context("not a text");
    let name = text(&said["name"])?;
    let mut args = vec![text(&said["role"])?];
    for arg in said["args"].as_array().context("no args")? {
        args.push(text(arg)?);
    }
    let mut pod = Pod { name, host: text(&said["host"])?, args, mounts: Default::default() };
    for (at, kind) in said["files"].as_object().context("no files")? {
        let here = match kind.as_str().context("a kind")? {
            "data" => folder.join(&pod.name),
            kind => folder.join(kind),
        };
        std::fs::create_dir_all(&here)?;
        pod.mounts.insert(at.clone(), here);
    }
    Ok(pod)
}

/// Writes what the pods of a size share into folders named like the volumes.
fn shared_files(said: &Value, cluster: &Cluster) -> Result<PathBuf> {
    let folder = cluster.folder.path();
    for kind in ["config", "objstore"] {
        std::fs::create_dir_all(folder.join(kind))?;
    }
    let config = folder.join("config/prometheus.yml");
    std::fs::write(&config, said["config"].as_str().context("no config")?)?;
    std::fs::copy(cluster.local_bucket()?, folder.join("objstore/objstore.yml"))?;
    Ok(config)
}

#[tokio::test]
async fn the_chart_is_valid_and_its_pods_run_in_every_size() -> Result<()> {
    let Some(rendered) = rendered().await? else { return Ok(()) };
    ensure!(rendered.as_object().is_some_and(|sizes| sizes.len() == SIZES.len()), "three sizes");
    for (size, count) in SIZES {
        let (said, cluster) = (&rendered[size], Cluster::new()?);
        let config = shared_files(said, &cluster)?.display().to_string();
        cluster.tool(&["check", "config", &config]).context("prometheus.yml")?;
        let folder = cluster.folder.path();
        let pods = said["pods"].as_array().context("no pods")?.iter();
        let pods = pods.map(|said| pod(said, folder)).collect::<Result<Vec<Pod>>>()?;
        ensure!(pods.len() == count, "size={size} pods={}", pods.len());
        for pod in &pods {
            let zone = pod.args.iter().any(|arg| arg.starts_with("--cluster.zone=zone-"));
            ensure!(zone, "{} is told no zone: {:?}", pod.name, pod.args);
        }
        let running = pods::start(&pods, folder).with_context(|| size)?;
        let (written_at, read_at) = match size {
            "distributed" => ("-receiver-1", "-query-frontend-1"),
            "ha" => ("-all-0", "-all-2"),
            _ => ("-all-0", "-all-0"),
        };
        pods::carry_samples(&running, written_at, read_at).await.with_context(|| size)?;
        pods::terminate(running).with_context(|| size)?;
    }
    Ok(())
}
