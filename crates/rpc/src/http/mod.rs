//! HTTP servers and clients: connection limits, deadlines, the tenant of a request, Prometheus' envelope for
//! errors, and the endpoints that every role has.

mod common;
mod envelope;
mod metrics_text;
mod serve;
mod tenant;

pub use common::{CommonState, common_routes};
pub use envelope::{ApiError, error_response};
pub use serve::{HttpLimits, serve};
pub use tenant::{TENANT_HEADER, Tenant};
