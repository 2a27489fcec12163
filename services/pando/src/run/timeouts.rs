//! How long queries may take, which three roles must agree about: frontends end a query after `--query.timeout`;
//! ingesters keep committed generations (`--ingester.query-timeout`) and controllers replaced blocks
//! (`--compactor.delete-delay`) at least as long, for queries that have pinned an earlier catalog. A query that
//! outlives its sources is planned again, some times, so that a mismatch makes long queries fail, never lie:
//! within one process it is warned of; across processes it is the operator's to see to.

use std::time::Duration;

use anyhow::{Context as _, Result};
use pando_model::duration::parse_duration;

use crate::run::plan::Plan;

/// Used where a process has no query frontend of its own.
const QUERY_TIMEOUT: &str = "2m";

pub(super) fn duration(flag: &str, text: &str) -> Result<Duration> {
    let ms = parse_duration(text).with_context(|| format!("{flag}={text}"))?;
    Ok(Duration::from_millis(ms.max(0) as u64))
}

/// How long this process' ingester keeps committed generations.
///
/// # Errors
/// A text is no duration.
pub(super) fn of_ingester(plan: &Plan) -> Result<Duration> {
    let given = plan.ingester.as_ref().and_then(|args| args.query_timeout.as_deref());
    let own = plan.query.as_ref().map(|args| args.timeout.as_str());
    match (given, own) {
        (Some(given), _) => duration("--ingester.query-timeout", given),
        (None, own) => duration("--query.timeout", own.unwrap_or(QUERY_TIMEOUT)),
    }
}

/// What does not fit together of the flags of this process.
///
/// # Errors
/// A text is no duration.
pub(super) fn mismatches(plan: &Plan) -> Result<Vec<String>> {
    let Some(query) = &plan.query else { return Ok(Vec::new()) };
    let timeout = duration("--query.timeout", &query.timeout)?;
    let ingester = plan.ingester.as_ref().map(|_| of_ingester(plan)).transpose()?;
    let of_controller = |delay: &str| duration("--compactor.delete-delay", delay);
    let controller = plan.controller.as_ref().map(|args| of_controller(&args.delete_delay));
    let kept = [
        ("--ingester.query-timeout", "committed generations", ingester),
        ("--compactor.delete-delay", "replaced blocks", controller.transpose()?),
    ];
    let too_short = kept.into_iter().filter_map(|(flag, what, kept)| {
        let kept = kept.filter(|kept| *kept < timeout)?.as_secs_f64();
        let timeout = timeout.as_secs_f64();
        Some(format!(
            "{flag} is below --query.timeout: queries may outlive {what}: {flag}={kept}s \
             --query.timeout={timeout}s"
        ))
    });
    Ok(too_short.collect())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Cli;

    fn plan(args: &[&str]) -> Plan {
        let cli = Cli::try_parse_from([&["pando"], args].concat()).expect("flags");
        Plan::of(&cli.command, Default::default()).expect("roles")
    }

    #[test]
    fn what_queries_need_is_kept_as_long_as_they_run() {
        let longer = plan(&["all", "--query.timeout=10m"]);
        assert_eq!(of_ingester(&longer).expect("a time"), Duration::from_secs(600));
        assert!(mismatches(&longer).expect("durations").is_empty());
        let of_its_own = plan(&["ingester", "--ingester.query-timeout=7m"]);
        assert_eq!(of_ingester(&of_its_own).expect("a time"), Duration::from_secs(420));
        assert!(mismatches(&of_its_own).expect("nothing to compare with").is_empty());
        let default = plan(&["ingester"]);
        assert_eq!(of_ingester(&default).expect("a time"), Duration::from_secs(120));
    }

    #[test]
    fn flags_that_do_not_fit_together_are_both_named() {
        for args in [
            &["all", "--query.timeout=3m", "--ingester.query-timeout=2m"],
            &["all", "--query.timeout=3h", "--compactor.delete-delay=2h"],
        ] {
            let mismatches = mismatches(&plan(args)).expect("durations");
            assert_eq!(mismatches.len(), 1);
            for flag in &args[1..] {
                let name = flag.split('=').next().expect("a name");
                assert!(mismatches[0].contains(name), "{mismatches:?}");
            }
        }
        assert!(mismatches(&plan(&["all", "--query.timeout=never"])).is_err());
    }
}
