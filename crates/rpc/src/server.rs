//! `GrpcServer`: all gRPC services of a process on one listener, behind one check of identity.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pando_model::{ClusterId, ErrorKind, NodeId};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tower::Service;

use crate::error::status;
use crate::identity::Identity;
use crate::tls::TlsConfig;
use crate::{CLUSTER_HEADER, RPC_VERSION, TARGET_HEADER, VERSION_HEADER};

/// Requests that one connection may have under way.
const STREAMS_PER_CONNECTION_MAX: u32 = 1024;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// An unfinished reset flood is cut off here.
const PENDING_RESETS_MAX: usize = 64;
const HEADER_LIST_BYTES_MAX: u32 = 16 << 10;
/// The one call that a process without a cluster may make and answer.
const HELLO_PATH: &str = "/pando.v1.Controller/Hello";

/// Binds a listener; port 0 takes a free one.
///
/// # Errors
/// The operating system's, naming the address.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|e| {
        std::io::Error::new(e.kind(), format!("cannot listen: address={address}: {e}"))
    })
}

/// The gRPC side of a process. Services may be added while it serves: a process answers for itself before it
/// knows its cluster. Cloning shares the services.
#[derive(Clone)]
pub struct GrpcServer {
    identity: Identity,
    tls: Option<TlsConfig>,
    routes: Arc<Mutex<Routes>>,
}

impl GrpcServer {
    /// A server without services.
    pub fn new(identity: Identity, tls: Option<TlsConfig>) -> Self {
        GrpcServer { identity, tls, routes: Arc::default() }
    }

    /// Adds a service; wrap generated servers with [`limited!`](crate::limited).
    pub fn add<S>(&self, service: S) -> &Self
    where
        S: Service<http::Request<Body>, Error = std::convert::Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Response: axum::response::IntoResponse,
        S::Future: Send + 'static,
    {
        let mut routes = self.routes.lock();
        *routes = std::mem::take(&mut *routes).add_service(service);
        self
    }

    /// Serves until `stop` is done, then lets calls under way end.
    ///
    /// # Errors
    /// Bad TLS material, or a broken listener.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        let identity = self.identity.clone();
        let check =
            tower::layer::layer_fn(move |inner| Checked { inner, identity: identity.clone() });
        let mut server = Server::builder()
            .concurrency_limit_per_connection(STREAMS_PER_CONNECTION_MAX as usize)
            .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
            .http2_max_header_list_size(HEADER_LIST_BYTES_MAX);
        if let Some(tls) = &self.tls {
            server = server.tls_config(tls.server())?;
        }
        let current = Current { routes: self.routes };
        // The builder's `tcp_nodelay` is ignored for a listener that is handed in, and the end of a streamed answer may
        // then wait for the acknowledgement of what went before.
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        server
            .layer(check)
            .add_routes(Routes::from(axum::Router::new().fallback_service(current)))
            .serve_with_incoming_shutdown(incoming, stop)
            .await
    }
}

/// The services that there are when a call comes in.
#[derive(Clone)]
struct Current {
    routes: Arc<Mutex<Routes>>,
}

impl Service<http::Request<axum::body::Body>> for Current {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = std::pin::Pin<
        Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send + 'static>,
    >;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<axum::body::Body>) -> Self::Future {
        let mut routes = self.routes.lock().clone();
        Box::pin(async move {
            let answered = routes.call(request).await;
            Ok(answered.unwrap_or_else(|_| status(ErrorKind::Internal, "no answer").into_http()))
        })
    }
}

/// Refuses calls of another cluster, for another node or of another version before any service sees them.
#[derive(Clone)]
struct Checked<S> {
    inner: S,
    identity: Identity,
}

impl<S> Service<http::Request<Body>> for Checked<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = std::pin::Pin<
        Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send + 'static>,
    >;

    fn poll_ready(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match check(&self.identity, &request) {
            Ok(()) => Box::pin(self.inner.call(request)),
            Err(refused) => Box::pin(async move { Ok(refused.into_http()) }),
        }
    }
}

fn check(identity: &Identity, request: &http::Request<Body>) -> Result<(), tonic::Status> {
    let header = |name| request.headers().get(name).and_then(|v| v.to_str().ok());
    let theirs = header(VERSION_HEADER).unwrap_or("none");
    if theirs != RPC_VERSION.to_string() {
        let text = format!("unknown rpc version: theirs={theirs} ours={RPC_VERSION}");
        return Err(status(ErrorKind::Unsupported, text));
    }
    if let Some(to) = header(TARGET_HEADER)
        && NodeId::parse(to) != Some(identity.node())
    {
        let text = format!("call is for another node: meant={to} here={}", identity.node());
        return Err(status(ErrorKind::Forbidden, text));
    }
    if request.uri().path() == HELLO_PATH {
        return Ok(());
    }
    let Some(ours) = identity.cluster() else {
        return Err(status(ErrorKind::Unavailable, "this member has not joined a cluster yet"));
    };
    match header(CLUSTER_HEADER).and_then(ClusterId::parse) {
        Some(theirs) if theirs == ours => Ok(()),
        theirs => {
            let theirs = theirs.map_or("none".to_string(), |c| c.to_string());
            let text = format!("call is for another cluster: theirs={theirs} ours={ours}");
            Err(status(ErrorKind::Forbidden, text))
        }
    }
}
