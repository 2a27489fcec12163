//! `Held`: a lease, and the keeper that renews it.

use std::time::Duration;

use pando_catalog::{Command, WorkEnd, WorkItem};
use pando_cluster::{ControllerClient, ProposeError};
use pando_model::{CatalogVersion, Epoch, NodeId};
use pando_runtime::SharedClock;

use crate::error::CompactError;

/// A leased work item.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) item: WorkItem,
    pub(crate) holder: NodeId,
    /// The fence that every command about the work carries.
    pub(crate) epoch: Epoch,
    /// How long the lease lasts without a renewal.
    pub(crate) lease: Duration,
}

impl Held {
    /// Renews the lease; the version answers "at least as new as the grant".
    pub(crate) async fn renew(
        &self,
        client: &ControllerClient,
    ) -> Result<CatalogVersion, CompactError> {
        let (work, holder, epoch) = (self.item.id, self.holder, self.epoch);
        // The leader puts its own clock into the command.
        let renew = Command::RenewLease { work, holder, epoch, now_ms: 0 };
        match client.propose(&renew).await {
            Ok((_, version)) => Ok(version),
            Err(ProposeError::Refused(_)) => Err(CompactError::LeaseLost { work }),
            Err(source) => Err(CompactError::Propose { what: "lease cannot be renewed", source }),
        }
    }

    /// Renews the lease three times in its length, and returns when it is lost: by a refusal, or
    /// because no controller has answered for as long as it lasts.
    pub(crate) async fn keep(
        &self,
        client: &ControllerClient,
        clock: &SharedClock,
    ) -> CompactError {
        let pause = (self.lease / 3).max(Duration::from_millis(10));
        let mut renewed = clock.monotonic();
        loop {
            tokio::time::sleep(pause).await;
            // Counted from before the question: the controller's count begins later.
            let asked = clock.monotonic();
            match self.renew(client).await {
                Ok(_) => renewed = asked,
                Err(lost @ CompactError::LeaseLost { .. }) => return lost,
                Err(error) => {
                    tracing::debug!(%error, work = self.item.id, "lease is not renewed");
                    if clock.monotonic().saturating_sub(renewed) >= self.lease {
                        return CompactError::LeaseLost { work: self.item.id };
                    }
                }
            }
        }
    }

    /// Gives the lease back. Where that fails, it runs out.
    pub(crate) async fn release(&self, client: &ControllerClient, end: WorkEnd) {
        let (work, holder, epoch) = (self.item.id, self.holder, self.epoch);
        let release = Command::ReleaseLease { work, holder, epoch, end };
        if let Err(error) = client.propose(&release).await {
            tracing::debug!(%error, work, "lease is not given back");
        }
    }
}
