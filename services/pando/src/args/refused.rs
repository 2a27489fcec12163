//! Flags of Prometheus that have no meaning here: each is refused with what to use instead.

/// (flag, what to use instead).
const REFUSED: [(&str, &str); 36] = [
    ("--agent", "pando agent"),
    ("--config.auto-reload", "SIGHUP or POST /-/reload"),
    ("--config.auto-reload-interval", "SIGHUP or POST /-/reload"),
    ("--auto-gomaxprocs", "nothing: Pando uses all cores it is given"),
    ("--auto-gomemlimit", "nothing: limits are flags of each role"),
    ("--auto-gomemlimit.ratio", "nothing: limits are flags of each role"),
    ("--auto-gomemlimit.refresh-interval", "nothing: limits are flags of each role"),
    ("--web.config.file", "--grpc.tls-* between members; a proxy with TLS before the HTTP API"),
    ("--web.read-timeout", "nothing: clients have 30 s for their headers"),
    ("--web.max-notifications-subscribers", "nothing: there are no notifications yet"),
    ("--web.route-prefix", "--web.external-url, whose path is the prefix"),
    ("--web.user-assets", "nothing: there is no web interface yet"),
    ("--web.enable-remote-write-receiver", "nothing: remote write is always on"),
    (
        "--web.remote-write-receiver.accepted-protobuf-messages",
        "nothing: remote write 1.0 and 2.0 are both accepted",
    ),
    ("--web.enable-otlp-receiver", "remote write: OTLP is not taken yet"),
    ("--web.console.templates", "Grafana"),
    ("--web.console.libraries", "Grafana"),
    ("--web.page-title", "nothing: there is no web interface yet"),
    ("--web.cors.origin", "a proxy: any origin is allowed"),
    ("--web.search.max-limit", "nothing: the search API is not served yet"),
    ("--storage.tsdb.no-lockfile", "nothing: the data directory is always locked"),
    ("--storage.tsdb.head-chunks-write-queue-size", "nothing"),
    ("--storage.tsdb.delay-compact-file.path", "--compactor.min-block-age"),
    ("--storage.agent.path", "--storage.tsdb.path"),
    ("--storage.agent.wal-compression", "nothing: the buffer is always compressed"),
    ("--storage.agent.retention.min-time", "--agent.buffer-bytes"),
    ("--storage.agent.retention.max-time", "--agent.buffer-bytes"),
    ("--storage.agent.checkpoint-from-in-memory-series", "nothing"),
    ("--storage.agent.checkpoint-batch-size", "nothing"),
    ("--storage.agent.no-lockfile", "nothing: the data directory is always locked"),
    ("--storage.remote.flush-deadline", "nothing: remote_write is not acted on"),
    ("--storage.remote.read-sample-limit", "--query.max-samples"),
    ("--storage.remote.read-concurrent-limit", "--query.max-concurrency"),
    ("--storage.remote.read-max-bytes-in-frame", "nothing: remote read is not served yet"),
    ("--rules.max-concurrent-evals", "a ruler: rules are not evaluated yet"),
    ("--alertmanager.notification-queue-capacity", "a ruler: alerts are not sent yet"),
];

/// Prefixes of whole families that are refused alike.
const REFUSED_FAMILIES: [(&str, &str); 2] = [
    ("--rules.", "a ruler: rules are not evaluated yet"),
    ("--alertmanager.", "a ruler: alerts are not sent yet"),
];

/// The message for the first argument that is a flag of Prometheus without a meaning here.
pub(crate) fn refuse_prometheus_flags(args: impl Iterator<Item = String>) -> Result<(), String> {
    for arg in args {
        let flag = arg.split('=').next().unwrap_or(&arg);
        let exact = REFUSED.iter().find(|(name, _)| *name == flag || is_negated(flag, name));
        let family = || REFUSED_FAMILIES.iter().find(|(prefix, _)| flag.starts_with(prefix));
        if let Some((_, instead)) = exact.or_else(family) {
            return Err(format!("flag {flag} of Prometheus has no meaning here; use: {instead}"));
        }
    }
    Ok(())
}

/// Prometheus' boolean flags have a `--no-` form.
fn is_negated(flag: &str, name: &str) -> bool {
    flag.strip_prefix("--no-").is_some_and(|rest| name.strip_prefix("--") == Some(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_without_meaning_names_its_replacement() {
        let args = |list: &[&str]| refuse_prometheus_flags(list.iter().map(|s| s.to_string()));
        let error = args(&["pando", "all", "--web.route-prefix=/x"]).expect_err("refused");
        assert!(error.contains("--web.external-url"), "{error}");
        assert!(args(&["--no-storage.tsdb.no-lockfile"]).is_err());
        assert!(args(&["--rules.alert.resend-delay=1m"]).is_err());
        assert!(args(&["all", "--config.file=x", "--storage.tsdb.path", "y"]).is_ok());
    }
}
