//! The HTTP side: one route, its headers and its body within limits.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::{HeaderMap, HeaderName, header};
use http_body_util::LengthLimitError;
use pando_model::ErrorKind;
use pando_rpc::http::{ApiError, Tenant};

use crate::answer::Answer;
use crate::receiver::{Head, Inner, Receiver};

/// Where Prometheus takes remote write.
const WRITE_PATH: &str = "/api/v1/write";

impl Receiver {
    /// `POST /api/v1/write`, to be merged into the routes of a process.
    pub fn router(&self) -> Router {
        Router::new().route(WRITE_PATH, post(write)).with_state(self.inner.clone())
    }
}

async fn write(
    State(receiver): State<Arc<Inner>>,
    tenant: Result<Tenant, ApiError>,
    request: Request,
) -> Response {
    let started = receiver.monotonic();
    let answer = answer(&receiver, tenant, request).await;
    receiver.show_in_flight();
    let took = receiver.monotonic().saturating_sub(started);
    receiver.metrics.request_seconds.observe(took.as_secs_f64());
    answer.into_response()
}

async fn answer(receiver: &Inner, tenant: Result<Tenant, ApiError>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let tenant = match tenant {
        Ok(Tenant(tenant)) => tenant,
        Err(error) => return counted(receiver, Answer::refused(error.kind, error)),
    };
    let head = Head {
        tenant,
        content_type: text(&parts.headers, header::CONTENT_TYPE),
        content_encoding: text(&parts.headers, header::CONTENT_ENCODING),
    };
    match read_body(receiver, &parts.headers, body).await {
        Ok((body, _held)) => receiver.write(head, body).await,
        Err(answer) => counted(receiver, answer),
    }
}

fn counted(receiver: &Inner, answer: Answer) -> Answer {
    receiver.count(&answer, "unknown");
    answer
}

/// A header's text; one that is no text is one that nobody knows.
fn text(headers: &HeaderMap, name: HeaderName) -> String {
    let value = headers.get(name);
    value.map_or("", |value| value.to_str().unwrap_or("\u{fffd}")).to_string()
}

/// The body, and its place in the gate, which is taken before a byte is read.
async fn read_body(
    receiver: &Inner,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Bytes, pando_runtime::Held), Answer> {
    let limit = receiver.body_bytes_max();
    let too_large = |have: &str| {
        let text = format!("request too large: body_bytes_max have={have} limit={limit}");
        Answer::refused(ErrorKind::LimitExceeded, text)
    };
    let length = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok());
    let length = length.and_then(|text| text.parse::<u64>().ok());
    if let Some(length) = length.filter(|length| *length > limit as u64) {
        return Err(too_large(&length.to_string()));
    }
    // A sender that does not say how much it sends is taken at its worst.
    let held = receiver.admit(length.map_or(limit, |length| length as usize)).await?;
    let reading = tokio::time::timeout(receiver.body_timeout(), to_bytes(body, limit)).await;
    let bytes = match reading {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) if is_length_limit(&error) => return Err(too_large("more")),
        // A sender that broke off, or a network that did: nothing is wrong with the request for good.
        Ok(Err(error)) => {
            let text = format!("body cannot be read: {error}");
            return Err(Answer::refused(ErrorKind::Unavailable, text));
        }
        Err(_) => {
            let text =
                format!("body did not arrive in time: timeout={:?}", receiver.body_timeout());
            return Err(Answer::refused(ErrorKind::Timeout, text));
        }
    };
    Ok((bytes, held))
}

fn is_length_limit(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<LengthLimitError>())
}
