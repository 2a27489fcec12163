//! The endpoints that every role has: `/-/healthy`, `/-/ready`, `/metrics`, `/-/quit` and `/-/reload`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{StatusCode, header};
use pando_runtime::metrics::METRICS_CONTENT_TYPE;
use pando_runtime::{Lifecycle, MetricsRegistry};

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
}

/// The routes, to be merged into a role's own.
pub fn common_routes(state: CommonState) -> Router {
    Router::new()
        .route("/-/healthy", get(|| async { "Pando is Healthy.\n" }))
        .route("/-/ready", get(ready))
        .route("/metrics", get(metrics))
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

async fn metrics(State(state): State<CommonState>) -> Response {
    match state.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, METRICS_CONTENT_TYPE)], text).into_response(),
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
