//! `BatchSink`: where batches go.

use async_trait::async_trait;
use pando_shipper::{Batch, Receipt, ShipError, Shipper};

/// Takes batches until they are acknowledged.
#[async_trait]
pub trait BatchSink: Send + Sync + 'static {
    /// Ships a batch; returns when every sample of it was judged.
    ///
    /// # Errors
    /// Some of it was not acknowledged. Sending it again is harmless.
    async fn ship(&self, batch: Batch) -> Result<Receipt, ShipError>;
}

#[async_trait]
impl BatchSink for Shipper {
    async fn ship(&self, batch: Batch) -> Result<Receipt, ShipError> {
        // All of a batch is sent again: what of it is stored already does not matter.
        Shipper::ship(self, batch).await.map_err(|error| error.apart().0)
    }
}
