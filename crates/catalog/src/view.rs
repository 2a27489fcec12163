//! `CatalogView`: both streams at one version: what a query pins (INV-5).

use std::sync::Arc;

use pando_model::CatalogVersion;

use crate::blocks_view::BlocksView;
use crate::routing_view::RoutingView;

/// The catalog at one version, for a reader.
#[derive(Clone, Debug)]
pub struct CatalogView {
    /// The version.
    pub version: CatalogVersion,
    /// Nodes, shards, routes and tenants.
    pub routing: Arc<RoutingView>,
    /// Blocks, deletes and live cuts.
    pub blocks: Arc<BlocksView>,
}

impl CatalogView {
    /// Pins both parts at one version; `None` where they have none in common: wait for the part
    /// that lags.
    ///
    /// A part looks the same at every version from its `changed` to its `version`, so that parts
    /// fit together though their streams arrived at different moments.
    pub fn pin(routing: &Arc<RoutingView>, blocks: &Arc<BlocksView>) -> Option<CatalogView> {
        let version = routing.version().min(blocks.version());
        let fits = routing.changed() <= version && blocks.changed() <= version;
        (fits && version != CatalogVersion(0)).then(|| CatalogView {
            version,
            routing: routing.clone(),
            blocks: blocks.clone(),
        })
    }
}
