//! `Base`: what every process has, whatever its roles.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use pando_cluster::ControllerClient;
use pando_consensus::{Host, RaftService};
use pando_model::ErrorKind;
use pando_proto::v1::raft_server::RaftServer;
use pando_rpc::{Channels, GrpcServer, Identity, TlsConfig, bind, limited};
use pando_runtime::disk::{Disk, LossyDisk, OsDisk};
use pando_runtime::process::ProcessMetrics;
use pando_runtime::{Lifecycle, MetricsRegistry, Phase, Rng, SharedClock, SystemClock, Tasks};
use tokio::net::TcpListener;

use crate::args::TlsArgs;
use crate::build_info;
use crate::data_dir::DataDir;
use crate::object_stores::{self, Store};
use crate::run::plan::Plan;

/// How long tasks may take to end.
const TASKS_GRACE: Duration = Duration::from_secs(10);

/// What every process has.
pub(crate) struct Base {
    pub(crate) data: DataDir,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: SharedClock,
    pub(crate) rng: Rng,
    pub(crate) tasks: Tasks,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) metrics: MetricsRegistry,
    pub(crate) identity: Identity,
    pub(crate) channels: Channels,
    pub(crate) client: ControllerClient,
    pub(crate) grpc: GrpcServer,
    pub(crate) host: Arc<OnceLock<Host>>,
    pub(crate) store: Option<Store>,
    /// Taken by whoever serves HTTP.
    pub(crate) http: parking_lot::Mutex<Vec<TcpListener>>,
}

impl Base {
    /// Opens the data directory and the listeners, and begins to serve gRPC.
    pub(crate) async fn open(plan: &Plan) -> Result<Self> {
        pando_rpc::tls::install_provider();
        let rng = Rng::system();
        let http = http_listeners(&plan.web.listen_address).await?;
        let listens = http.iter().filter_map(|http| http.local_addr().ok());
        let lossy = std::env::var("PANDO_TEST_LOSSY_DISK").unwrap_or_default();
        let disk = disk(&lossy, listens.chain([plan.grpc.listen_address]))?;
        let data = DataDir::open(&plan.storage.path, &*disk, &rng)?;
        let store = match &plan.store {
            Some(args) => Some(object_stores::open(args.config_file.as_deref(), data.path())?),
            None => None,
        };
        if let Some(store) = store.as_ref().filter(|store| !store.shared && plan.is_clustered()) {
            bail!(
                "more than one process needs a store that all of them reach: a local directory is not one \
                 (path={}); give --objstore.config-file",
                store.described
            );
        }
        let tls = tls(&plan.grpc.tls)?;
        let identity = Identity::new(data.node);
        let channels = Channels::new(identity.clone(), tls.clone());
        let client = ControllerClient::new(channels.clone(), plan.controllers());
        let base = Base {
            disk,
            clock: SystemClock::shared(),
            rng,
            tasks: Tasks::new(),
            lifecycle: Lifecycle::new(),
            metrics: MetricsRegistry::new(),
            grpc: GrpcServer::new(identity.clone(), tls),
            identity,
            channels,
            client,
            host: Arc::default(),
            store,
            http: parking_lot::Mutex::new(http),
            data,
        };
        build_info::register(&base.metrics);
        base.metrics.collect(Box::new(ProcessMetrics::default()));
        base.grpc.add(limited!(RaftServer::new(RaftService::new(base.host.clone()))));
        let listener = bind(plan.grpc.listen_address).await?;
        base.serve_grpc(listener);
        tracing::info!(
            role = plan.name,
            node = %base.data.node,
            start = %base.data.epoch,
            grpc = %plan.grpc.listen_address,
            http = plan.web.listen_address.join(","),
            store = base.store.as_ref().map(|s| s.described.as_str()),
            version = build_info::VERSION,
            revision = build_info::REVISION,
            "pando starts"
        );
        Ok(base)
    }

    fn serve_grpc(&self, listener: TcpListener) {
        let (server, lifecycle) = (self.grpc.clone(), self.lifecycle.clone());
        self.tasks.spawn("grpc server", async move {
            // Other members' calls are answered until everything is flushed.
            let stop = async move { lifecycle.reached(Phase::Stopped).await };
            if let Err(error) = server.serve(listener, stop).await {
                tracing::error!(%error, "grpc server has ended");
            }
        });
    }

    /// The object store of a role that has one.
    pub(crate) fn store(&self) -> Result<Arc<dyn object_store::ObjectStore>> {
        let store = self.store.as_ref().context("this role has an object store")?;
        Ok(store.store.clone())
    }

    /// Ends everything.
    pub(crate) async fn end(&self) {
        self.lifecycle.advance(Phase::Stopped);
        if let Some(host) = self.host.get() {
            host.shutdown().await;
        }
        let laggards = self.tasks.shutdown(TASKS_GRACE).await;
        if !laggards.is_empty() {
            tracing::warn!(?laggards, kind = ?ErrorKind::Timeout, "tasks did not end in time");
        }
        tracing::info!("pando has ended");
    }
}

/// The disk. `PANDO_TEST_LOSSY_DISK=1` makes one that loses what was not synced when the process is killed, as
/// a power cut does; `=2` one that lies about syncing, too. For tests of durability alone, of the binary that is
/// shipped: where others than this machine reach the process, it does not start.
fn disk(value: &str, listens: impl IntoIterator<Item = SocketAddr>) -> Result<Arc<dyn Disk>> {
    if !value.is_empty() {
        if let Some(address) = listens.into_iter().find(|address| !address.ip().is_loopback()) {
            bail!(
                "PANDO_TEST_LOSSY_DISK={value} is for tests on loopback alone: acknowledged samples would be lost \
                 (listens on {address})"
            );
        }
        tracing::warn!(
            PANDO_TEST_LOSSY_DISK = value,
            "this process may lose acknowledged samples: its environment asks for the disk of durability tests"
        );
    }
    Ok(match value {
        "1" => Arc::new(LossyDisk::new(Arc::new(OsDisk))),
        "2" => Arc::new(LossyDisk::lying(Arc::new(OsDisk))),
        _ => Arc::new(OsDisk),
    })
}

async fn http_listeners(addresses: &[String]) -> Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        listeners.push(bind(http_address(address).await?).await?);
    }
    Ok(listeners)
}

/// The address behind host:port. Like Prometheus, `:9090` means every interface, and of the addresses of a host's
/// name the first one counts, IPv4 before IPv6.
async fn http_address(text: &str) -> Result<SocketAddr> {
    let full = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_string() };
    let wrong = || format!("--web.listen-address is not host:port: {text:?}");
    let found: Vec<SocketAddr> =
        tokio::net::lookup_host(&full).await.with_context(wrong)?.collect();
    let first = found.iter().find(|a| a.is_ipv4()).or(found.first());
    first.copied().with_context(wrong)
}

/// Mutual TLS, where the flags ask for it.
pub(crate) fn tls(args: &TlsArgs) -> Result<Option<TlsConfig>> {
    let Some(cert) = &args.tls_cert else { return Ok(None) };
    let read = |flag: &str, path: &Option<String>| {
        let path = path.as_ref().with_context(|| format!("{flag} is missing"))?;
        std::fs::read_to_string(path).with_context(|| format!("cannot read {flag}={path}"))
    };
    Ok(Some(TlsConfig {
        cert_pem: read("--grpc.tls-cert", &Some(cert.clone()))?,
        key_pem: read("--grpc.tls-key", &args.tls_key)?,
        ca_pem: read("--grpc.tls-ca", &args.tls_ca)?,
        server_name: args.tls_server_name.clone(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_loses_samples_is_for_loopback_alone() {
        let (here, everywhere) =
            (SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([0; 4], 1)));
        for value in ["", "1", "2"] {
            assert!(disk(value, [here, here]).is_ok(), "value={value:?}");
        }
        assert!(disk("", [here, everywhere]).is_ok());
        for value in ["1", "2", "yes"] {
            let error = disk(value, [here, everywhere]).err().expect("refused").to_string();
            assert!(
                error.contains("PANDO_TEST_LOSSY_DISK") && error.contains("0.0.0.0:1"),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn listen_addresses_are_prometheus_own() {
        let of = async |text: &str| http_address(text).await.map(|a| a.to_string()).ok();
        assert_eq!(of(":9090").await.as_deref(), Some("0.0.0.0:9090"));
        assert_eq!(of("[::1]:9090").await.as_deref(), Some("[::1]:9090"));
        assert_eq!(of("localhost:9090").await.as_deref(), Some("127.0.0.1:9090"));
        assert_eq!(of("9090").await, None);
    }

    #[tokio::test]
    async fn every_listen_address_is_listened_on() {
        let two = ["127.0.0.1:0".to_string(), "localhost:0".to_string()];
        let listeners = http_listeners(&two).await.expect("free ports");
        for listener in &listeners {
            tokio::net::TcpStream::connect(listener.local_addr().expect("address"))
                .await
                .expect("is heard");
        }
        assert_eq!(listeners.len(), 2);
    }
}
