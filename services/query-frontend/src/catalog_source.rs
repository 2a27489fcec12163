//! `CatalogSource`: where the frontend gets the catalog from. The real one follows the controllers.

use std::time::Duration;

use async_trait::async_trait;
use pando_catalog::CatalogView;
use pando_cluster::CatalogFollower;
use pando_model::CatalogVersion;
use tonic::Status;

/// A catalog that can be pinned.
#[async_trait]
pub trait CatalogSource: Send + Sync + 'static {
    /// Both parts of the catalog at one version, at least `at_least`; waits for it. `None` when
    /// `patience` ends first.
    async fn pin(&self, at_least: CatalogVersion, patience: Duration) -> Option<CatalogView>;

    /// The version that a majority of the controllers has reached now, whatever was acknowledged before
    /// included (INV-6). Costs a call: for what the own copy cannot answer.
    ///
    /// # Errors
    /// No controller that reaches a majority answers.
    async fn newest(&self) -> Result<CatalogVersion, Status>;
}

#[async_trait]
impl CatalogSource for CatalogFollower {
    async fn pin(&self, at_least: CatalogVersion, patience: Duration) -> Option<CatalogView> {
        CatalogFollower::pin(self, at_least, patience).await
    }

    async fn newest(&self) -> Result<CatalogVersion, Status> {
        self.client().newest().await
    }
}
