//! Serving HTTP/1 and HTTP/2 with limits on connections, header time and request time.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use pando_runtime::Tasks;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

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

/// Whether the client sends a first byte in time.
async fn speaks(stream: &TcpStream, timeout: Duration) -> bool {
    let first = tokio::time::timeout(timeout, stream.peek(&mut [0])).await;
    matches!(first, Ok(Ok(1..)))
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
    let (open, closing) = watch::channel(());
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
        let (builder, watcher) = (builder.clone(), graceful.watcher());
        let (timeout, mut closing) = (limits.header_timeout, closing.clone());
        tasks.spawn("http connection", async move {
            let _permit = permit;
            // The clock of the headers begins with their first byte.
            let spoken = tokio::select! {
                spoken = speaks(&stream, timeout) => spoken,
                _ = closing.changed() => false,
            };
            if !spoken {
                return;
            }
            let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
            if let Err(error) = watcher.watch(connection.into_owned()).await {
                tracing::debug!(%error, "http connection ended");
            }
        });
    }
    drop((listener, open));
    if tokio::time::timeout(limits.drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("http requests are cut off: drain timeout");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::oneshot;

    use super::*;

    /// A server with room for one connection: its address, and what ends it.
    async fn server(
        header_timeout: Duration,
    ) -> (std::net::SocketAddr, oneshot::Sender<()>, Tasks) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let limits = HttpLimits { connections_max: 1, header_timeout, ..HttpLimits::default() };
        let (stop, stopped) = oneshot::channel();
        let (tasks, router) = (Tasks::new(), Router::new().route("/", get(|| async { "here" })));
        let stopped = async { drop(stopped.await) };
        tasks.spawn("server", serve(listener, router, limits, tasks.clone(), stopped));
        (address, stop, tasks)
    }

    #[tokio::test]
    async fn a_client_that_says_nothing_makes_room_for_the_next() {
        let (address, _stop, _tasks) = server(Duration::from_millis(100)).await;
        let mut silent = TcpStream::connect(address).await.expect("is heard");
        let mut next = TcpStream::connect(address).await.expect("is heard");
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        next.write_all(request).await.expect("it is open");
        let mut answer = String::new();
        next.read_to_string(&mut answer).await.expect("it is answered");
        assert!(answer.ends_with("here"), "{answer}");
        assert_eq!(silent.read(&mut [0]).await.expect("it is closed"), 0);
    }

    #[tokio::test]
    async fn a_client_that_says_nothing_does_not_hold_up_the_end() {
        let (address, stop, tasks) = server(Duration::from_secs(3600)).await;
        let mut silent = TcpStream::connect(address).await.expect("is heard");
        stop.send(()).expect("it runs");
        assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0);
        assert!(tasks.shutdown(Duration::from_secs(60)).await.is_empty());
    }
}
