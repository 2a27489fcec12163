//! `QueryGate`: how many queries run at once. More of them wait for their turn, until their own
//! time is up.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The limit on queries that run at once. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct QueryGate {
    permits: Arc<Semaphore>,
}

impl QueryGate {
    /// A gate for `queries_max` queries at once.
    pub(crate) fn new(queries_max: usize) -> Self {
        QueryGate { permits: Arc::new(Semaphore::new(queries_max)) }
    }

    /// Waits for a turn, in the order of arrival. `None` where the gate is closed, which nobody
    /// does.
    pub(crate) async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        self.permits.clone().acquire_owned().await.ok()
    }
}
