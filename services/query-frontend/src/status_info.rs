//! `StatusInfo`: what the binary knows of its own process, for the status endpoints.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The version of Prometheus whose API this is. Clients switch features by it, so it has to be a
/// Prometheus version; the metric `pando_build_info` says Pando's own. There is no `features`: Grafana
/// would take that for another product.
pub const PROMETHEUS_VERSION: &str = "3.14.0";

/// How the last reload of the configuration went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReloadState {
    /// Whether it was taken.
    pub success: bool,
    /// When the configuration in use was read, ms.
    pub last_config_ms: i64,
}

/// What the binary knows of its own process.
#[derive(Clone)]
pub struct StatusInfo {
    /// The revision that it was built from.
    pub revision: String,
    /// The branch that it was built from.
    pub branch: String,
    /// Who built it.
    pub build_user: String,
    /// When it was built.
    pub build_date: String,
    /// The compiler.
    pub compiler: String,
    /// When the process started, ms.
    pub start_ms: i64,
    /// Its working directory.
    pub cwd: String,
    /// Its host's name.
    pub hostname: String,
    /// How long samples are kept, as Prometheus writes it.
    pub storage_retention: String,
    /// The configuration as YAML, secrets hidden.
    pub config: Arc<dyn Fn() -> String + Send + Sync>,
    /// The flags by name, without dashes, secrets hidden.
    pub flags: BTreeMap<String, String>,
    /// How the last reload went.
    pub reload: Arc<dyn Fn() -> ReloadState + Send + Sync>,
}

impl Default for StatusInfo {
    /// A process that says nothing of itself.
    fn default() -> Self {
        let reload = ReloadState { success: true, last_config_ms: 0 };
        StatusInfo {
            revision: String::new(),
            branch: String::new(),
            build_user: String::new(),
            build_date: String::new(),
            compiler: String::new(),
            start_ms: 0,
            cwd: String::new(),
            hostname: String::new(),
            storage_retention: String::new(),
            config: Arc::new(String::new),
            flags: BTreeMap::new(),
            reload: Arc::new(move || reload),
        }
    }
}
