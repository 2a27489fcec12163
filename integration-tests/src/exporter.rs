//! `Exporter`: a scripted target. It answers each scraper's n-th scrape of a path with the n-th reply of the
//! path's script, and goes on with the last one.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream;
use tokio::task::JoinSet;

/// The type of Prometheus' text format.
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The type of the text format with names in UTF-8.
pub const TEXT_UTF8: &str = "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8";
/// The type of OpenMetrics.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Paths remember so many request times for each scraper.
const TIMES_MAX: usize = 10_000;

/// What a scrape is answered with.
#[derive(Clone, Debug)]
pub enum Reply {
    /// 200 with this type (none where empty) and body.
    Body(&'static str, String),
    /// As [`Reply::Body`] in the text format, packed with gzip where the scraper takes that.
    Gzip(String),
    /// A status and a body that is not to be read.
    Status(u16, String),
    /// 200 and this beginning of a body, then the connection breaks.
    Broken(String),
    /// Nothing, for this long.
    Hang(Duration),
    /// 200 and a body that never ends, made of this text.
    Endless(&'static str),
    /// 200 and these bytes, said to be gzip of the text format.
    Packed(Bytes),
}

impl Reply {
    /// A body in Prometheus' text format.
    pub fn text(body: impl Into<String>) -> Self {
        Reply::Body(TEXT, body.into())
    }
}

/// Who scrapes, by the first word of its `User-Agent`, such as `Prometheus` or `Pando`.
type Scraper = String;

#[derive(Default)]
struct Seen {
    /// (scraper, path) -> wall times of its scrapes, ms.
    times: BTreeMap<(Scraper, String), Vec<i64>>,
    /// (scraper, path) -> the last query string.
    queries: BTreeMap<(Scraper, String), String>,
}

struct Shared {
    scripts: Mutex<BTreeMap<String, Vec<Reply>>>,
    seen: Mutex<Seen>,
}

/// A running exporter. Dropping it ends it.
pub struct Exporter {
    /// host:port.
    pub address: String,
    shared: Arc<Shared>,
    _server: JoinSet<()>,
}

impl Exporter {
    /// Serves `scripts`, by path.
    ///
    /// # Errors
    /// Loopback has no port.
    pub async fn start(scripts: impl IntoIterator<Item = (String, Vec<Reply>)>) -> Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let shared = Arc::new(Shared {
            scripts: Mutex::new(scripts.into_iter().collect()),
            seen: Mutex::default(),
        });
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let mut server = JoinSet::new();
        server.spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Exporter { address, shared, _server: server })
    }

    /// Puts another script in the place of a path's.
    pub fn script(&self, path: &str, replies: Vec<Reply>) {
        locked(&self.shared.scripts).insert(path.to_string(), replies);
    }

    /// How often `scraper` has scraped `path`.
    pub fn count(&self, scraper: &str, path: &str) -> usize {
        self.times_ms(scraper, path).len()
    }

    /// When `scraper` has scraped `path`, ms since the epoch.
    pub fn times_ms(&self, scraper: &str, path: &str) -> Vec<i64> {
        let key = (scraper.to_string(), path.to_string());
        locked(&self.shared.seen).times.get(&key).cloned().unwrap_or_default()
    }

    /// The query string of the last scrape of `path` by `scraper`.
    pub fn query(&self, scraper: &str, path: &str) -> Option<String> {
        let key = (scraper.to_string(), path.to_string());
        locked(&self.shared.seen).queries.get(&key).cloned()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().path().to_string();
    let scraper = scraper_of(request.headers());
    let query = request.uri().query().unwrap_or_default().to_string();
    let reply = {
        let scripts = locked(&shared.scripts);
        let Some(script) = scripts.get(&path) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let mut seen = locked(&shared.seen);
        seen.queries.insert((scraper.clone(), path.clone()), query);
        let times = seen.times.entry((scraper, path)).or_default();
        if times.len() < TIMES_MAX {
            times.push(crate::now_ms());
        }
        script.get(times.len() - 1).or(script.last()).cloned()
    };
    match reply {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(reply) => respond(reply, request.headers()).await,
    }
}

fn scraper_of(headers: &HeaderMap) -> String {
    let agent = headers.get(USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    agent.split('/').next().unwrap_or_default().to_string()
}

async fn respond(reply: Reply, headers: &HeaderMap) -> Response {
    match reply {
        Reply::Body("", body) => body_of(Response::builder(), Body::from(body)),
        Reply::Body(kind, body) => typed(kind, Body::from(body)),
        Reply::Gzip(body) => {
            let accepted = headers.get(ACCEPT_ENCODING).and_then(|v| v.to_str().ok());
            match accepted.is_some_and(|v| v.contains("gzip")) {
                true => packed(gzip(body.as_bytes()).into()),
                false => typed(TEXT, Body::from(body)),
            }
        }
        Reply::Status(status, body) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, body).into_response()
        }
        Reply::Broken(beginning) => {
            // The beginning has to be under way before the end: a client that got nothing asks again.
            let parts = stream::unfold(Some(beginning), |part| async move {
                match part {
                    Some(beginning) => Some((Ok(Bytes::from(beginning)), None)),
                    None => {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        Some((Err(std::io::Error::other("broken on purpose")), None))
                    }
                }
            });
            typed(TEXT, Body::from_stream(parts))
        }
        Reply::Hang(time) => {
            tokio::time::sleep(time).await;
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
        Reply::Endless(text) => {
            let part = Bytes::from(text.repeat((1 << 16) / text.len().max(1)));
            let parts = stream::repeat_with(move || Ok::<_, std::io::Error>(part.clone()));
            typed(TEXT, Body::from_stream(parts))
        }
        Reply::Packed(bytes) => packed(bytes),
    }
}

fn typed(kind: &'static str, body: Body) -> Response {
    body_of(Response::builder().header(CONTENT_TYPE, kind), body)
}

fn packed(bytes: Bytes) -> Response {
    let head = Response::builder().header(CONTENT_TYPE, TEXT).header(CONTENT_ENCODING, "gzip");
    body_of(head, Body::from(bytes))
}

fn body_of(head: axum::http::response::Builder, body: Body) -> Response {
    head.body(body).unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// `bytes`, packed.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

/// A gzip stream of little more than `1/1000` of the bytes it unpacks to: `members` times 16 MiB of `byte`.
///
/// # Errors
/// Never: memory takes all.
pub fn gzip_bomb(byte: u8, members: usize) -> Result<Bytes> {
    let plain = vec![byte; 1 << 20];
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for _ in 0..16 {
        encoder.write_all(&plain)?;
    }
    let member = encoder.finish().context("memory takes all")?;
    Ok(member.repeat(members).into())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
