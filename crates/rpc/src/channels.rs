//! `Channels`: connections to other members, one per address, made on first use.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pando_model::NodeId;
use parking_lot::Mutex;
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::identity::Identity;
use crate::tls::TlsConfig;
use crate::{CLUSTER_HEADER, RPC_VERSION, TARGET_HEADER, VERSION_HEADER};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Pings find a peer that vanished without a goodbye within about ten seconds.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Two windows of a fragment's batch: enough to keep a stream busy on a local network.
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
/// Addresses with a kept connection; beyond it, the map is emptied (channels in use live on).
const ADDRESSES_MAX: usize = 4096;

/// A connection that adds Pando's headers to each call.
pub type Peer = InterceptedService<Channel, Headers>;

/// Connections to other members. Cloning shares them.
#[derive(Clone)]
pub struct Channels {
    identity: Identity,
    tls: Option<Arc<TlsConfig>>,
    open: Arc<Mutex<HashMap<String, Channel>>>,
}

impl Channels {
    /// No connection yet.
    pub fn new(identity: Identity, tls: Option<TlsConfig>) -> Self {
        Channels { identity, tls: tls.map(Arc::new), open: Arc::default() }
    }

    /// The connection to `address` (host:port). It is made when first used and remade when it breaks. With
    /// `to`, the peer refuses calls that are meant for another node.
    ///
    /// # Errors
    /// Where `address` is not one, or TLS material is not valid.
    pub fn peer(&self, address: &str, to: Option<NodeId>) -> Result<Peer, Status> {
        let channel = self.channel(address)?;
        Ok(InterceptedService::new(channel, Headers { identity: self.identity.clone(), to }))
    }

    fn channel(&self, address: &str) -> Result<Channel, Status> {
        let mut open = self.open.lock();
        if let Some(channel) = open.get(address) {
            return Ok(channel.clone());
        }
        let refused = |e: tonic::transport::Error| {
            Status::invalid_argument(format!("not a member address: address={address:?}: {e}"))
        };
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
            .map_err(refused)?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(2 * STREAM_WINDOW_BYTES)
            .tcp_nodelay(true);
        if let Some(tls) = &self.tls {
            endpoint = endpoint.tls_config(tls.client()).map_err(refused)?;
        }
        let channel = endpoint.connect_lazy();
        if open.len() >= ADDRESSES_MAX {
            open.clear();
        }
        open.insert(address.to_string(), channel.clone());
        Ok(channel)
    }
}

/// Adds version, cluster and target to a call.
#[derive(Clone, Debug)]
pub struct Headers {
    identity: Identity,
    to: Option<NodeId>,
}

impl Interceptor for Headers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let headers = request.metadata_mut();
        let mut put = |name: &'static str, value: String| {
            if let Ok(value) = AsciiMetadataValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        put(VERSION_HEADER, RPC_VERSION.to_string());
        if let Some(cluster) = self.identity.cluster() {
            put(CLUSTER_HEADER, cluster.to_string());
        }
        if let Some(to) = self.to {
            put(TARGET_HEADER, to.to_string());
        }
        Ok(request)
    }
}
