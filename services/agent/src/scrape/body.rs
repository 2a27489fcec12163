//! Fetching a body: one request, unpacked as it comes, never more than the limit in memory.

use std::io::{self, Write as _};
use std::time::Duration;

use flate2::write::MultiGzDecoder;
use pando_model::number::go_quote;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use reqwest::{Response, StatusCode};

use super::limits::ScrapeError;
use super::settings::ScrapeSettings;
use crate::target::Target;

/// What a target answered.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// The body, uncompressed.
    pub(crate) body: Vec<u8>,
    /// Its `Content-Type`, empty where there is none.
    pub(crate) content_type: String,
}

/// Asks `target`, within its timeout for everything.
pub(crate) async fn fetch(
    settings: &ScrapeSettings,
    target: &Target,
) -> Result<Fetched, ScrapeError> {
    let timeout = Duration::from_millis(target.timeout_ms.max(1) as u64);
    match tokio::time::timeout(timeout, ask(settings, target, timeout)).await {
        Ok(result) => result,
        Err(_) => Err(ScrapeError::Timeout { url: target.shown_url.clone() }),
    }
}

async fn ask(
    settings: &ScrapeSettings,
    target: &Target,
    timeout: Duration,
) -> Result<Fetched, ScrapeError> {
    let encoding = if settings.config.enable_compression { "gzip" } else { "identity" };
    let failed =
        |why: String| ScrapeError::Request(format!("Get {}: {why}", go_quote(&target.shown_url)));
    let request = settings.client.get(target.url.clone()).await.map_err(|error| {
        tracing::debug!(job = target.job, kind = ?error.kind(), %error, "no request can be made");
        failed(error.to_string())
    })?;
    let seconds = timeout.as_secs_f64().to_string();
    let request = request
        .header(ACCEPT, &settings.accept)
        .header(ACCEPT_ENCODING, encoding)
        .header("X-Prometheus-Scrape-Timeout-Seconds", seconds);
    let response = request.send().await.map_err(|error| failed(root_cause(&error)))?;
    if response.status() != StatusCode::OK {
        return Err(ScrapeError::Status(response.status().to_string()));
    }
    let header = |name| {
        let value = response.headers().get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or_default().to_string()
    };
    let content_type = header(CONTENT_TYPE);
    let gzip = header(CONTENT_ENCODING).eq_ignore_ascii_case("gzip");
    let limit = settings.body_bytes_limit();
    let body = if gzip { read_gzip(response, limit).await } else { read(response, limit).await };
    Ok(Fetched { body: body?, content_type })
}

async fn read(mut response: Response, limit: usize) -> Result<Vec<u8>, ScrapeError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() >= limit {
            return Err(ScrapeError::BodySize);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

async fn read_gzip(mut response: Response, limit: usize) -> Result<Vec<u8>, ScrapeError> {
    let mut decoder = MultiGzDecoder::new(Limited { body: Vec::new(), limit, exceeded: false });
    let said =
        |decoder: &MultiGzDecoder<Limited>, error: io::Error| match decoder.get_ref().exceeded {
            true => ScrapeError::BodySize,
            false => ScrapeError::Body(format!("gzip: {error}")),
        };
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if let Err(error) = decoder.write_all(&chunk) {
            return Err(said(&decoder, error));
        }
    }
    if let Err(error) = decoder.try_finish() {
        return Err(said(&decoder, error));
    }
    match decoder.finish() {
        Ok(limited) => Ok(limited.body),
        Err(error) => Err(ScrapeError::Body(format!("gzip: {error}"))),
    }
}

/// Takes less than `limit` bytes.
struct Limited {
    body: Vec<u8>,
    limit: usize,
    exceeded: bool,
}

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.body.len() + bytes.len() >= self.limit {
            self.exceeded = true;
            return Err(io::Error::other("body size limit exceeded"));
        }
        self.body.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn broken(error: reqwest::Error) -> ScrapeError {
    ScrapeError::Body(root_cause(&error))
}

/// The innermost reason: what surrounds it only repeats the URL.
pub(crate) fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
