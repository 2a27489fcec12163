//! The HTTP side of a process: endpoints that every role has at once, the roles' own when they are there; and
//! the configuration, which can be read again.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use anyhow::{Result, bail};
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::uri::{PathAndQuery, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use pando_agent::AgentHandle;
use pando_cluster::{CatalogFollower, Streams};
use pando_config::Config;
use pando_model::ErrorKind;
use pando_query_frontend::{ReloadState, StatusInfo, SubqueryStep};
use pando_rpc::http::{ApiError, CommonState, HttpLimits, common_routes, serve};
use pando_runtime::Phase;
use pando_runtime::process::host_name;
use parking_lot::{Mutex, RwLock};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tower::ServiceExt as _;
use url::Url;

use crate::args::{AgentArgs, ControllerArgs};
use crate::build_info;
use crate::config_file::{self, Loaded};
use crate::run::base::Base;
use crate::run::home::Home;
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
    /// The step of subqueries that name none; it follows the file.
    subquery_step: SubqueryStep,
    state: Mutex<ReloadState>,
    hook: RwLock<Hook>,
    /// The catalog, once it is followed.
    catalog: OnceLock<(CatalogFollower, Streams)>,
    /// The roles' routes, once they are there.
    routes: RwLock<Option<Router>>,
    ignored: Family<KeyLabels, Gauge>,
    successful: Gauge,
    success_seconds: Gauge<f64, AtomicU64>,
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
        let (successful, success_seconds) = (Gauge::default(), Gauge::default());
        base.metrics.with_prefix("prometheus_config", |registry| {
            let help = "Whether the last configuration reload attempt was successful";
            registry.register("last_reload_successful", help, successful.clone());
            let help = "Timestamp of the last successful configuration reload";
            let metric = success_seconds.clone();
            registry.register("last_reload_success_timestamp_seconds", help, metric);
        });
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
            subquery_step: SubqueryStep::of_ms(config.global.evaluation_interval_ms),
            config: RwLock::new(Arc::new(config)),
            state: Mutex::new(state),
            hook: RwLock::new(Arc::new(|| Ok(()))),
            catalog: OnceLock::new(),
            routes: RwLock::default(),
            ignored,
            successful,
            success_seconds,
            clock: base.clock.clone(),
        };
        shared.note(true);
        Ok(Reloading { shared: Arc::new(shared) })
    }

    /// The configuration in use.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.shared.config.read().clone()
    }

    /// The step of subqueries that name none, by the configuration. It follows what is read again.
    pub(crate) fn subquery_step(&self) -> SubqueryStep {
        self.shared.subquery_step.clone()
    }

    /// From now on the process' page shows the cluster.
    pub(crate) fn show(&self, catalog: CatalogFollower, streams: Streams) {
        // Once a process.
        let _ = self.shared.catalog.set((catalog, streams));
    }

    /// From now on these routes are served, too.
    pub(crate) fn serve(&self, router: Router) {
        let router = router
            .fallback(async || (StatusCode::NOT_FOUND, "404 page not found\n"))
            .method_not_allowed_fallback(async || {
                (StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n")
            });
        *self.shared.routes.write() = Some(router);
    }

    /// What SIGHUP and `/-/reload` do.
    pub(crate) fn hook(&self, agent: Option<AgentHandle>) -> Hook {
        let shared = self.shared.clone();
        let hook: Hook = Arc::new(move || {
            let result = shared.reload(agent.as_ref());
            shared.note(result.is_ok());
            match &result {
                Ok(()) => tracing::info!("configuration is reloaded"),
                Err(error) => tracing::error!(error, "configuration is not reloaded"),
            }
            result
        });
        *self.shared.hook.write() = hook.clone();
        hook
    }
}

impl Shared {
    /// Takes note of how an attempt to read the configuration went.
    fn note(&self, success: bool) {
        let mut state = self.state.lock();
        state.success = success;
        self.successful.set(i64::from(success));
        if success {
            state.last_config_ms = self.clock.now_ms();
            self.success_seconds.set(state.last_config_ms as f64 / 1_000.0);
        }
    }

    fn reload(&self, agent: Option<&AgentHandle>) -> Result<(), String> {
        let Some(file) = &self.file else { return Ok(()) };
        let loaded = config_file::load(file).map_err(|error| format!("{error:#}"))?;
        loaded.warn();
        publish(&self.ignored, &loaded);
        let config = Arc::new(loaded.config);
        if let Some(agent) = agent {
            agent.reload(&config);
        }
        self.subquery_step.set_ms(config.global.evaluation_interval_ms);
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
///
/// # Errors
/// `--web.external-url` is none.
pub(crate) fn begin(base: &Base, plan: &Plan, reloading: &Reloading) -> Result<()> {
    let prefix = prefix(&plan.web.external_url)?;
    let listeners = std::mem::take(&mut *base.http.lock());
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
        home: home(base, plan, reloading),
    };
    let shared = reloading.shared.clone();
    let routes = common_routes(common).fallback(move |request| late(shared.clone(), request));
    let router = match prefix {
        Some(prefix) => below(prefix, routes),
        None => routes,
    };
    let limits = HttpLimits { connections_max: plan.web.max_connections, ..HttpLimits::default() };
    for listener in listeners {
        let (lifecycle, tasks) = (base.lifecycle.clone(), base.tasks.clone());
        let (router, limits) = (router.clone(), limits.clone());
        base.tasks.spawn("http server", async move {
            let stop = async move { lifecycle.reached(Phase::Draining).await };
            serve(listener, router, limits, tasks, stop).await;
        });
    }
    Ok(())
}

/// The page of the process.
fn home(base: &Base, plan: &Plan, reloading: &Reloading) -> Arc<dyn Fn() -> String + Send + Sync> {
    let (lifecycle, shared) = (base.lifecycle.clone(), reloading.shared.clone());
    let (name, node, queries) = (plan.name, base.data.node.to_string(), plan.query.is_some());
    Arc::new(move || {
        let catalog = shared.catalog.get();
        let routing = catalog.map(|(follower, _)| follower.routing());
        let with_blocks = catalog.filter(|(_, streams)| *streams == Streams::RoutingAndBlocks);
        let blocks = with_blocks.map(|(follower, _)| follower.blocks());
        let state = match lifecycle.is_ready() {
            true => "ready",
            false if lifecycle.phase() > Phase::Ready => "stopping",
            false => "starting",
        };
        let (routing, blocks) = (routing.as_deref(), blocks.as_deref());
        Home { name, node: node.clone(), state, queries, routing, blocks }.page()
    })
}

/// `routes` below `prefix`. By hand: axum's `nest` reads a prefix as a pattern, and does not know `prefix/`, which
/// relative links of the page at `/` need.
fn below(prefix: String, routes: Router) -> Router {
    Router::new().fallback(move |mut request: Request| {
        let routes = routes.clone();
        let to_home = Redirect::to(&format!("{prefix}/"));
        let path = request.uri().path();
        let rest = path.strip_prefix(&prefix).filter(|rest| rest.starts_with('/'));
        let stripped = rest.and_then(|rest| with_path(request.uri(), rest));
        let is_root = path == "/" || path == prefix;
        async move {
            match stripped {
                Some(uri) => {
                    *request.uri_mut() = uri;
                    routes.oneshot(request).await.into_response()
                }
                None if is_root => to_home.into_response(),
                None => ApiError::new(ErrorKind::NotFound, "not found").into_response(),
            }
        }
    })
}

fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(format!("{path}{query}")).ok();
    parts.path_and_query.is_some().then(|| Uri::from_parts(parts).ok()).flatten()
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
fn prefix(external_url: &str) -> Result<Option<String>> {
    let rest = match external_url.split_once("://") {
        Some(("http" | "https", rest)) => rest,
        Some((scheme, _)) => bail!("--web.external-url: not a scheme of HTTP: scheme={scheme:?}"),
        None => external_url,
    };
    let path = rest.split_once('/').map_or("", |(_, path)| path).trim_matches('/');
    // Letters, digits, and what RFC 3986 has in a path's segments besides percent-encoding.
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()+,;=:@%/".contains(c);
    if let Some(c) = path.chars().find(|c| !allowed(*c)) {
        bail!(
            "--web.external-url: character is not allowed in its path: character={c:?} path=\"/{path}\""
        );
    }
    if path
        .split('/')
        .any(|part| part.is_empty() && !path.is_empty() || part == "." || part == "..")
    {
        bail!("--web.external-url: path has an empty or a relative part: path=\"/{path}\"");
    }
    Ok((!path.is_empty()).then(|| format!("/{path}")))
}

/// Where people reach this process, as `--web.external-url` says or as Prometheus guesses, and its own port.
pub(crate) fn external_url(plan: &Plan) -> Option<(Url, u16)> {
    let (_, port) = plan.web.listen_address.first()?.rsplit_once(':')?;
    let guess = || format!("http://{}:{port}/", host_name());
    let given = Some(plan.web.external_url.clone()).filter(|given| !given.is_empty());
    let url = Url::parse(&given.unwrap_or_else(guess)).ok()?;
    Some((url, port.parse().ok()?))
}

/// What the status endpoints say of this process.
pub(crate) fn status_info(base: &Base, plan: &Plan, reloading: &Reloading) -> StatusInfo {
    let (of_config, of_reload) = (reloading.shared.clone(), reloading.shared.clone());
    StatusInfo {
        revision: build_info::REVISION.to_string(),
        branch: build_info::BRANCH.to_string(),
        build_user: build_info::USER.to_string(),
        build_date: build_info::DATE.to_string(),
        compiler: build_info::COMPILER.to_string(),
        start_ms: base.clock.now_ms(),
        cwd: std::env::current_dir().map(|d| d.display().to_string()).unwrap_or_default(),
        hostname: host_name(),
        storage_retention: plan.controller.as_ref().map_or_else(String::new, retention),
        config: Arc::new(move || of_config.config.read().to_yaml()),
        flags: plan.flags.clone(),
        reload: Arc::new(move || *of_reload.state.lock()),
    }
}

/// The retention as Prometheus shows it: `15d or 10GB`.
fn retention(args: &ControllerArgs) -> String {
    let is_off = |text: &&String| text.trim_matches(|c: char| !c.is_ascii_digit()) == "0";
    let parts = [&args.retention_time, &args.retention_size].into_iter();
    parts.filter(|text| !is_off(text)).cloned().collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_the_external_url_is_the_prefix() {
        let good = |url| prefix(url).expect("good");
        assert_eq!(good("http://example.org/pando/"), Some("/pando".to_string()));
        assert_eq!(good("https://example.org/a/:b"), Some("/a/:b".to_string()));
        assert_eq!(good("http://example.org"), None);
        assert_eq!(good(""), None);
        for bad in [
            "http://x/{a}",
            "http://x/*",
            "http://x/a?b",
            "http://x/a b",
            "ftp://x/",
            "http://x/a//b",
        ] {
            let error = prefix(bad).expect_err("bad").to_string();
            assert!(error.contains("--web.external-url"), "{bad}: {error}");
        }
    }

    async fn get(router: &Router, path: &str) -> (u16, String) {
        let request = Request::get(path).body(axum::body::Body::empty()).expect("a request");
        let response = router.clone().oneshot(request).await.expect("infallible");
        let status = response.status().as_u16();
        let location = response.headers().get("location").cloned();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        let text = String::from_utf8_lossy(&body).to_string();
        (status, location.map_or(text, |l| l.to_str().expect("text").to_string()))
    }

    #[tokio::test]
    async fn everything_is_below_the_prefix() {
        use axum::routing::get as on_get;
        let routes = Router::new()
            .route("/", on_get(|| async { "home" }))
            .route("/graph", on_get(|| async { Redirect::to("./") }))
            .route("/q", on_get(|uri: Uri| async move { uri.to_string() }));
        for prefix in ["/pando", "/a/:b"] {
            let router = below(prefix.to_string(), routes.clone());
            let at = |path: &str| format!("{prefix}{path}");
            assert_eq!(get(&router, &at("/")).await, (200, "home".to_string()));
            assert_eq!(get(&router, &at("/q?x=1")).await, (200, "/q?x=1".to_string()));
            assert_eq!(get(&router, &at("/graph?g0.expr=up")).await, (303, "./".to_string()));
            // Relative links of the page need the slash; a proxy's root leads there, too.
            assert_eq!(get(&router, &at("")).await, (303, at("/")));
            assert_eq!(get(&router, "/").await, (303, at("/")));
            assert_eq!(get(&router, &at("x/q")).await.0, 404);
            assert_eq!(get(&router, "/q").await.0, 404);
        }
    }
}
