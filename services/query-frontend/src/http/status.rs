//! `/status/buildinfo`, `config`, `flags` and `runtimeinfo`: the answering process' own.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::response::{Remarks, success};
use crate::frontend::Frontend;
use crate::json::JsonWriter;
use crate::status_info::PROMETHEUS_VERSION;

pub(super) async fn buildinfo(State(frontend): State<Arc<Frontend>>) -> Response {
    let status = frontend.status();
    fields(&[
        ("version", PROMETHEUS_VERSION),
        ("revision", &status.revision),
        ("branch", &status.branch),
        ("buildUser", &status.build_user),
        ("buildDate", &status.build_date),
        ("goVersion", &status.compiler),
    ])
}

pub(super) async fn config(State(frontend): State<Arc<Frontend>>) -> Response {
    let yaml = (frontend.status().config)();
    fields(&[("yaml", &yaml)])
}

pub(super) async fn flags(State(frontend): State<Arc<Frontend>>) -> Response {
    let flags = frontend.status().flags.iter();
    fields(&flags.map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>())
}

pub(super) async fn runtimeinfo(State(frontend): State<Arc<Frontend>>) -> Response {
    let status = frontend.status();
    let reload = (status.reload)();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    success(&Remarks::default(), |json| {
        json.object(|json| {
            json.field("startTime", &rfc3339(status.start_ms));
            json.field("CWD", &status.cwd);
            json.field("hostname", &status.hostname);
            json.field("serverTime", &rfc3339(frontend.clock().now_ms()));
            json.key("reloadConfigSuccess");
            json.bool(reload.success);
            json.field("lastConfigTime", &rfc3339(reload.last_config_ms));
            count(json, "corruptionCount", 0);
            // There are no goroutines; the number of threads that run is what comes nearest.
            count(json, "goroutineCount", threads as u64);
            count(json, "GOMAXPROCS", threads as u64);
            count(json, "GOMEMLIMIT", i64::MAX as u64);
            json.field("GOGC", "");
            json.field("GODEBUG", "");
            json.field("storageRetention", &status.storage_retention);
        });
    })
}

fn fields(fields: &[(&str, &str)]) -> Response {
    success(&Remarks::default(), |json| {
        json.object(|json| fields.iter().for_each(|(name, value)| json.field(name, value)));
    })
}

fn count(json: &mut JsonWriter, name: &str, value: u64) {
    json.key(name);
    json.count(value);
}

/// A wall time as Go writes it.
pub(super) fn rfc3339(t_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(t_ms).map_or_else(|_| String::new(), |t| t.to_string())
}
