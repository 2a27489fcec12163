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
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let is_base = rest.is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_alphanumeric() || c == '[') && !rest.contains(['?', '#'])
    });
    ensure!(is_base, "not a URL such as http://localhost:9090: {url}");
    Ok(url.trim_end_matches('/').to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_has_a_scheme_and_a_host_and_nothing_behind_its_path() {
        let bases = ["http://localhost:9090", "https://[::1]/pando", "http://10.0.0.1:80/a/"];
        for url in bases {
            assert_eq!(base(url).ok(), Some(url.trim_end_matches('/').to_string()), "{url}");
        }
        let others =
            ["localhost:9090", "http://", "http:///x", "http://a/?b=c", "http://a#b", "ftp://a"];
        for url in others {
            let error = base(url).expect_err(url).to_string();
            assert!(error.ends_with(&format!("http://localhost:9090: {url}")), "{error}");
        }
    }
}
