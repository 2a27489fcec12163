//! `NewestVersion`: asks a controller for the catalog's version, once for all requests that wait at
//! that moment.

use std::time::Duration;

use pando_model::CatalogVersion;
use pando_runtime::SharedClock;
use tokio::sync::Mutex;
use tonic::Status;

use crate::catalog_source::CatalogSource;

/// The last answer. It serves every request that arrived before the question was asked, and no
/// later one: a tenant that got its route since then has to be seen.
#[derive(Debug, Default)]
pub(crate) struct NewestVersion {
    last: Mutex<Option<(Duration, CatalogVersion)>>,
}

impl NewestVersion {
    /// A version that the catalog had reached when, or after, this was called.
    pub(crate) async fn get(
        &self,
        source: &dyn CatalogSource,
        clock: &SharedClock,
    ) -> Result<CatalogVersion, Status> {
        let arrived = clock.monotonic();
        let mut last = self.last.lock().await;
        if let Some((asked, version)) = *last
            && asked > arrived
        {
            return Ok(version);
        }
        let asked = clock.monotonic();
        let version = source.newest().await?;
        *last = Some((asked, version));
        Ok(version)
    }
}
