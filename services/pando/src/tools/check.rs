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

/// Checks the expression; prints it as it is understood, and the features that a server has to have switched on for it.
/// The error holds all problems, a line each.
pub(crate) fn query(expression: &str) -> Result<()> {
    let expr = match pando_promql::parse(expression, &SYNTAX) {
        Ok(expr) => expr,
        Err(error) => bail!("{}", error.report()),
    };
    let mut out = Output::stdout();
    out.line(format_args!("SUCCESS: {expr}"))?;
    for feature in features_of(expression) {
        out.line(format_args!("  needs --enable-feature={feature}"))?;
    }
    Ok(())
}

/// The features without which the expression is refused.
fn features_of(expression: &str) -> Vec<&'static str> {
    let without = [
        (
            "promql-experimental-functions",
            SyntaxFeatures { experimental_functions: false, ..SYNTAX },
        ),
        (
            "promql-extended-range-selectors",
            SyntaxFeatures { extended_range_selectors: false, ..SYNTAX },
        ),
        ("promql-binop-fill-modifiers", SyntaxFeatures { fill_modifiers: false, ..SYNTAX }),
    ];
    let needed =
        without.iter().filter(|(_, syntax)| pando_promql::parse(expression, syntax).is_err());
    needed.map(|(feature, _)| *feature).collect()
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

    #[test]
    fn the_features_of_an_expression_are_named() {
        assert_eq!(features_of("rate(a[5m])"), [""; 0]);
        let needed = features_of("limitk(1, rate(a[5m] smoothed))");
        assert_eq!(needed, ["promql-experimental-functions", "promql-extended-range-selectors"]);
        assert_eq!(features_of("a + fill (0) b"), ["promql-binop-fill-modifiers"]);
    }
}
