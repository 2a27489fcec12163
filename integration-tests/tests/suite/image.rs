//! The image, without a Docker daemon: what the last stage of the Dockerfile puts into an empty file system, and the
//! command that it ends with, run there as the user that it names until the process is ready. And the compose file:
//! its services run with the commands that it gives them.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use pando_integration_tests::pods::{self, Pod};
use pando_integration_tests::process::Process;
use pando_integration_tests::{eventually, http, peers};
use serde_json::Value;

/// Shared libraries that Debian's slim image has.
const LIBRARIES: [&str; 5] = ["linux-vdso.so", "libc.so", "libm.so", "libgcc_s.so", "ld-linux-"];
const USER: &str = "65532:65532";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A Dockerfile's instructions, continued lines joined, by stage.
struct Dockerfile {
    stages: Vec<Vec<(String, String)>>,
}

impl Dockerfile {
    fn read() -> Result<Self> {
        let text = std::fs::read_to_string(root().join("deploy/Dockerfile"))?.replace("\\\n", " ");
        let mut stages: Vec<Vec<(String, String)>> = Vec::new();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (word, rest) = line.split_once(' ').with_context(|| line.to_string())?;
            if word == "FROM" {
                stages.push(Vec::new());
            }
            let stage = stages.last_mut().context("FROM comes first")?;
            stage.push((word.to_string(), rest.trim().to_string()));
        }
        Ok(Dockerfile { stages })
    }

    fn last(&self) -> &[(String, String)] {
        self.stages.last().map_or(&[], Vec::as_slice)
    }

    /// The only instruction of the last stage that begins so.
    fn only(&self, word: &str) -> Result<&str> {
        let all: Vec<&str> = of(self.last(), word);
        ensure!(all.len() == 1, "{word}: {all:?}");
        Ok(all[0])
    }

    /// A command in its JSON form: another one would go through a shell, which does not pass signals on.
    fn command(&self, word: &str) -> Result<Vec<String>> {
        let text = self.only(word)?;
        serde_json::from_str(text).with_context(|| format!("{word} is not a list: {text}"))
    }
}

/// What follows the instructions of a stage that begin so.
fn of<'a>(stage: &'a [(String, String)], word: &str) -> Vec<&'a str> {
    stage.iter().filter(|(name, _)| name == word).map(|(_, rest)| rest.as_str()).collect()
}

/// What an instruction of the last stage copies: from where on this machine, to where in the image.
fn copied(file: &Dockerfile, arguments: &str) -> Result<(PathBuf, String)> {
    let words: Vec<&str> = arguments.split_whitespace().collect();
    match words[..] {
        ["--from=build", "/pando", to] => {
            // The build's last step puts the binary there; this one is the one under test.
            let built = of(&file.stages[0], "RUN").into_iter().any(|run| {
                run.contains("cargo build --locked --release --package pando")
                    && run.ends_with("cp target/release/pando /pando")
            });
            ensure!(built, "nothing builds /pando");
            Ok((peers::pando(), to.to_string()))
        }
        [from, to] => Ok((root().join(from), to.to_string())),
        _ => bail!("COPY {arguments}"),
    }
}

/// The folders that `install -d` makes for the image's user.
fn folders(run: &str) -> Vec<String> {
    let Some((_, made)) = run.split_once("install -d -o 65532 -g 65532 ") else { return vec![] };
    made.split_whitespace().map(String::from).collect()
}

/// Executes the last stage in an empty folder.
fn unpack(file: &Dockerfile, image: &Path) -> Result<()> {
    let everybody = |mode| std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(image, everybody(0o755))?;
    for (word, rest) in file.last() {
        if word == "RUN" {
            for folder in folders(rest) {
                let folder = image.join(folder.trim_start_matches('/'));
                std::fs::create_dir_all(&folder)?;
                if is_root() {
                    std::os::unix::fs::chown(&folder, Some(65532), Some(65532))?;
                }
            }
        }
        if word == "COPY" {
            let (from, to) = copied(file, rest)?;
            let to = image.join(to.trim_start_matches('/'));
            std::fs::create_dir_all(to.parent().context("a folder")?)?;
            std::fs::copy(&from, &to).with_context(|| format!("{}", from.display()))?;
        }
    }
    Ok(())
}

/// Whether these tests may become another user.
fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// The image's command with an empty environment, in its folder, as its user where that may be.
fn run(file: &Dockerfile, image: &Path, log: PathBuf) -> Result<(Process, String)> {
    let here = |path: &str| image.join(path.trim_start_matches('/')).display().to_string();
    let mut args = vec!["-i".to_string(), format!("--chdir={}", here(file.only("WORKDIR")?))];
    if is_root() {
        let (user, group) = file.only("USER")?.split_once(':').context("a user and a group")?;
        args.extend(["setpriv".into(), format!("--reuid={user}"), format!("--regid={group}")]);
        args.push("--clear-groups".into());
    }
    let entry = file.command("ENTRYPOINT")?;
    args.extend(entry.iter().map(|path| here(path)));
    for arg in file.command("CMD")? {
        args.push(match arg.split_once("=/") {
            Some((flag, path)) => format!("{flag}={}", here(path)),
            None => arg,
        });
    }
    let http = peers::free_address();
    args.push(format!("--web.listen-address={http}"));
    args.push(format!("--grpc.listen-address=127.0.0.1:{}", peers::free_port()));
    Ok((Process::start(Path::new("/usr/bin/env"), args, &[], log)?, format!("http://{http}")))
}

#[tokio::test]
async fn the_image_runs_as_it_is() -> Result<()> {
    let file = Dockerfile::read()?;
    ensure!(file.stages.len() == 2, "a stage that builds and one that is kept");
    ensure!(file.stages[0][0].1.starts_with("rust:1.95-slim-bookworm"), "{:?}", file.stages[0][0]);
    // The C library that the binary was linked with.
    ensure!(file.last()[0].1 == "debian:bookworm-slim", "{:?}", file.last()[0]);
    ensure!(file.only("USER")? == USER, "not the user that owns /data");
    ensure!(file.only("EXPOSE")? == "9090 9095", "not the ports that it listens at");
    ensure!(file.only("VOLUME")? == "/data" && file.only("WORKDIR")? == "/data", "its data");
    ensure!(file.command("ENTRYPOINT")? == ["/usr/bin/pando"], "signals reach the process");

    let folder = tempfile::tempdir()?;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
    let image = folder.path().join("image");
    std::fs::create_dir(&image)?;
    unpack(&file, &image)?;
    let (mut process, base) = run(&file, &image, folder.path().join("log"))?;
    let ready = format!("{base}/-/ready");
    eventually("the image's process is ready", || async { http::ok(&ready).await })
        .await
        .with_context(|| process.log_tail())?;
    eventually("it has the target of its prometheus.yml", || async {
        let targets = http::data(&format!("{base}/api/v1/targets"), &[]).await?;
        ensure!(targets["activeTargets"][0]["scrapePool"] == "pando", "targets: {targets}");
        Ok(Some(()))
    })
    .await?;
    ensure!(image.join("data/identity").exists(), "its data is in the volume");
    let ended = process.terminate()?;
    ensure!(ended, "it ends badly: {}", process.log_tail());
    Ok(())
}

#[test]
fn the_binary_needs_no_library_that_the_image_lacks() -> Result<()> {
    let output = Command::new("ldd").arg(peers::pando()).output().context("ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let name = |line: &str| -> Option<String> {
        let path = line.split_whitespace().next()?;
        Some(path.rsplit('/').next().unwrap_or(path).to_string())
    };
    let needed: BTreeSet<String> = text.lines().filter_map(name).collect();
    ensure!(needed.contains("libc.so.6"), "not a dynamic binary: {text}");
    let there = |name: &str| LIBRARIES.iter().any(|library| name.starts_with(library));
    let lacking: Vec<&String> = needed.iter().filter(|name| !there(name)).collect();
    ensure!(lacking.is_empty(), "not in the image: {lacking:?}");
    Ok(())
}

/// The compose file; `None` where there is no Python to read YAML with.
fn compose() -> Result<Option<Value>> {
    let Some(python) = peers::python() else { return Ok(None) };
    let read = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    let file = root().join("deploy/compose.yaml");
    let output = Command::new(python).args(["-c", read]).arg(file).output()?;
    let trouble = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "compose.yaml: {trouble}");
    Ok(Some(serde_json::from_slice(&output.stdout)?))
}

/// A service of the compose file as a pod, with its volumes and files below `folder`.
fn service(compose: &Value, name: &str, folder: &Path) -> Result<Pod> {
    let service = &compose["services"][name];
    let text = |value: &Value| value.as_str().map(String::from).context("not a text");
    let list = |value: &Value| value.as_array().cloned().context("not a list");
    let args = list(&service["command"])?.iter().map(text).collect::<Result<Vec<String>>>()?;
    let mut mounts = BTreeMap::new();
    for volume in list(&service["volumes"])? {
        let volume = text(&volume)?;
        let (volume, at) = volume.split_once(':').context("a volume and its place")?;
        ensure!(!compose["volumes"][volume].is_object(), "volumes have no settings here");
        let known = compose["volumes"].as_object().is_some_and(|all| all.contains_key(volume));
        ensure!(known, "{name}: no volume {volume}");
        std::fs::create_dir_all(folder.join(volume))?;
        mounts.insert(at.to_string(), folder.join(volume));
    }
    for config in list(&service["configs"])? {
        let (source, target) = (text(&config["source"])?, text(&config["target"])?);
        let content = text(&compose["configs"][&source]["content"]).context(source.clone())?;
        let bucket = folder.join("bucket").display().to_string();
        let file = folder.join(&source);
        std::fs::write(&file, content.replace("/bucket", &bucket))?;
        mounts.insert(target, file);
    }
    Ok(Pod { name: name.to_string(), host: name.to_string(), args, mounts })
}

#[tokio::test]
async fn the_services_of_the_compose_file_form_a_cluster() -> Result<()> {
    let Some(compose) = compose()? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let services = compose["services"].as_object().context("services")?;
    let names = services.keys().filter(|name| name.starts_with("pando-"));
    let pods = names.map(|name| service(&compose, name, folder.path()));
    let pods = pods.collect::<Result<Vec<Pod>>>()?;
    ensure!(pods.len() == 3, "three equal processes");
    let mut published = BTreeSet::new();
    for pod in &pods {
        let service = &services[&pod.name];
        ensure!(service["build"]["dockerfile"] == "deploy/Dockerfile", "{service}");
        let port = service["ports"][0].as_str().context("a port")?;
        ensure!(port.ends_with(":9090") && published.insert(port.to_string()), "port={port}");
    }
    let running = pods::start(&pods, folder.path())?;
    pods::carry_samples(&running, "pando-0", "pando-2").await?;
    pods::terminate(running)
}
