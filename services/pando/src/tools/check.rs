//! `pando check config FILE`.

use anyhow::Result;

use super::output::Output;
use crate::config_file;

/// Checks the file; prints what no part acts on.
pub(crate) fn config(file: &str) -> Result<()> {
    let loaded = config_file::load(file)?;
    let mut out = Output::stdout();
    out.line(format_args!("SUCCESS: {file} is valid prometheus config file syntax"))?;
    out.line(format_args!("  {} scrape configs", loaded.config.scrape_configs.len()))?;
    for key in &loaded.ignored {
        out.line(format_args!("  ignored: line {}: {}: {}", key.line, key.path, key.reason))?;
    }
    Ok(())
}
