//! `pando check config FILE`.

use anyhow::Result;

use crate::config_file;

/// Checks the file; prints what no part acts on.
pub(crate) fn config(file: &str) -> Result<()> {
    let loaded = config_file::load(file)?;
    println!("SUCCESS: {file} is valid prometheus config file syntax");
    println!("  {} scrape configs", loaded.config.scrape_configs.len());
    for key in &loaded.ignored {
        println!("  ignored: line {}: {}: {}", key.line, key.path, key.reason);
    }
    Ok(())
}
