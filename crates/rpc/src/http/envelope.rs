//! Prometheus' JSON envelope for errors.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use pando_model::ErrorKind;

/// An error of an HTTP API: a kind and a message in Prometheus' words.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What it means.
    pub kind: ErrorKind,
    /// What happened.
    pub message: String,
}

impl ApiError {
    /// An error of `kind`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        ApiError { kind, message: message.into() }
    }

    /// A bad parameter, in Prometheus' form.
    pub fn bad_parameter(name: &str, why: impl std::fmt::Display) -> Self {
        ApiError::new(ErrorKind::Invalid, format!("invalid parameter {name:?}: {why}"))
    }
}

impl From<tonic::Status> for ApiError {
    fn from(status: tonic::Status) -> Self {
        ApiError::new(crate::kind_of(&status), status.message())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        error_response(self.kind, &self.message)
    }
}

/// `{"status":"error","errorType":...,"error":...}` with the status of `kind`.
pub fn error_response(kind: ErrorKind, message: &str) -> Response {
    let surface = kind.surface();
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let (error_type, error) = (text(surface.error_type), text(message));
    // By hand: the order of Prometheus' keys.
    let body = format!(r#"{{"status":"error","errorType":{error_type},"error":{error}}}"#);
    let status = StatusCode::from_u16(surface.http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
