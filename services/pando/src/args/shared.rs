//! Groups of flags that several roles share.

use std::net::SocketAddr;

use clap::Args;
use pando_catalog::TenantLimits;
use pando_ingester::IngesterConfig;

/// The smallest disk buffer: a segment has a few batches of a large target.
const BUFFER_BYTES_MIN: u64 = 1 << 20;

#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Web")]
pub(crate) struct WebArgs {
    /// Address (host:port) to listen on for the web interface and API. Can be given more than once.
    #[arg(long = "web.listen-address", default_value = "0.0.0.0:9090")]
    pub(crate) listen_address: Vec<String>,
    /// The URL under which Pando is externally reachable; its path prefixes all HTTP endpoints.
    #[arg(long = "web.external-url", default_value = "")]
    pub(crate) external_url: String,
    /// Enable shutdown and reload via HTTP request.
    #[arg(long = "web.enable-lifecycle")]
    pub(crate) enable_lifecycle: bool,
    /// Enable admin control actions: `pando admin cut` needs it on ingesters, `pando admin seal` and `limits` on
    /// controllers.
    #[arg(long = "web.enable-admin-api")]
    pub(crate) enable_admin_api: bool,
    /// Maximum number of simultaneous connections.
    #[arg(long = "web.max-connections", default_value_t = 512)]
    pub(crate) max_connections: usize,
}

#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "gRPC between members")]
pub(crate) struct GrpcArgs {
    /// Address to listen on for other members.
    #[arg(
        id = "grpc_listen_address",
        long = "grpc.listen-address",
        default_value = "127.0.0.1:9095"
    )]
    pub(crate) listen_address: SocketAddr,
    /// The address (host:port) by which other members reach this one; the listen address where absent.
    #[arg(long = "grpc.advertise-address")]
    pub(crate) advertise_address: Option<String>,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
}

#[derive(Args, Debug, Clone, Default)]
pub(crate) struct TlsArgs {
    /// Certificate chain (PEM) for both directions; with key and CA it switches mutual TLS on.
    #[arg(long = "grpc.tls-cert", requires_all = ["tls_key", "tls_ca"])]
    pub(crate) tls_cert: Option<String>,
    /// Private key (PEM).
    #[arg(long = "grpc.tls-key")]
    pub(crate) tls_key: Option<String>,
    /// Authority that signs all members' certificates (PEM).
    #[arg(long = "grpc.tls-ca")]
    pub(crate) tls_ca: Option<String>,
    /// The name that members' certificates carry.
    #[arg(long = "grpc.tls-server-name", default_value = "pando")]
    pub(crate) tls_server_name: String,
}

#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Log")]
pub(crate) struct LogArgs {
    /// Only log messages with the given severity or above: debug, info, warn, error.
    #[arg(long = "log.level", default_value = "info",
          value_parser = ["debug", "info", "warn", "error"])]
    pub(crate) level: String,
    /// Output format of log messages: logfmt (text) or json.
    #[arg(long = "log.format", default_value = "logfmt", value_parser = ["logfmt", "json"])]
    pub(crate) format: String,
}

#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ClusterArgs {
    /// The gRPC addresses of all controllers (one or three), separated by commas; for `pando all` those of
    /// all the cluster's processes. Absent: this process alone.
    #[arg(long = "cluster.controllers", value_delimiter = ',')]
    pub(crate) controllers: Vec<String>,
    /// The failure domain of this member.
    #[arg(long = "cluster.zone", default_value = "")]
    pub(crate) zone: String,
}

#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Storage")]
pub(crate) struct StorageArgs {
    /// Base path for this member's own data: log, identity, caches.
    #[arg(long = "storage.tsdb.path", visible_alias = "storage.path", default_value = "data/")]
    pub(crate) path: String,
}

#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Object store")]
pub(crate) struct StoreArgs {
    /// File with the object store's configuration in the form of Thanos' objstore.yml (type:, config:).
    /// Absent: the folder `bucket` below the storage path; with `pando block`, its argument is a file or a URL.
    #[arg(id = "objstore_config_file", long = "objstore.config-file")]
    pub(crate) config_file: Option<String>,
}

#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Agent")]
pub(crate) struct AgentArgs {
    /// Prometheus configuration file path.
    #[arg(long = "config.file", default_value = "prometheus.yml")]
    pub(crate) config_file: String,
    /// The tenant that scraped series belong to.
    #[arg(long = "agent.tenant", default_value = "default")]
    pub(crate) tenant: String,
    /// Agents of one group have the same configuration and share its targets. Default: the tenant.
    #[arg(long = "agent.group")]
    pub(crate) group: Option<String>,
    /// Bytes of the disk buffer for what cannot be shipped: 0 (none), or at least 1 MiB.
    #[arg(long = "agent.buffer-bytes", default_value_t = 2 << 30, value_parser = buffer_bytes)]
    pub(crate) buffer_bytes: u64,
}

fn buffer_bytes(text: &str) -> Result<u64, String> {
    let bytes: u64 = text.parse().map_err(|_| "not a number of bytes".to_string())?;
    match bytes {
        1..BUFFER_BYTES_MIN => Err(format!("less than {BUFFER_BYTES_MIN} bytes")),
        _ => Ok(bytes),
    }
}

#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Ingester")]
pub(crate) struct IngesterArgs {
    /// How often a generation is cut, uploaded and committed as a block.
    #[arg(long = "ingester.cut-interval", default_value = "10m")]
    pub(crate) cut_interval: String,
    /// Bytes of compressed samples after which a generation is cut early. Default: 256 MiB, or a quarter of
    /// --ingester.memory-bytes or --ingester.disk-bytes where that is less.
    #[arg(long = "ingester.cut-bytes")]
    pub(crate) cut_bytes: Option<u64>,
    /// Bytes of disk that log and checkpoints may take; writes are refused (503) above it.
    #[arg(long = "ingester.disk-bytes", default_value_t = IngesterConfig::DISK_BYTES)]
    pub(crate) disk_bytes: u64,
    /// Bytes that stay free on the file system of the data directory; writes are refused (503) below it.
    #[arg(long = "ingester.disk-reserve-bytes",
          default_value_t = IngesterConfig::DISK_RESERVE_BYTES)]
    pub(crate) disk_reserve_bytes: u64,
    /// Bytes of memory that series, streams and samples may take, estimated every 2 s; writes are refused (503)
    /// above it. 0: three quarters of the memory that this process may use (cgroup or machine).
    #[arg(long = "ingester.memory-bytes", default_value_t = 0)]
    pub(crate) memory_bytes: u64,
    /// How long a query may run at the most: a committed generation stays in memory for it. Not to be below the
    /// --query.timeout of any query frontend. Default: that of the same process, else 2m.
    #[arg(long = "ingester.query-timeout")]
    pub(crate) query_timeout: Option<String>,
}

#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Query")]
pub(crate) struct QueryArgs {
    /// The maximum lookback duration for retrieving metrics during expression evaluations.
    #[arg(long = "query.lookback-delta", default_value = "5m")]
    pub(crate) lookback_delta: String,
    /// Maximum time a query may take before being aborted. Not to be above the --ingester.query-timeout of
    /// any ingester and the --compactor.delete-delay of the controllers.
    #[arg(id = "engine_timeout", long = "query.timeout", default_value = "2m")]
    pub(crate) timeout: String,
    /// Maximum number of queries executed concurrently.
    #[arg(long = "query.max-concurrency", default_value_t = 20)]
    pub(crate) max_concurrency: usize,
    /// Range queries are asked for in parts whose steps are in one interval of this length, each of which may run on
    /// another member, unless they would read the same blocks; 0s: as a whole.
    #[arg(long = "query.split-interval", default_value = "24h")]
    pub(crate) split_interval: String,
    /// The step of subqueries that name none, whatever a configuration says. Default: global.evaluation_interval where
    /// this process reads a --config.file, else 1m.
    #[arg(long = "query.default-evaluation-interval")]
    pub(crate) evaluation_interval: Option<String>,
    /// Maximum number of samples a single query can load into memory.
    #[arg(long = "query.max-samples", default_value_t = 50_000_000)]
    pub(crate) max_samples: u64,
    /// Features to enable, separated by commas (promql-experimental-functions ...).
    #[arg(long = "enable-feature", value_delimiter = ',')]
    pub(crate) features: Vec<String>,
}

#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Controller")]
pub(crate) struct ControllerArgs {
    /// How long to retain samples in storage; units: y, w, d, h, m, s, ms; 0s for ever. Without it and without
    /// a maximal size nothing is ever deleted.
    #[arg(long = "storage.tsdb.retention.time", default_value = "0s")]
    pub(crate) retention_time: String,
    /// Maximum number of bytes that all tenants' blocks may take in the object store; beyond it the oldest are
    /// deleted. Units, based on powers of 2: B, KB, MB, GB, TB, PB, EB; 0 for no limit.
    #[arg(long = "storage.tsdb.retention.size", default_value = "0")]
    pub(crate) retention_size: String,
    /// Replicas of each shard: 1 or 3. Default: as many as there are controllers.
    #[arg(long = "controller.replication-factor")]
    pub(crate) replication_factor: Option<usize>,
    /// Open shards that a new cluster begins with, at most 4096.
    #[arg(long = "controller.shards", default_value_t = 1)]
    pub(crate) shards: usize,
    /// Key ranges that a new tenant begins with, at most 4096.
    #[arg(long = "controller.tenant-ranges", default_value_t = 1)]
    pub(crate) tenant_ranges: usize,
    /// How often the bucket is searched for blocks of uploads that died, which are deleted when they are three
    /// days old; 0s for never.
    #[arg(long = "controller.orphan-interval", default_value = "24h")]
    pub(crate) orphan_interval: String,
    /// How long a replaced block's object is kept: queries that began before may still read it. Not to be below
    /// the --query.timeout of any query frontend.
    #[arg(long = "compactor.delete-delay", default_value = "2h")]
    pub(crate) delete_delay: String,
    /// Blocks younger than this are left alone: members serve them from their own caches.
    #[arg(long = "compactor.min-block-age", default_value = "3h")]
    pub(crate) min_block_age: String,
    // Last: its heading holds for what follows.
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
}

/// Of tenants without limits of their own (`pando admin limits`).
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Limits of a tenant")]
pub(crate) struct LimitArgs {
    /// How much older than its tenant's newest sample a sample may be.
    #[arg(long = "limits.out-of-order-time-window", default_value = "3h")]
    pub(crate) out_of_order_time_window: String,
    /// Active series of one tenant in the whole cluster; each of the tenant's shards takes an equal share of
    /// them. 0 for no limit.
    #[arg(long = "limits.max-series-per-tenant",
          default_value_t = TenantLimits::DEFAULT.series_max)]
    pub(crate) max_series: u64,
    /// Samples a second of one tenant that receivers take in the whole cluster, each an equal share; what is
    /// above it is answered with 429. 0 for no limit.
    #[arg(long = "limits.samples-per-second",
          default_value_t = TenantLimits::DEFAULT.samples_per_s_max)]
    pub(crate) samples_per_second: u64,
    /// Labels of one series, up to 1024.
    #[arg(long = "limits.max-labels-per-series",
          default_value_t = TenantLimits::DEFAULT.labels_per_series_max,
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) max_labels: u32,
    /// Bytes of one label's name, up to 1 MiB.
    #[arg(long = "limits.max-label-name-bytes",
          default_value_t = TenantLimits::DEFAULT.label_name_bytes_max,
          value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub(crate) max_name_bytes: u32,
    /// Bytes of one label's value, up to 1 MiB.
    #[arg(long = "limits.max-label-value-bytes",
          default_value_t = TenantLimits::DEFAULT.label_value_bytes_max,
          value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub(crate) max_value_bytes: u32,
}
