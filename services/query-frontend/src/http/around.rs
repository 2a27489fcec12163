//! What is around every request of the API: CORS as Prometheus answers it, and the metrics of
//! requests.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderName};
use http::{HeaderValue, Method, StatusCode};

use crate::frontend::Frontend;

const CORS: [(HeaderName, HeaderValue); 4] = [
    (
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("Accept, Authorization, Content-Type, Origin"),
    ),
    (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS")),
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
    (header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Date")),
];

/// The handlers by their paths: the values of a label, so that there are no others.
const HANDLERS: [(&str, &str); 16] = [
    ("/api/v1/query", "/api/v1/query"),
    ("/api/v1/query_range", "/api/v1/query_range"),
    ("/api/v1/query_exemplars", "/api/v1/query_exemplars"),
    ("/api/v1/explain", "/api/v1/explain"),
    ("/api/v1/format_query", "/api/v1/format_query"),
    ("/api/v1/parse_query", "/api/v1/parse_query"),
    ("/api/v1/series", "/api/v1/series"),
    ("/api/v1/labels", "/api/v1/labels"),
    ("/api/v1/label/{name}/values", "/api/v1/label/:name/values"),
    ("/api/v1/metadata", "/api/v1/metadata"),
    ("/api/v1/targets", "/api/v1/targets"),
    ("/api/v1/status/buildinfo", "/api/v1/status/buildinfo"),
    ("/api/v1/status/config", "/api/v1/status/config"),
    ("/api/v1/status/flags", "/api/v1/status/flags"),
    ("/api/v1/status/runtimeinfo", "/api/v1/status/runtimeinfo"),
    ("/api/v1/status/tsdb", "/api/v1/status/tsdb"),
];

pub(super) async fn cors_and_metrics(
    State(frontend): State<Arc<Frontend>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let known = HANDLERS.iter().find(|(route, _)| Some(*route) == path);
    let handler = known.map_or("other", |(_, handler)| handler);
    let cross_origin = request.headers().contains_key(header::ORIGIN);
    let began = frontend.clock().monotonic();
    let mut response = match *request.method() == Method::OPTIONS {
        true => StatusCode::NO_CONTENT.into_response(),
        false => next.run(request).await,
    };
    let took = frontend.clock().monotonic().saturating_sub(began);
    frontend.metrics().request_ended(handler, response.status().as_u16(), took);
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    if cross_origin {
        response.headers_mut().extend(CORS);
    }
    response
}
