//! The settings of roles: flags, and what is left to each process to find out.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use pando_catalog::TenantLimits;
use pando_config::parse_size;
use pando_controller::ControllerConfig;
use pando_ingester::IngesterConfig;
use pando_model::NodeId;
use pando_query_frontend::{FrontendConfig, SubqueryStep};

use crate::args::{ControllerArgs, IngesterArgs, QueryArgs};
use crate::memory;
use crate::run::plan::Plan;
use crate::run::timeouts::{self, duration};

/// A member that was silent for this long is not alive; targets of an agent are taken over after it.
const MEMBER_TIMEOUT: Duration = Duration::from_secs(12);
/// For how long a heartbeat lets a member believe itself alive.
const MEMBER_LEASE: Duration = Duration::from_secs(9);
/// An object that no catalog names for this long is an orphan. No upload is under way for so long, and what
/// waits for its commit while no controller answers is built and uploaded again where it is refused.
const ORPHAN_AGE_MS: i64 = 3 * 86_400_000;
/// Reads the flags of all roles of `plan`, so that what is wrong with one is said before anything is made.
///
/// # Errors
/// A value cannot be read, or some do not fit together.
pub(super) fn check(plan: &Plan) -> Result<()> {
    if let Some(args) = &plan.controller {
        controller_config(plan, args)?;
    }
    if let Some(args) = &plan.ingester {
        ingester_config(plan, args, NodeId(0))?;
    }
    if let Some(args) = &plan.query {
        frontend_config(args)?;
        subquery_step(args, SubqueryStep::default())?;
    }
    Ok(())
}

/// The step of subqueries that name none: that of the flag, or else `of_file`. 0 is the default, as it is in a file.
///
/// # Errors
/// The flag is no duration.
pub(super) fn subquery_step(args: &QueryArgs, of_file: SubqueryStep) -> Result<SubqueryStep> {
    let Some(text) = &args.evaluation_interval else { return Ok(of_file) };
    let step = duration("--query.default-evaluation-interval", text)?;
    Ok(match step.is_zero() {
        true => SubqueryStep::default(),
        false => SubqueryStep::of_ms(step.as_millis() as i64),
    })
}

/// How the query frontend behaves, by its flags; features and the step of subqueries apart.
///
/// # Errors
/// A value cannot be read, or some do not fit together.
pub(super) fn frontend_config(args: &QueryArgs) -> Result<FrontendConfig> {
    let lookback = duration("--query.lookback-delta", &args.lookback_delta)?;
    let config = FrontendConfig {
        concurrency_max: args.max_concurrency,
        timeout: duration("--query.timeout", &args.timeout)?,
        samples_max: args.max_samples,
        split_interval: duration("--query.split-interval", &args.split_interval)?,
        lookback_ms: lookback.as_millis() as i64,
        ..FrontendConfig::default()
    };
    let faults = config.validate();
    if !faults.is_empty() {
        bail!("query frontend: {}", faults.join("; "));
    }
    Ok(config)
}

/// How the controller behaves, by its flags.
///
/// # Errors
/// A value cannot be read.
pub(super) fn controller_config(plan: &Plan, args: &ControllerArgs) -> Result<ControllerConfig> {
    let ms = |flag, text| Ok::<i64, anyhow::Error>(duration(flag, text)?.as_millis() as i64);
    let window = ms("--limits.out-of-order-time-window", &args.limits.out_of_order_time_window)?;
    let retention = ms("--storage.tsdb.retention.time", &args.retention_time)?;
    Ok(ControllerConfig {
        controllers: plan.controllers(),
        own_address: plan.advertised(),
        replication_factor: args.replication_factor,
        shards: args.shards,
        tenant_ranges: args.tenant_ranges,
        limits: TenantLimits {
            series_max: args.limits.max_series,
            samples_per_s_max: args.limits.samples_per_second,
            ooo_window_ms: window as u64,
            labels_per_series_max: args.limits.max_labels,
            label_name_bytes_max: args.limits.max_name_bytes,
            label_value_bytes_max: args.limits.max_value_bytes,
            ..TenantLimits::default()
        },
        retention_ms: retention as u64,
        retention_bytes: size("--storage.tsdb.retention.size", &args.retention_size)?,
        admin_api: plan.web.enable_admin_api,
        orphan_interval: duration("--controller.orphan-interval", &args.orphan_interval)?,
        orphan_age_ms: ORPHAN_AGE_MS,
        min_block_age_ms: ms("--compactor.min-block-age", &args.min_block_age)?,
        delete_delay_ms: ms("--compactor.delete-delay", &args.delete_delay)?,
        member_timeout: MEMBER_TIMEOUT,
        member_lease: MEMBER_LEASE,
    })
}

/// How the ingester behaves, by its flags and the memory that this process may use.
///
/// # Errors
/// A value cannot be read, or some do not fit together.
pub(super) fn ingester_config(
    plan: &Plan,
    args: &IngesterArgs,
    node: NodeId,
) -> Result<IngesterConfig> {
    ingester_within(plan, args, node, memory::usable_bytes())
}

fn ingester_within(
    plan: &Plan,
    args: &IngesterArgs,
    node: NodeId,
    usable_bytes: Option<u64>,
) -> Result<IngesterConfig> {
    let memory_bytes = match args.memory_bytes {
        // Where nobody knows, nothing is refused.
        0 => usable_bytes.map_or(u64::MAX, |bytes| bytes / 4 * 3),
        given => given,
    };
    // Whatever nobody has set fits.
    let fitting = IngesterConfig::CUT_BYTES.min(memory_bytes / 4).min(args.disk_bytes / 4);
    let config = IngesterConfig {
        cut_interval: duration("--ingester.cut-interval", &args.cut_interval)?,
        cut_bytes: args.cut_bytes.unwrap_or(fitting),
        disk_bytes: args.disk_bytes,
        disk_reserve_bytes: args.disk_reserve_bytes,
        memory_bytes,
        query_timeout: timeouts::of_ingester(plan)?,
        admin_api: plan.web.enable_admin_api,
        ..IngesterConfig::new(node)
    };
    let faults = config.validate();
    if !faults.is_empty() {
        bail!("ingester: {}", faults.join("; "));
    }
    Ok(config)
}

/// The bytes that a flag says.
fn size(flag: &str, text: &str) -> Result<u64> {
    let bytes = parse_size(text).map_err(|error| anyhow!("{flag}={text}: {error}"))?;
    u64::try_from(bytes).map_err(|_| anyhow!("{flag}={text}: a size is not negative"))
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

    fn ingester(flags: &[&str], usable_bytes: Option<u64>) -> Result<IngesterConfig> {
        let plan = plan(&[&["all"], flags].concat());
        let args = plan.ingester.clone().expect("an ingester");
        ingester_within(&plan, &args, NodeId(1), usable_bytes)
    }

    fn controller(flags: &[&str]) -> Result<ControllerConfig> {
        let plan = plan(&[&["all"], flags].concat());
        controller_config(&plan, &plan.controller.clone().expect("a controller"))
    }

    #[test]
    fn what_is_wrong_with_a_flag_of_any_role_is_said_at_once() {
        for (flag, why) in [
            ("--query.split-interval=1x", "--query.split-interval=1x"),
            ("--query.lookback-delta=x", "--query.lookback-delta=x"),
            ("--query.max-concurrency=0", "query frontend: "),
            ("--query.default-evaluation-interval=x", "--query.default-evaluation-interval=x"),
            ("--ingester.cut-interval=x", "--ingester.cut-interval=x"),
            ("--compactor.delete-delay=x", "--compactor.delete-delay=x"),
        ] {
            let error = check(&plan(&["all", flag])).expect_err(flag).to_string();
            assert!(error.starts_with(why), "{flag}: {error}");
        }
        check(&plan(&["all"])).expect("no flag is needed");
    }

    #[test]
    fn subqueries_have_the_step_of_the_flag_or_else_of_the_file() {
        let step = |flags: &[&str], of_file: i64| {
            let args = plan(&[&["all"], flags].concat()).query.expect("a frontend");
            subquery_step(&args, SubqueryStep::of_ms(of_file)).expect("a duration").ms()
        };
        assert_eq!(step(&[], 15_000), 15_000);
        assert_eq!(step(&["--query.default-evaluation-interval=30s"], 15_000), 30_000);
        for zero in ["0", "0s", "0m"] {
            let flag = format!("--query.default-evaluation-interval={zero}");
            assert_eq!(step(&[&flag], 15_000), 60_000, "{zero}");
        }
    }

    #[test]
    fn a_generation_fits_into_little_memory_unless_somebody_says_how_large_it_is() {
        for (usable, cut) in [(64 << 20, 12 << 20), (340 << 20, 255 << 18), (8 << 30, 256 << 20)] {
            let config = ingester(&[], Some(usable)).expect("no flag is needed");
            assert_eq!((config.cut_bytes, config.memory_bytes), (cut, usable / 4 * 3));
        }
        let config = ingester(&["--ingester.disk-bytes=4096"], None).expect("it fits");
        assert_eq!(config.cut_bytes, 1_024);
        let given = ingester(&["--ingester.cut-bytes=268435456"], Some(64 << 20));
        let error = given.expect_err("it does not fit").to_string();
        for flag in ["--ingester.cut-bytes=268435456", "--ingester.memory-bytes=50331648"] {
            assert!(error.contains(flag), "{error}");
        }
    }

    #[test]
    fn flags_have_the_components_defaults() {
        let usual = IngesterConfig::new(NodeId(1));
        let memory_bytes = usual.memory_bytes;
        let config = ingester(&[], Some(memory_bytes / 3 * 4 + 4)).expect("defaults");
        let config = IngesterConfig { memory_bytes, ..config };
        assert_eq!(format!("{config:?}"), format!("{usual:?}"));
        assert_eq!(controller(&[]).expect("defaults").limits, TenantLimits::default());
    }

    #[test]
    fn a_size_is_what_prometheus_takes_and_not_negative() {
        let bytes = |text: &str| controller(&[text]).map(|config| config.retention_bytes);
        for (text, expected) in [("0", 0), ("512MB", 512 << 20), ("1.5GiB", 3 << 29)] {
            let flag = format!("--storage.tsdb.retention.size={text}");
            assert_eq!(bytes(&flag).expect(text), expected, "{text}");
        }
        for text in ["-1GB", "10", "1gb", ""] {
            let flag = format!("--storage.tsdb.retention.size={text}");
            let error = bytes(&flag).expect_err(text).to_string();
            assert!(error.starts_with(&flag), "{error}");
        }
    }
}
