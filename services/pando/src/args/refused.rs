//! Flags of Prometheus that have no meaning here: each is refused with what to use instead.

use std::collections::BTreeSet;

use clap::{Command, CommandFactory as _};

use super::Cli;

const GO: &str = "nothing: it is about the Go runtime, and limits are flags of each role";
const RELOAD: &str = "SIGHUP or POST /-/reload";
const LOCK: &str = "nothing: the data directory is always locked";
const LOG: &str =
    "nothing: the log of writes looks after its own segments, and values in it are compressed";
const BLOCKS: &str =
    "--ingester.cut-interval and --ingester.cut-bytes; the compactor merges to two hours";
const NO_UI: &str = "nothing: there is no web interface yet";
const RULER: &str = "a ruler of your own: rules are not evaluated yet";
const SERVER_OR_AGENT: &str = "pando all, or pando agent";

/// (flag, what to use instead).
const REFUSED: [(&str, &str); 38] = [
    ("agent", "pando agent"),
    ("server.mode", SERVER_OR_AGENT),
    ("config.auto-reload", RELOAD),
    ("config.auto-reload-interval", RELOAD),
    ("web.config.file", "--grpc.tls-* between members; a proxy with TLS before the HTTP API"),
    ("web.read-timeout", "nothing: clients have 30 s for their headers"),
    ("web.max-notifications-subscribers", "nothing: there are no notifications yet"),
    ("web.route-prefix", "--web.external-url, whose path is the prefix"),
    ("web.user-assets", NO_UI),
    ("web.enable-remote-write-receiver", "nothing: remote write is always on"),
    (
        "web.remote-write-receiver.accepted-protobuf-messages",
        "nothing: remote write 1.0 and 2.0 are both accepted",
    ),
    ("web.enable-otlp-receiver", "remote write: OTLP is not taken yet"),
    ("web.console.templates", "Grafana"),
    ("web.console.libraries", "Grafana"),
    ("web.page-title", NO_UI),
    ("web.cors.origin", "a proxy: any origin is allowed"),
    ("web.search.max-limit", "nothing: the search API is not served yet"),
    ("storage.tsdb.retention", "--storage.tsdb.retention.time"),
    ("storage.tsdb.retention.percentage", "--storage.tsdb.retention.time"),
    ("storage.tsdb.no-lockfile", LOCK),
    ("storage.tsdb.wal-compression", LOG),
    ("storage.tsdb.wal-compression-type", LOG),
    ("storage.tsdb.wal-segment-size", LOG),
    ("storage.tsdb.head-chunks-write-queue-size", LOG),
    ("storage.tsdb.min-block-duration", BLOCKS),
    ("storage.tsdb.max-block-duration", BLOCKS),
    ("storage.tsdb.max-block-chunk-segment-size", BLOCKS),
    ("storage.tsdb.block-reload-interval", "nothing: members hear of new blocks at once"),
    ("storage.tsdb.samples-per-chunk", BLOCKS),
    ("storage.tsdb.allow-overlapping-blocks", "nothing: blocks may always overlap"),
    ("storage.tsdb.allow-overlapping-compaction", "nothing: blocks may always overlap"),
    ("storage.tsdb.delay-compact-file.path", "--compactor.min-block-age"),
    ("storage.tsdb.max-exemplars", "nothing: 128 exemplars are kept of a series and generation"),
    (
        "storage.exemplars.exemplars-limit",
        "nothing: 128 exemplars are kept of a series and generation",
    ),
    ("storage.agent.path", "--storage.tsdb.path"),
    ("storage.remote.read-sample-limit", "--query.max-samples"),
    ("storage.remote.read-concurrent-limit", "--query.max-concurrency"),
    ("storage.remote.read-max-bytes-in-frame", "nothing: remote read is not served yet"),
];

/// Families of which Pando has no flag at all, and what to use instead of those that are not listed above. Other
/// unknown flags are left to clap, which knows what is spelled alike.
const REFUSED_FAMILIES: [(&str, &str); 7] = [
    ("storage.agent.", "--agent.buffer-bytes"),
    ("storage.remote.", "nothing: remote_write and remote_read are not acted on"),
    ("scrape.", "prometheus.yml: scrapes have no flags"),
    ("rules.", RULER),
    ("alertmanager.", "a ruler of your own: alerts are not sent yet"),
    ("auto-gomaxprocs", "nothing: Pando uses all cores that it is given"),
    ("auto-gomemlimit", GO),
];

/// The message for the first of `args`, the program's name before them, that is a flag of Prometheus without a meaning
/// here.
pub(super) fn refuse_prometheus_flags(args: &[String]) -> Result<(), String> {
    let mut known = BTreeSet::new();
    collect_flags(&Cli::command(), &mut known);
    for arg in args.iter().take_while(|arg| *arg != "--") {
        let Some(flag) = arg.strip_prefix("--") else { continue };
        let name = flag.split('=').next().unwrap_or(flag);
        // Prometheus' boolean flags have a `--no-` form.
        let positive = name.strip_prefix("no-").unwrap_or(name);
        let instead = match known.contains(name) {
            true => None,
            false if known.contains(positive) => Some(format!("--{positive}, or leave it out")),
            false => instead_of(positive).map(str::to_string),
        };
        if let Some(instead) = instead {
            return Err(format!("flag --{name} of Prometheus has no meaning here; use: {instead}"));
        }
    }
    Ok(())
}

fn instead_of(name: &str) -> Option<&'static str> {
    let exact = REFUSED.iter().find(|(refused, _)| *refused == name);
    let family = || REFUSED_FAMILIES.iter().find(|(prefix, _)| name.starts_with(prefix));
    exact.or_else(family).map(|(_, instead)| *instead)
}

/// The long names of a command's own flags, without dashes.
pub(super) fn long_names(command: &Command) -> impl Iterator<Item = &str> {
    command.get_arguments().flat_map(|argument| {
        let aliases = argument.get_all_aliases().unwrap_or_default();
        argument.get_long().into_iter().chain(aliases)
    })
}

/// The long names of all flags of a command and of those below it.
fn collect_flags(command: &Command, known: &mut BTreeSet<String>) {
    known.extend(long_names(command).map(str::to_string));
    command.get_subcommands().for_each(|below| collect_flags(below, known));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All flags of Prometheus 3.14 and those that earlier versions had, but for those that mean the same here.
    const OF_PROMETHEUS: &str = "agent auto-gomaxprocs auto-gomemlimit auto-gomemlimit.ratio \
        auto-gomemlimit.refresh-interval config.auto-reload config.auto-reload-interval web.config.file \
        web.read-timeout web.max-notifications-subscribers web.route-prefix web.user-assets \
        web.enable-remote-write-receiver web.remote-write-receiver.accepted-protobuf-messages \
        web.enable-otlp-receiver web.console.templates web.console.libraries web.page-title web.cors.origin \
        web.search.max-limit storage.tsdb.no-lockfile storage.tsdb.head-chunks-write-queue-size \
        storage.tsdb.delay-compact-file.path storage.agent.path storage.agent.wal-compression \
        storage.agent.retention.min-time storage.agent.retention.max-time \
        storage.agent.checkpoint-from-in-memory-series storage.agent.checkpoint-batch-size \
        storage.agent.no-lockfile storage.remote.flush-deadline storage.remote.read-sample-limit \
        storage.remote.read-concurrent-limit storage.remote.read-max-bytes-in-frame \
        rules.alert.for-outage-tolerance rules.alert.for-grace-period rules.alert.resend-delay \
        rules.max-concurrent-evals alertmanager.notification-queue-capacity \
        alertmanager.notification-batch-size alertmanager.drain-notification-queue-on-shutdown \
        storage.tsdb.wal-compression storage.tsdb.wal-compression-type storage.tsdb.wal-segment-size \
        storage.tsdb.min-block-duration storage.tsdb.max-block-duration storage.tsdb.allow-overlapping-blocks \
        storage.tsdb.allow-overlapping-compaction storage.tsdb.retention storage.tsdb.retention.percentage \
        storage.tsdb.samples-per-chunk storage.tsdb.max-block-chunk-segment-size scrape.adjust-timestamps \
        scrape.timestamp-tolerance scrape.discovery-reload-interval scrape.name-escaping-scheme \
        storage.agent.wal-segment-size storage.agent.wal-truncate-frequency alertmanager.timeout server.mode";
    /// Those that mean the same here.
    const SAME: &str = "config.file web.listen-address web.max-connections web.external-url web.enable-lifecycle \
        web.enable-admin-api storage.tsdb.path storage.path storage.tsdb.retention.time \
        storage.tsdb.retention.size query.lookback-delta query.timeout query.max-concurrency query.max-samples \
        enable-feature log.level log.format";

    fn check(args: &[&str]) -> Result<(), String> {
        refuse_prometheus_flags(&args.iter().map(|s| s.to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn every_flag_of_prometheus_is_known_or_refused_by_name() {
        for name in OF_PROMETHEUS.split_whitespace() {
            let error = check(&["pando", "all", &format!("--{name}=x")]).expect_err(name);
            assert!(error.contains(&format!("--{name} of Prometheus")), "{error}");
        }
        for name in SAME.split_whitespace() {
            assert_eq!(check(&["pando", "all", &format!("--{name}=x")]), Ok(()));
        }
    }

    #[test]
    fn a_flag_without_meaning_names_its_replacement() {
        let error = check(&["pando", "all", "--web.route-prefix=/x"]).expect_err("refused");
        assert!(error.contains("--web.external-url"), "{error}");
        assert!(check(&["--no-storage.tsdb.no-lockfile"]).is_err());
        let error = check(&["--no-web.enable-lifecycle"]).expect_err("refused");
        assert!(error.contains("leave it out"), "{error}");
        // A typing error is clap's, which names what is spelled alike.
        assert_eq!(check(&["--web.listen-adress=x", "--", "--agent"]), Ok(()));
        assert_eq!(check(&["all", "--config.file=x", "--storage.tsdb.path", "y"]), Ok(()));
    }
}
