//! `pando check config FILE` and `pando check query EXPRESSION`.

use anyhow::{Result, bail};
use pando_promql::syntax::SyntaxFeatures;

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

/// All syntax is known: which of it a server has switched on is the server's to say.
const SYNTAX: SyntaxFeatures = SyntaxFeatures {
    experimental_functions: true,
    extended_range_selectors: true,
    fill_modifiers: true,
};

/// Checks the expression; prints it as it is understood. The error holds all problems, a line each.
pub(crate) fn query(expression: &str) -> Result<()> {
    match pando_promql::parse(expression, &SYNTAX) {
        Ok(expr) => Output::stdout().line(format_args!("SUCCESS: {expr}")),
        Err(error) => bail!("{}", error.report()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_of_an_expression_are_said() {
        let problems = query("rate(a)\n/ nope(b)\n/ sum()").expect_err("three").to_string();
        let places: Vec<&str> = problems.lines().filter_map(|l| l.split(": ").next()).collect();
        assert_eq!(places, ["1:6", "2:3", "3:3"], "{problems}");
        assert!(query("limitk(1, rate(a[5m] smoothed))").is_ok());
    }
}
