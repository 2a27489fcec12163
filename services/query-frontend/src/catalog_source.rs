//! `CatalogSource`: where the frontend gets the catalog from. The real one follows the controllers.

use std::time::Duration;

use async_trait::async_trait;
use pando_catalog::{CatalogView, wire};
use pando_cluster::CatalogFollower;
use pando_model::CatalogVersion;
use tonic::Status;

/// How long a controller may take to say what it knows.
const NEWEST_TIMEOUT: Duration = Duration::from_secs(5);

/// A catalog that can be pinned.
#[async_trait]
pub trait CatalogSource: Send + Sync + 'static {
    /// Both parts of the catalog at one version, at least `at_least`; waits for it. `None` when
    /// `patience` ends first.
    async fn pin(&self, at_least: CatalogVersion, patience: Duration) -> Option<CatalogView>;

    /// The version that a controller has now. Costs a call: for what the own copy cannot answer.
    ///
    /// # Errors
    /// No controller answers.
    async fn newest(&self) -> Result<CatalogVersion, Status>;
}

#[async_trait]
impl CatalogSource for CatalogFollower {
    async fn pin(&self, at_least: CatalogVersion, patience: Duration) -> Option<CatalogView> {
        CatalogFollower::pin(self, at_least, patience).await
    }

    async fn newest(&self) -> Result<CatalogVersion, Status> {
        let first = async {
            // A watch from nothing begins with everything, at the newest version.
            let mut stream = self.client().watch_routing(CatalogVersion(0)).await?;
            let message = stream.message().await?;
            let message =
                message.ok_or_else(|| Status::unavailable("the controller ended the stream"))?;
            let delta = wire::decode_routing_delta(&message.delta);
            Ok(delta.map_err(|error| pando_rpc::status(error.kind(), error))?.to)
        };
        let silent = |_| Status::unavailable("the controller does not answer");
        tokio::time::timeout(NEWEST_TIMEOUT, first).await.map_err(silent)?
    }
}
