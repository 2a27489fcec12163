//! `cargo xtask demo` as a person runs it: it starts, the queries that it prints have answers, Ctrl-C ends it.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use pando_integration_tests::{eventually, http, peers};

/// The demo and all that it starts, as a terminal's group.
struct Demo(Child);

impl Demo {
    fn signal(&self, name: &str) -> Result<()> {
        let group = format!("-{}", self.0.id());
        let status = Command::new("kill").args(["-s", name, "--", &group]).status()?;
        ensure!(status.success(), "nothing of the demo runs");
        Ok(())
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.signal("KILL");
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_demo_runs_and_its_queries_have_answers() -> Result<()> {
    if peers::node_exporter().is_none() {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let (text, trouble) = (folder.path().join("stdout"), folder.path().join("stderr"));
    let address = || peers::free_address();
    let (web, exporter) = (address(), address());
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let demo = Command::new(cargo)
        .args(["run", "--quiet", "--package", "xtask", "--", "demo"])
        .arg("--pando")
        .arg(peers::pando())
        .arg("--path")
        .arg(folder.path().join("data"))
        .args(["--http", &web, "--grpc", &address(), "--node-exporter", &exporter])
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&text)?)
        .stderr(std::fs::File::create(&trouble)?)
        .process_group(0)
        .spawn()?;
    let mut demo = Demo(demo);
    let printed = eventually("the demo says what to try", || async {
        let printed = std::fs::read_to_string(&text)?;
        Ok(printed.contains("Ctrl-C stops it").then_some(printed))
    })
    .await
    .with_context(|| std::fs::read_to_string(&trouble).unwrap_or_default())?;
    let queries: Vec<&str> = printed.lines().filter(|line| line.starts_with("  ")).collect();
    ensure!(queries.len() == 3, "queries to try: {printed}");
    eventually("it is ready", || async { http::ok(&format!("http://{web}/-/ready")).await })
        .await
        .with_context(|| std::fs::read_to_string(&trouble).unwrap_or_default())?;
    for query in queries {
        eventually(query, || async {
            let output = Command::new("sh").args(["-c", query]).output()?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let answer = String::from_utf8(output.stdout)?;
            // The node_exporter's samples are in them all: its own target, its counters, its size.
            let has_all = answer.contains("node") || answer.contains("\"mode\"");
            Ok((has_all && !answer.contains("\"result\":[]")).then_some(()))
        })
        .await?;
    }
    demo.signal("INT")?;
    // It is asked for its status last: until then nobody else can have its number.
    eventually("Ctrl-C ends all of it", || async {
        Ok((running(demo.0.id())? == 0).then_some(()))
    })
    .await?;
    let status = demo.0.wait()?;
    ensure!(status.success(), "{status}: {}", std::fs::read_to_string(&trouble)?);
    Ok(())
}

/// How many processes of a group run. One that has ended and that nobody has asked for does not.
fn running(group: u32) -> Result<usize> {
    let group = group.to_string();
    let mut count = 0;
    for entry in std::fs::read_dir("/proc")? {
        let Ok(stat) = std::fs::read_to_string(entry?.path().join("stat")) else { continue };
        // Behind the name in parentheses: state, parent, group.
        let mut words = stat.rsplit(") ").next().unwrap_or_default().split(' ');
        let state = words.next();
        count += usize::from(state != Some("Z") && words.nth(1) == Some(&group));
    }
    Ok(count)
}
