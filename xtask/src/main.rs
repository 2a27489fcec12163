//! `cargo xtask`: what a developer or a newcomer does with this repository.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool talks to its user"
)]

mod bench;
mod demo;
mod peers;
mod test;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Parser;

/// Tasks of the Pando repository.
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Task {
    /// Build Pando and run it here, scraping itself and a node_exporter.
    Demo(demo::Options),
    /// Fetch what the tests need and run every test.
    Test(test::Options),
    /// Compare Pando with Prometheus and VictoriaMetrics on this machine.
    Bench(bench::Options),
    /// Fetch the peers and tools that tests and benchmarks use.
    Fetch,
}

fn main() -> Result<()> {
    std::env::set_current_dir(workspace_root())?;
    match Task::parse() {
        Task::Demo(options) => demo::run(&options),
        Task::Test(options) => test::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Fetch => {
            for missing in peers::fetch_all()? {
                println!("not to be had: {missing}");
            }
            println!("peers are in {}", peers::cache_dir()?.display());
            Ok(())
        }
    }
}

/// The folder of the workspace's Cargo.toml.
fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Runs a command to its end; fails where it fails.
fn run(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}");
    let status = command.status().with_context(|| format!("cannot start {shown}"))?;
    if !status.success() {
        bail!("{shown} failed: {status}");
    }
    Ok(())
}

/// The cargo that runs this task, without what it says of this package: builds that go by that would be done again, now
/// from here, now from a shell.
fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let of_package = |name: &OsString| {
        let name = name.to_string_lossy();
        name.starts_with("CARGO_MANIFEST_") || name.starts_with("CARGO_PKG_")
    };
    for name in std::env::vars_os().map(|(name, _)| name).filter(of_package) {
        cargo.env_remove(name);
    }
    cargo
}

/// Builds the binary in `profile` and returns its path.
fn build_pando(profile: &str) -> Result<PathBuf> {
    run(cargo().args(["build", "--package", "pando", "--profile", profile]))?;
    let folder = if profile == "dev" { "debug" } else { profile };
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
    Ok(std::path::absolute(target.join(folder).join("pando"))?)
}
