//! `SeriesPlace`: the order of series in a block: tenant, metric name, key, labels.
//!
//! A metric is one run of rows, within it a key range is one run, and a target's series are
//! neighbours.

use std::cmp::Ordering;

use pando_model::{Labels, SeriesKey, TenantId};

/// Where a series stands in a block. Equal places are one series.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SeriesPlace {
    pub(crate) tenant: TenantId,
    pub(crate) key: SeriesKey,
    pub(crate) labels: Labels,
}

impl Ord for SeriesPlace {
    fn cmp(&self, other: &Self) -> Ordering {
        self.tenant
            .cmp(&other.tenant)
            .then_with(|| self.labels.metric_name().cmp(other.labels.metric_name()))
            .then_with(|| self.key.cmp(&other.key))
            .then_with(|| self.labels.cmp(&other.labels))
    }
}

impl PartialOrd for SeriesPlace {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
