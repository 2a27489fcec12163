//! `Tenant`: a tenant's route, limits and retention.

use std::sync::Arc;

use pando_model::TenantId;

use crate::route::Route;

/// What a tenant may do. 0 means no limit, but for the out-of-order window, where it means none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TenantLimits {
    /// Active series in the whole cluster.
    pub series_max: u64,
    /// Samples a second in the whole cluster.
    pub samples_per_s_max: u64,
    /// How far behind its tenant's newest sample a sample may be, ms.
    pub ooo_window_ms: u64,
    /// Labels of one series.
    pub labels_per_series_max: u32,
    /// Bytes of a label's name.
    pub label_name_bytes_max: u32,
    /// Bytes of a label's value.
    pub label_value_bytes_max: u32,
    /// Samples that one query may read.
    pub query_samples_max: u64,
}

impl TenantLimits {
    /// 5,000,000 series; 3 h out of order (longer than the agents' buffer of 2 h takes to drain); what
    /// Prometheus accepts is accepted, up to 1,024 labels (the most that a write block holds), 64 KiB
    /// names and values.
    pub const DEFAULT: Self = TenantLimits {
        series_max: 5_000_000,
        samples_per_s_max: 0,
        ooo_window_ms: 3 * 3_600_000,
        labels_per_series_max: 1_024,
        label_name_bytes_max: 64 << 10,
        label_value_bytes_max: 64 << 10,
        query_samples_max: 0,
    };
}

impl Default for TenantLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A tenant as the catalog knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tenant {
    /// Its name.
    pub id: TenantId,
    /// Where its keys go; `None` before its first sight.
    pub route: Option<Arc<Route>>,
    /// Its own limits; `None`: the defaults apply.
    pub limits: Option<TenantLimits>,
    /// Its own retention, ms, 0 for ever; `None`: the default applies.
    pub retention_ms: Option<u64>,
}

impl Tenant {
    pub(crate) fn new(id: TenantId) -> Self {
        Tenant { id, route: None, limits: None, retention_ms: None }
    }
}
