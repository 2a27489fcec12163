//! The HTTP side: Prometheus' API below `/api/v1`. Parameters in, JSON out; what they mean is the
//! frontend's business.

mod around;
mod exemplars;
mod explain;
mod expression;
mod label_escape;
mod members;
mod params;
mod parse;
mod pretty;
mod response;
mod series;
mod stats;
mod status;
mod syntax_tree;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::Redirect;
use axum::routing::{MethodFilter, MethodRouter, get, on};
use tower_http::compression::CompressionLayer;

use crate::frontend::Frontend;

/// All routes of a query frontend.
pub(crate) fn router(frontend: Arc<Frontend>) -> Router {
    let api = Router::new()
        .route("/query", both(expression::query))
        .route("/query_range", both(expression::query_range))
        .route("/query_exemplars", both(exemplars::query_exemplars))
        .route("/explain", both(explain::explain))
        .route("/format_query", both(expression::format_query))
        .route("/parse_query", both(syntax_tree::parse_query))
        .route("/series", both(series::series))
        .route("/labels", both(series::labels))
        .route("/label/{name}/values", get(series::label_values))
        .route("/metadata", get(members::metadata))
        .route("/targets", get(members::targets))
        .route("/status/buildinfo", get(status::buildinfo))
        .route("/status/config", get(status::config))
        .route("/status/flags", get(status::flags))
        .route("/status/runtimeinfo", get(status::runtimeinfo))
        .route("/status/tsdb", get(members::tsdb))
        // Below the layers, so that OPTIONS is answered by them.
        .method_not_allowed_fallback(async || {
            (StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n")
        })
        .layer(DefaultBodyLimit::max(frontend.config().form_bytes_max))
        .layer(from_fn_with_state(frontend.clone(), around::cors_and_metrics))
        .layer(CompressionLayer::new());
    Router::new()
        .nest("/api/v1", api)
        .route("/graph", get(to_home))
        .route("/query", get(to_home))
        .with_state(frontend)
}

/// Links to Prometheus' pages lead to the process' own page. Relative: the process may have a prefix.
async fn to_home() -> Redirect {
    Redirect::to("./")
}

/// GET and POST alike: dashboards send long queries as forms.
fn both<H, T>(handler: H) -> MethodRouter<Arc<Frontend>>
where
    H: Handler<T, Arc<Frontend>>,
    T: 'static,
{
    on(MethodFilter::GET.or(MethodFilter::POST), handler)
}

#[cfg(test)]
mod tests;
