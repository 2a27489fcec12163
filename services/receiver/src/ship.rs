//! `Ship`: where batches go. The one there is ships to shards; tests have another.

use async_trait::async_trait;
use pando_shipper::{Batch, Receipt, ShipError, Shipper};

/// Ships batches.
#[async_trait]
pub trait Ship: Send + Sync + 'static {
    /// Ships a batch; returns when every sample of it was judged.
    ///
    /// # Errors
    /// Some of it was not acknowledged; sending all of it again is harmless.
    async fn ship(&self, batch: Batch) -> Result<Receipt, ShipError>;
}

#[async_trait]
impl Ship for Shipper {
    async fn ship(&self, batch: Batch) -> Result<Receipt, ShipError> {
        Shipper::ship(self, batch).await
    }
}
