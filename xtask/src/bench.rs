//! `cargo xtask bench`: Pando beside Prometheus and VictoriaMetrics on this machine.

use anyhow::{Result, bail};

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Also write the table as JSON to this file.
    #[arg(long)]
    json: Option<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    bail!("the benchmarks are not built yet (json={:?})", options.json)
}
