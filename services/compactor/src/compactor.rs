//! `Compactor`: asks for work and does it, until it is told to stop.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use pando_catalog::{WorkEnd, wire};
use pando_cluster::{CatalogFollower, ControllerClient};
use pando_executor::BlockStore;
use pando_model::{Epoch, NodeId};
use pando_runtime::{MetricsRegistry, Rng, SharedClock, Tasks};
use tokio_util::sync::CancellationToken;

use crate::config::CompactorConfig;
use crate::error::CompactError;
use crate::lease::Held;
use crate::metrics::CompactorMetrics;
use crate::work::{self, Ended};

/// What a compactor works with.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) config: CompactorConfig,
    pub(crate) client: ControllerClient,
    pub(crate) follower: CatalogFollower,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) blocks: BlockStore,
    pub(crate) node: NodeId,
    pub(crate) clock: SharedClock,
    pub(crate) rng: Rng,
    pub(crate) metrics: CompactorMetrics,
}

/// The compactor of a process. Its work ends with the tasks that it was started on.
pub struct Compactor {
    parts: Parts,
}

impl Compactor {
    /// Starts a compactor on `tasks`: one work item at a time, since a node that asks for work again
    /// has given up what it held. `follower` follows routing and blocks; `blocks` reads from `store`.
    #[expect(clippy::too_many_arguments, reason = "a composition root hands in each part once")]
    pub fn start(
        config: CompactorConfig,
        client: ControllerClient,
        follower: CatalogFollower,
        store: Arc<dyn ObjectStore>,
        blocks: BlockStore,
        node: NodeId,
        clock: SharedClock,
        rng: Rng,
        tasks: &Tasks,
        metrics: &MetricsRegistry,
    ) -> Self {
        let metrics = CompactorMetrics::register(metrics);
        let parts = Parts { config, client, follower, store, blocks, node, clock, rng, metrics };
        let (worker, stop) = (parts.clone(), tasks.token());
        tasks.spawn("compactor", async move { worker.work(stop).await });
        Compactor { parts }
    }

    /// Whether a work item is under way.
    pub fn is_working(&self) -> bool {
        self.parts.metrics.working.get() > 0
    }
}

impl Parts {
    async fn work(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let more = match stop.run_until_cancelled(self.lease()).await {
                None => return,
                Some(Some(held)) => self.run(&held, &stop).await,
                Some(None) => false,
            };
            if !more {
                let pause = tokio::time::sleep(self.pause());
                let _ = stop.run_until_cancelled(pause).await;
            }
        }
    }

    /// The next work item, if there is one.
    async fn lease(&self) -> Option<Held> {
        let response = match self.client.lease_work(self.node).await {
            Ok(response) => response,
            Err(status) => {
                self.metrics.controller_failures.inc();
                tracing::debug!(status = status.message(), "no controller has work");
                return None;
            }
        };
        if response.work.is_empty() {
            return None;
        }
        match wire::decode_work_item(&response.work) {
            Ok(item) => Some(Held {
                item,
                holder: self.node,
                epoch: Epoch(response.fencing_epoch),
                lease: Duration::from_millis(response.lease_ms),
            }),
            Err(error) => {
                // A later version's, perhaps: the lease runs out and another takes it.
                tracing::warn!(%error, "work item cannot be read");
                None
            }
        }
    }

    /// Does a work item; whether to ask for the next one at once.
    async fn run(&self, held: &Held, stop: &CancellationToken) -> bool {
        let started = self.clock.monotonic();
        self.metrics.working.inc();
        let result = work::run(self, held, stop).await;
        let seconds = self.clock.monotonic().saturating_sub(started).as_secs_f64();
        let end = end_of(&result);
        self.metrics.ended(end, seconds);
        let (work, inputs) = (held.item.id, held.item.spec.inputs.len());
        match &result {
            Ok(Ended::Replaced) => tracing::info!(work, inputs, seconds, "blocks are replaced"),
            Ok(Ended::Nothing) => tracing::debug!(work, inputs, "there was nothing to do"),
            Err(error) if error.work_end() == WorkEnd::Failed => {
                tracing::error!(%error, work, inputs, seconds, "work has failed");
            }
            Err(error) => tracing::warn!(%error, work, inputs, seconds, end, "work is not done"),
        }
        self.metrics.working.dec();
        matches!(result, Ok(Ended::Replaced))
    }

    fn pause(&self) -> Duration {
        let millis = self.config.interval.as_millis() as u64;
        Duration::from_millis(self.rng.range(millis * 3 / 4, millis * 5 / 4 + 1))
    }
}

/// The name of an end, for people.
fn end_of(result: &Result<Ended, CompactError>) -> &'static str {
    match result {
        Ok(Ended::Replaced) => "done",
        Ok(Ended::Nothing) => "nothing",
        Err(CompactError::LeaseLost { .. }) => "lost",
        Err(error) if error.work_end() == WorkEnd::Failed => "failed",
        Err(_) => "given_back",
    }
}
