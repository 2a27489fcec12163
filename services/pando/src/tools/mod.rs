//! The command line tools: they print to standard output and end.

pub(crate) mod admin;
pub(crate) mod block;
pub(crate) mod check;
mod explain;
mod output;
pub(crate) mod promql_test;
pub(crate) mod query;

use anyhow::{Result, ensure};

/// A server's URL without what follows from it.
fn base(url: &str) -> Result<String> {
    let scheme = url.starts_with("http://") || url.starts_with("https://");
    ensure!(scheme, "not a URL such as http://localhost:9090: {url}");
    Ok(url.trim_end_matches('/').to_string())
}
