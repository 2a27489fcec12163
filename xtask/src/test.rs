//! `cargo xtask test`: fetches what the tests need and runs all of them.

use anyhow::{Result, bail};

use crate::{build_pando, cargo, peers};

/// The package of the whole-cluster tests.
const CLUSTERS: &str = "pando-integration-tests";

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Run the long versions of tests that have one.
    #[arg(long)]
    long: bool,
    /// Only this package.
    #[arg(long, short)]
    package: Option<String>,
    /// Passed on to the test binaries.
    #[arg(last = true)]
    rest: Vec<String>,
}

/// Fetches peers, builds the binary, runs the tests. A peer that cannot be had is skipped with its name, but
/// fails where CI=true.
pub(crate) fn run(options: &Options) -> Result<()> {
    let missing = peers::fetch_all()?;
    if !missing.is_empty() {
        let names = missing.join(", ");
        if std::env::var("CI").is_ok_and(|v| v == "true") {
            bail!("peers that the tests need are not to be had: {names}");
        }
        println!("skipped, not to be had: {names}");
    }
    let pando = build_pando("dev")?;
    let run = |select: &[&str], one_at_a_time: bool| {
        let mut command = cargo();
        command.arg("test").args(select);
        command.env("PANDO_BIN", &pando).env("PANDO_CACHE_DIR", peers::cache_dir()?);
        if options.long {
            command.env("PANDO_TEST_LONG", "1");
        }
        if one_at_a_time {
            command.env("RUST_TEST_THREADS", "1");
        }
        if !options.rest.is_empty() {
            command.arg("--").args(&options.rest);
        }
        crate::run(&mut command)
    };
    if let Some(package) = &options.package {
        return run(&["--package", package], package == CLUSTERS);
    }
    run(&["--workspace", "--exclude", CLUSTERS], false)?;
    // Each of these is a whole cluster of processes.
    run(&["--package", CLUSTERS], true)
}
