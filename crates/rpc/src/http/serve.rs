//! Serving HTTP/1 and HTTP/2 with limits on connections, header time and request time.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use pando_runtime::Tasks;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Limits of an HTTP server.
#[derive(Clone, Debug)]
pub struct HttpLimits {
    /// Connections at once; more wait to be accepted (`--web.max-connections`).
    pub connections_max: usize,
    /// How long a client may take to send its headers.
    pub header_timeout: Duration,
    /// How long requests under way may take after the server is told to stop.
    pub drain_timeout: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        HttpLimits {
            connections_max: 512,
            header_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Serves `router` until `stop` is done, then lets requests under way end. A panic in a handler is a bug of
/// ours and ends its connection only.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: HttpLimits,
    tasks: Tasks,
    stop: impl Future<Output = ()>,
) {
    let router = router.layer(tower_http::catch_panic::CatchPanicLayer::new());
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    let graceful = GracefulShutdown::new();
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.header_timeout);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(64 << 10);
    tokio::pin!(stop);
    loop {
        let permit = tokio::select! {
            permit = permits.clone().acquire_owned() => permit,
            () = &mut stop => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, usually: wait for connections to end instead of spinning.
                tracing::warn!(%error, "connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        let connection = graceful.watch(connection.into_owned());
        tasks.spawn("http connection", async move {
            let _permit = permit;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "http connection ended");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("http requests are cut off: drain timeout");
    }
}
