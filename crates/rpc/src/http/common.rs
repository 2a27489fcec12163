//! The endpoints that every role has: `/`, `/-/healthy`, `/-/ready`, `/metrics`, `/-/quit` and
//! `/-/reload`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode, header};
use pando_runtime::metrics::METRICS_CONTENT_TYPE;
use pando_runtime::{Lifecycle, MetricsRegistry};
use tower_http::compression::CompressionLayer;

use super::metrics_text;

/// What the common endpoints need.
#[derive(Clone)]
pub struct CommonState {
    /// The process' life.
    pub lifecycle: Lifecycle,
    /// Its metrics.
    pub metrics: MetricsRegistry,
    /// Whether `/-/quit` and `/-/reload` work (`--web.enable-lifecycle`).
    pub enable_lifecycle: bool,
    /// Called by `/-/quit`.
    pub quit: Arc<dyn Fn() + Send + Sync>,
    /// Called by `/-/reload`; the error is shown to the caller.
    pub reload: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
    /// The page at `/`, HTML.
    pub home: Arc<dyn Fn() -> String + Send + Sync>,
}

/// The routes, to be merged into a role's own.
pub fn common_routes(state: CommonState) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/-/healthy", get(|| async { "Pando is Healthy.\n" }))
        .route("/-/ready", get(ready))
        .route("/metrics", get(metrics).layer(CompressionLayer::new()))
        .route("/-/quit", post(quit).put(quit))
        .route("/-/reload", post(reload).put(reload))
        .with_state(state)
}

async fn ready(State(state): State<CommonState>) -> Response {
    if state.lifecycle.is_ready() {
        return (StatusCode::OK, "Pando is Ready.\n").into_response();
    }
    let stopping = state.lifecycle.phase() > pando_runtime::Phase::Ready;
    let header = [("X-Prometheus-Stopping", if stopping { "true" } else { "false" })];
    (StatusCode::SERVICE_UNAVAILABLE, header, "Service Unavailable").into_response()
}

async fn home(State(state): State<CommonState>) -> Html<String> {
    Html((state.home)())
}

async fn metrics(State(state): State<CommonState>, headers: HeaderMap) -> Response {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let open = accept.collect::<Vec<_>>().join(",");
    let open = metrics_text::prefers_open_metrics(&open);
    match state.metrics.encode() {
        Ok(text) if open => ([(header::CONTENT_TYPE, METRICS_CONTENT_TYPE)], text).into_response(),
        Ok(text) => {
            let content_type = [(header::CONTENT_TYPE, metrics_text::TEXT_CONTENT_TYPE)];
            (content_type, metrics_text::plain(&text)).into_response()
        }
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()).into_response(),
    }
}

async fn quit(State(state): State<CommonState>) -> Response {
    if !state.enable_lifecycle {
        return lifecycle_off();
    }
    (state.quit)();
    "Requesting termination... Goodbye!".into_response()
}

async fn reload(State(state): State<CommonState>) -> Response {
    if !state.enable_lifecycle {
        return lifecycle_off();
    }
    match (state.reload)() {
        Ok(()) => StatusCode::OK.into_response(),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config: {e}\n"))
            .into_response(),
    }
}

fn lifecycle_off() -> Response {
    (StatusCode::FORBIDDEN, "Lifecycle API is not enabled.").into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use prometheus_client::metrics::counter::Counter;
    use tower::ServiceExt as _;

    use super::*;

    fn routes() -> Router {
        let metrics = MetricsRegistry::new();
        let counter = Counter::<u64>::default();
        metrics.with_prefix("pando", |registry| registry.register("things", "Things", counter));
        common_routes(CommonState {
            lifecycle: Lifecycle::new(),
            metrics,
            enable_lifecycle: false,
            quit: Arc::new(|| {}),
            reload: Arc::new(|| Ok(())),
            home: Arc::new(|| "<h1>home</h1>".to_string()),
        })
    }

    async fn get(path: &str, headers: &[(&str, &str)]) -> (Response, String) {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("a request");
        let (parts, body) = routes().oneshot(request).await.expect("infallible").into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
        let text = String::from_utf8_lossy(&body).to_string();
        (Response::from_parts(parts, Body::empty()), text)
    }

    #[tokio::test]
    async fn metrics_are_plain_text_unless_open_metrics_is_asked_for() {
        let (response, text) = get("/metrics", &[]).await;
        assert_eq!(response.headers()["content-type"], metrics_text::TEXT_CONTENT_TYPE);
        assert!(
            text.contains("# TYPE pando_things_total counter\npando_things_total 0\n"),
            "{text}"
        );
        assert!(!text.contains("# EOF"), "{text}");
        let asked = [("accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")];
        let (response, text) = get("/metrics", &asked).await;
        assert_eq!(response.headers()["content-type"], METRICS_CONTENT_TYPE);
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[tokio::test]
    async fn metrics_are_packed_for_who_asks() {
        let (response, _) = get("/metrics", &[("accept-encoding", "gzip")]).await;
        assert_eq!(response.headers()["content-encoding"], "gzip");
        let (response, _) = get("/metrics", &[]).await;
        assert!(response.headers().get("content-encoding").is_none());
    }

    #[tokio::test]
    async fn every_role_has_a_page() {
        let (response, text) = get("/", &[]).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(text, "<h1>home</h1>");
    }
}
