//! `cargo xtask bench`: Pando beside Prometheus and VictoriaMetrics, the same work on the same machine in one
//! run. Work is measured in processor time of the measured processes and in bytes, never in time on the wall:
//! the machine may be busy with something else.
//!
//! It knows the systems only by their command lines, HTTP sides and files.

mod capture;
mod clock;
mod counters;
mod exporter;
mod http;
mod process;
mod proxy;
mod rows;
mod scale;
mod serve;
mod system;
mod table;
mod writer;

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{build_pando, cargo, peers};
use rows::Bench;
use scale::Scale;
use system::Binaries;

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Also write the table as JSON to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// The cargo profile that Pando is built with.
    #[arg(long, default_value = "release")]
    profile: String,
    /// Measure this binary instead of building one.
    #[arg(long)]
    pando: Option<PathBuf>,
    /// Every row with so little data that it is done in seconds: shows that the rows work, not how fast
    /// Pando is. Takes the peers that are there and fetches none.
    #[arg(long)]
    tiny: bool,
    /// Only these rows.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<rows::Group>,
    /// Measure Pando alone.
    #[arg(long)]
    without_peers: bool,
    /// The folder for the data of all systems, some GB; a temporary one where absent.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Measure with this process' own build of the load generator, whatever its profile.
    #[arg(long, hide = true)]
    here: bool,
}

/// Builds what is to be measured, measures it and prints the table.
pub(crate) fn run(options: &Options) -> Result<()> {
    if !options.tiny && !options.here {
        return run_optimised(options);
    }
    let pando = match &options.pando {
        Some(path) => std::path::absolute(path)?,
        None => build_pando(if options.tiny { "dev" } else { &options.profile })?,
    };
    let binaries = find_binaries(options, pando)?;
    let folder = match &options.folder {
        Some(folder) => {
            std::fs::create_dir_all(folder)?;
            tempfile::Builder::new().prefix("pando-bench-").tempdir_in(folder)?
        }
        None => tempfile::Builder::new().prefix("pando-bench-").tempdir()?,
    };
    let scale = if options.tiny { Scale::tiny() } else { Scale::full() };
    let table = Bench::new(binaries, scale, folder.path()).run(&options.only);
    println!("\n{table}");
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&table.to_json())?;
        std::fs::write(path, text + "\n").with_context(|| format!("path={}", path.display()))?;
    }
    ensure!(table.is_whole(), "Pando has rows without a figure: see the notes");
    // What few data cost says nothing of many.
    let missed = if options.tiny { Vec::new() } else { table.missed() };
    ensure!(
        missed.is_empty(),
        "Pando does not come to what is asked of it: rows={}",
        missed.join(",")
    );
    Ok(())
}

/// Builds Pando and the load generator alike and goes on in the latter: a generator without optimisation would
/// be slower than what it measures.
fn run_optimised(options: &Options) -> Result<()> {
    let pando = match &options.pando {
        Some(path) => std::path::absolute(path)?,
        None => build_pando(&options.profile)?,
    };
    crate::run(cargo().args(["build", "--package", "xtask", "--profile", &options.profile]))?;
    let error = Command::new(built_xtask(&options.profile)?)
        .args(std::env::args_os().skip(1))
        .arg("--here")
        .arg("--pando")
        .arg(pando)
        .exec();
    Err(error).context("cannot start the load generator")
}

/// Where cargo puts this program in `profile`.
fn built_xtask(profile: &str) -> Result<PathBuf> {
    let folder = if profile == "dev" { "debug" } else { profile };
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
    Ok(std::path::absolute(target.join(folder).join("xtask"))?)
}

fn find_binaries(options: &Options, pando: PathBuf) -> Result<Binaries> {
    if options.without_peers {
        return Ok(Binaries::alone(pando));
    }
    let folder = peers::cache_dir()?.join("root/usr/bin");
    let binaries = Binaries::find(pando, &folder);
    if binaries.has_all() || options.tiny {
        return Ok(binaries);
    }
    for missing in peers::fetch_all()? {
        println!("not to be had: {missing}");
    }
    Ok(Binaries::find(binaries.pando, &folder))
}
