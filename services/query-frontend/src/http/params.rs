//! `Params`: the parameters of a request, from its form and its URL.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use http::{StatusCode, header};
use pando_model::ErrorKind;
use pando_rpc::http::ApiError;
use url::form_urlencoded;

use crate::frontend::Frontend;

const FORM: &str = "application/x-www-form-urlencoded";

/// Parameters in the order in which they count: a form's before the URL's, as in Go's `net/http`.
/// Grafana sends both at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Those of a form and of a URL, which both have sound escapes.
    pub(super) fn new(form: &[u8], url: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(form).chain(form_urlencoded::parse(url));
        Params(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// The first value of `name`, `""` where there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }

    /// All values of `name`.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Whether the caller takes an answer that lacks something.
    pub(super) fn partial_response(&self) -> bool {
        matches!(self.get("partial_response"), "true" | "1")
    }
}

impl FromRequest<Arc<Frontend>> for Params {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Arc<Frontend>) -> Result<Self, ApiError> {
        let url = request.uri().query().unwrap_or("").to_string();
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let is_form = kind.is_some_and(|kind| {
            kind.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case(FORM)
        });
        check_escapes(request.uri().path().as_bytes())?;
        check_escapes(url.as_bytes())?;
        if !is_form {
            return Ok(Params::new(b"", url.as_bytes()));
        }
        let timeout = state.config().form_timeout;
        let body = tokio::time::timeout(timeout, Bytes::from_request(request, state)).await;
        let body = body.map_err(|_| {
            let why = format!("form values did not arrive in time: timeout={timeout:?}");
            ApiError::new(ErrorKind::Timeout, why)
        })?;
        let body = body.map_err(|error| {
            let why = match error.status() {
                StatusCode::PAYLOAD_TOO_LARGE => {
                    format!("form is too large: form_bytes_max={}", state.config().form_bytes_max)
                }
                _ => error.body_text(),
            };
            ApiError::new(ErrorKind::Invalid, format!("error parsing form values: {why}"))
        })?;
        check_escapes(&body)?;
        Ok(Params::new(&body, url.as_bytes()))
    }
}

/// Refuses a `%` that no two hexadecimal digits follow: taken as it is, it would be an operator of an expression.
fn check_escapes(text: &[u8]) -> Result<(), ApiError> {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        rest = &rest[at..];
        let escape = &rest[..rest.len().min(3)];
        if escape.len() < 3 || !escape[1..].iter().all(u8::is_ascii_hexdigit) {
            let escape = String::from_utf8_lossy(escape);
            let why = format!("error parsing form values: invalid URL escape {escape:?}");
            return Err(ApiError::new(ErrorKind::Invalid, why));
        }
        rest = &rest[3..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_that_are_none_are_refused() {
        let refused = |text: &str| check_escapes(text.as_bytes()).err().map(|error| error.message);
        for text in ["", "query=up", "query=a%25b%7D", "%ff%FF"] {
            assert_eq!(refused(text), None, "{text}");
        }
        for (text, escape) in
            [("query=up%zz", "%zz"), ("%%20", "%%2"), ("a%41%2", "%2"), ("%", "%")]
        {
            let why = format!("error parsing form values: invalid URL escape \"{escape}\"");
            assert_eq!(refused(text), Some(why), "{text}");
        }
    }

    #[test]
    fn a_form_counts_before_the_url_and_lists_are_joined() {
        let params = Params::new(
            b"query=a%2Bb+c&match[]=x",
            b"query=other&match%5B%5D=y%7Bz%3D%22%C3%A9%22%7D&stats=all",
        );
        assert_eq!(params.get("query"), "a+b c");
        assert_eq!(params.get("stats"), "all");
        assert_eq!(params.all("match[]").collect::<Vec<_>>(), ["x", "y{z=\"é\"}"]);
        assert_eq!(params.get("absent"), "");
        assert!(!params.partial_response());
    }
}
