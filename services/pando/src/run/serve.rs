//! The HTTP side of a process: endpoints that every role has at once, the roles' own when they are there; and
//! the configuration, which can be read again.

use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use pando_agent::AgentHandle;
use pando_config::Config;
use pando_model::ErrorKind;
use pando_query_frontend::{ReloadState, StatusInfo};
use pando_rpc::http::{ApiError, CommonState, HttpLimits, common_routes, serve};
use pando_runtime::Phase;
use parking_lot::{Mutex, RwLock};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tower::ServiceExt as _;

use crate::args::AgentArgs;
use crate::config_file::{self, Loaded};
use crate::run::base::Base;
use crate::run::plan::Plan;

/// Reads the configuration again.
type Hook = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The configuration of the process, and its HTTP routes. Cloning shares them.
#[derive(Clone)]
pub(crate) struct Reloading {
    shared: Arc<Shared>,
}

struct Shared {
    file: Option<String>,
    config: RwLock<Arc<Config>>,
    state: Mutex<ReloadState>,
    hook: RwLock<Hook>,
    /// The roles' routes, once they are there.
    routes: RwLock<Option<Router>>,
    ignored: Family<KeyLabels, Gauge>,
    clock: pando_runtime::SharedClock,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KeyLabels {
    key: String,
}

impl Reloading {
    /// Reads the configuration file of a process with an agent.
    pub(crate) fn read(agent: Option<&AgentArgs>, base: &Base) -> Result<Self> {
        let ignored = Family::<KeyLabels, Gauge>::default();
        base.metrics.with_prefix("pando", |registry| {
            let help = "Configuration keys that no part acts on yet";
            registry.register("config_ignored", help, ignored.clone());
        });
        let config = match agent {
            Some(args) => {
                let loaded = config_file::load(&args.config_file)?;
                loaded.warn();
                publish(&ignored, &loaded);
                loaded.config
            }
            None => Config::default(),
        };
        let state = ReloadState { success: true, last_config_ms: base.clock.now_ms() };
        let shared = Shared {
            file: agent.map(|args| args.config_file.clone()),
            config: RwLock::new(Arc::new(config)),
            state: Mutex::new(state),
            hook: RwLock::new(Arc::new(|| Ok(()))),
            routes: RwLock::default(),
            ignored,
            clock: base.clock.clone(),
        };
        Ok(Reloading { shared: Arc::new(shared) })
    }

    /// The configuration in use.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.shared.config.read().clone()
    }

    /// From now on these routes are served, too.
    pub(crate) fn serve(&self, router: Router) {
        *self.shared.routes.write() = Some(router);
    }

    /// What SIGHUP and `/-/reload` do.
    pub(crate) fn hook(&self, agent: Option<AgentHandle>) -> Hook {
        let shared = self.shared.clone();
        let hook: Hook = Arc::new(move || {
            let result = shared.reload(agent.as_ref());
            let mut state = shared.state.lock();
            state.success = result.is_ok();
            if result.is_ok() {
                state.last_config_ms = shared.clock.now_ms();
                tracing::info!("configuration is reloaded");
            }
            result
        });
        *self.shared.hook.write() = hook.clone();
        hook
    }
}

impl Shared {
    fn reload(&self, agent: Option<&AgentHandle>) -> Result<(), String> {
        let Some(file) = &self.file else { return Ok(()) };
        let loaded = config_file::load(file).map_err(|error| format!("{error:#}"))?;
        loaded.warn();
        publish(&self.ignored, &loaded);
        let config = Arc::new(loaded.config);
        if let Some(agent) = agent {
            agent.reload(&config);
        }
        *self.config.write() = config;
        Ok(())
    }
}

fn publish(ignored: &Family<KeyLabels, Gauge>, loaded: &Loaded) {
    ignored.clear();
    for (key, count) in loaded.ignored_keys() {
        ignored.get_or_create(&KeyLabels { key }).set(count);
    }
}

/// Begins to serve HTTP: health, readiness and metrics at once, the rest when it is there.
pub(crate) fn begin(base: &Base, plan: &Plan, reloading: &Reloading) {
    let Some(listener) = base.http.lock().take() else { return };
    let (quit, shared) = (base.lifecycle.clone(), reloading.shared.clone());
    let common = CommonState {
        lifecycle: base.lifecycle.clone(),
        metrics: base.metrics.clone(),
        enable_lifecycle: plan.web.enable_lifecycle,
        quit: Arc::new(move || quit.advance(Phase::Unready)),
        reload: Arc::new(move || {
            let hook = shared.hook.read().clone();
            hook()
        }),
    };
    let shared = reloading.shared.clone();
    let routes = common_routes(common).fallback(move |request| late(shared.clone(), request));
    let router = match prefix(&plan.web.external_url) {
        Some(prefix) => Router::new().nest(&prefix, routes),
        None => routes,
    };
    let limits = HttpLimits { connections_max: plan.web.max_connections, ..HttpLimits::default() };
    let (lifecycle, tasks) = (base.lifecycle.clone(), base.tasks.clone());
    base.tasks.spawn("http server", async move {
        let stop = async move { lifecycle.reached(Phase::Draining).await };
        serve(listener, router, limits, tasks, stop).await;
    });
}

/// Passes on to the roles' routes. Before they are there nothing is "not found": a remote writer would drop what
/// it is told 404 for.
async fn late(shared: Arc<Shared>, request: Request) -> Response {
    let routes = shared.routes.read().clone();
    match routes {
        Some(routes) => routes.oneshot(request).await.into_response(),
        None => ApiError::new(ErrorKind::Unavailable, "this process is starting").into_response(),
    }
}

/// The path of `--web.external-url`, if it has one.
fn prefix(external_url: &str) -> Option<String> {
    let rest = external_url.split_once("://").map_or(external_url, |(_, rest)| rest);
    let path = rest.split_once('/').map_or("", |(_, path)| path).trim_matches('/');
    (!path.is_empty()).then(|| format!("/{path}"))
}

/// What the status endpoints say of this process.
pub(crate) fn status_info(base: &Base, plan: &Plan, reloading: &Reloading) -> StatusInfo {
    let (of_config, of_reload) = (reloading.shared.clone(), reloading.shared.clone());
    let text = |name: &str| std::env::var(name).unwrap_or_default();
    StatusInfo {
        pando_version: env!("CARGO_PKG_VERSION").to_string(),
        start_ms: base.clock.now_ms(),
        cwd: std::env::current_dir().map(|d| d.display().to_string()).unwrap_or_default(),
        hostname: text("HOSTNAME"),
        storage_retention: plan
            .controller
            .as_ref()
            .map_or_else(String::new, |args| args.retention_time.clone()),
        config: Arc::new(move || of_config.config.read().to_yaml()),
        flags: crate::args::given_flags(std::env::args().skip(2)),
        reload: Arc::new(move || *of_reload.state.lock()),
        ..StatusInfo::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_the_external_url_is_the_prefix() {
        assert_eq!(prefix("http://example.org/pando/"), Some("/pando".to_string()));
        assert_eq!(prefix("http://example.org"), None);
        assert_eq!(prefix(""), None);
    }
}
