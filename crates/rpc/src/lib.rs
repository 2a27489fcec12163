//! The one place that builds clients and servers: limits, deadlines, cluster id, tenant, TLS.
//!
//! It knows nothing of any service's messages. Every gRPC call carries three headers:
//!
//! ```text
//! pando-rpc      version of the RPC conventions, 1
//! pando-cluster  cluster id, 16 hex digits; absent only in Controller.Hello
//! pando-to       node id that the caller means, where it means one: addresses are reused, node ids never
//! ```

pub mod channels;
pub mod error;
pub mod http;
pub mod identity;
pub mod server;
pub mod tls;

pub use channels::{Channels, Peer};
pub use error::{kind_of, status};
pub use identity::Identity;
pub use server::{GrpcServer, bind};
pub use tls::TlsConfig;

/// The version of the RPC conventions that this process speaks.
pub const RPC_VERSION: u32 = 1;
/// The largest gRPC message either way, decoded. A Raft message carries one proposal, which gathers a few
/// write blocks of at most ~1 MiB each; a fragment's batch is cut at 4 MiB.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

pub(crate) const VERSION_HEADER: &str = "pando-rpc";
pub(crate) const CLUSTER_HEADER: &str = "pando-cluster";
pub(crate) const TARGET_HEADER: &str = "pando-to";

/// Wraps a generated server so that it has the limits that every service has.
#[macro_export]
macro_rules! limited {
    ($service:expr) => {
        $service
            .max_decoding_message_size($crate::MESSAGE_BYTES_MAX)
            .max_encoding_message_size($crate::MESSAGE_BYTES_MAX)
    };
}
