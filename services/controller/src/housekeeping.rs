//! What the leading controller does with the bucket: snapshots of the catalog, deletion of what was replaced,
//! and of what nobody names. Each is a task of its own: a store that hangs stops the leader's rounds not at
//! all, and none of the others.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use pando_catalog::limits::{BLOCKS_MAX, PENDING_MAX};
use pando_catalog::{Catalog, Command, bucket::PutRetry, layout, snapshots};
use pando_cluster::{
    StoredObject, expired_objects, forgettable_deletes, forgettable_shards, orphans, retention,
};
use pando_model::{BlockId, CatalogVersion};
use pando_runtime::Rng;
use parking_lot::Mutex;

use crate::controller::Controller;

/// How often each task looks whether something is due.
const LOOK: Duration = Duration::from_millis(500);
/// How often the catalog goes to the bucket, when it has changed.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(60);
/// How often retention and clean-up look at all blocks.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(15);
/// Snapshots that the bucket keeps.
const SNAPSHOTS_KEPT: usize = 3;
/// Closed shards are forgotten after this time: producers and successors have long asked by then.
const CLOSED_KEPT_MS: i64 = 3_600_000;
/// Objects that are deleted at the same time.
const DELETES_AT_ONCE: usize = 16;
/// Objects of blocks that a list may have: more than the catalog can know of would be somebody else's.
const LISTED_MAX: usize = BLOCKS_MAX + PENDING_MAX;

/// Starts the tasks; they end with the controller's.
pub(crate) fn start(controller: &Arc<Controller>, store: &Arc<dyn ObjectStore>, rng: &Rng) {
    let keeping = Housekeeping {
        controller: controller.clone(),
        store: store.clone(),
        snapshot: Arc::default(),
    };
    let tasks = controller.tasks();
    let keeper = keeping.clone();
    tasks.spawn_until_stopped("catalog snapshots", async move {
        let mut pace = Pace::new(SNAPSHOT_INTERVAL, Duration::ZERO);
        loop {
            keeper.due(&mut pace).await;
            keeper.write_snapshot().await;
        }
    });
    let keeper = keeping.clone();
    tasks.spawn_until_stopped("clean-up", async move {
        let mut pace = Pace::new(CLEANUP_INTERVAL, Duration::ZERO);
        loop {
            keeper.due(&mut pace).await;
            if let Err(status) = keeper.clean_up().await {
                tracing::warn!(status = status.message(), "clean-up is cut short");
            }
        }
    });
    let interval = controller.config().orphan_interval;
    if interval.is_zero() {
        return;
    }
    // Controllers that are started more often than that look for orphans nevertheless, and not all at once.
    let first_ms = rng.range(0, (interval.as_millis() as u64 / 10).max(1));
    tasks.spawn_until_stopped("orphans", async move {
        let mut pace = Pace::new(interval, interval / 20 + Duration::from_millis(first_ms));
        loop {
            keeping.due(&mut pace).await;
            if let Err(error) = keeping.remove_orphans().await {
                tracing::warn!(error, "search for orphans is cut short");
            }
        }
    });
}

/// When something is due: for the first time `first` after this controller began to lead.
struct Pace {
    interval: Duration,
    first: Duration,
    next: Option<Duration>,
}

impl Pace {
    fn new(interval: Duration, first: Duration) -> Self {
        Pace { interval, first, next: None }
    }

    fn is_due(&mut self, leads: bool, now: Duration) -> bool {
        if !leads {
            self.next = None;
            return false;
        }
        let next = *self.next.get_or_insert(now + self.first);
        if now < next {
            return false;
        }
        self.next = Some(now + self.interval);
        true
    }
}

#[derive(Clone)]
pub(crate) struct Housekeeping {
    controller: Arc<Controller>,
    store: Arc<dyn ObjectStore>,
    /// The newest version of which this controller has put a snapshot into the bucket.
    snapshot: Arc<Mutex<Option<CatalogVersion>>>,
}

impl Housekeeping {
    #[cfg(test)]
    pub(crate) fn of(controller: Arc<Controller>, store: Arc<dyn ObjectStore>) -> Self {
        Housekeeping { controller, store, snapshot: Arc::default() }
    }

    async fn due(&self, pace: &mut Pace) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if pace.is_due(self.controller.is_leader(), self.controller.monotonic()) {
                return;
            }
        }
    }

    /// Retention, deletion of replaced objects after their grace, and what is not needed any more.
    async fn clean_up(&self) -> Result<(), tonic::Status> {
        let controller = &self.controller;
        let (now_ms, grace_ms) = (controller.now_ms(), controller.config().delete_delay_ms);
        let snapshot = *self.snapshot.lock();
        let (commands, over) = controller.state().read(|catalog| {
            let mut commands = retention(catalog, now_ms);
            commands.extend(forgettable_shards(catalog, now_ms, CLOSED_KEPT_MS));
            commands.extend(forgettable_deletes(catalog));
            (commands, expired_objects(catalog, now_ms, grace_ms, snapshot))
        });
        controller.carry_out(commands).await?;
        let deleted = self.delete(over).await;
        if deleted.is_empty() {
            return Ok(());
        }
        controller.carry_out(vec![Command::ForgetObjects { blocks: deleted }]).await
    }

    /// Deletes the objects of blocks that the catalog does not name; answers with those that are gone.
    async fn delete(&self, blocks: Vec<BlockId>) -> Vec<BlockId> {
        let one = |block: BlockId| async move {
            match self.store.delete(&layout::block_path(block)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Some(block),
                Err(error) => {
                    tracing::warn!(%block, %error, "object is not deleted");
                    None
                }
            }
        };
        let gone = futures::stream::iter(blocks).map(one).buffer_unordered(DELETES_AT_ONCE);
        let gone: Vec<BlockId> = gone.filter_map(std::future::ready).collect().await;
        self.controller.metrics().objects_deleted.inc_by(gone.len() as u64);
        gone
    }

    async fn write_snapshot(&self) {
        let catalog = self.controller.state().read(Catalog::clone);
        if catalog.cluster().is_none() || *self.snapshot.lock() == Some(catalog.version()) {
            return;
        }
        match snapshots::write(self.store.as_ref(), &catalog, PutRetry::default()).await {
            Ok(version) => {
                *self.snapshot.lock() = Some(version);
                self.controller.metrics().snapshots.inc();
                if let Err(error) = snapshots::prune(self.store.as_ref(), SNAPSHOTS_KEPT).await {
                    tracing::warn!(%error, "old catalog snapshots are not removed");
                }
            }
            Err(error) => tracing::warn!(%error, "catalog snapshot is not in the bucket"),
        }
    }

    /// Refuses and then deletes what uploads that died left behind.
    pub(crate) async fn remove_orphans(&self) -> Result<(), String> {
        let listed = self.list().await?;
        let controller = &self.controller;
        let (now_ms, age_ms) = (controller.now_ms(), controller.config().orphan_age_ms);
        let found = controller.state().read(|catalog| orphans(catalog, &listed, now_ms, age_ms));
        controller.metrics().orphans_suspicious.set(found.suspicious as u64);
        if found.suspicious > 0 {
            tracing::error!(
                objects = found.suspicious,
                listed = listed.len(),
                "the catalog does not name suspiciously many objects; nothing is done about them"
            );
        }
        let mut delete = found.delete;
        for command in found.refuse {
            let Command::RefuseBlock { block, .. } = &command else { continue };
            match controller.propose(&command).await.map_err(|s| s.message().to_string())? {
                Ok(_) => delete.push(*block),
                Err(refused) => tracing::warn!(%refused, "object is no orphan"),
            }
        }
        let gone = self.delete(delete).await;
        controller.metrics().orphans_deleted.inc_by(gone.len() as u64);
        if !gone.is_empty() {
            tracing::info!(objects = gone.len(), "orphans are deleted");
        }
        Ok(())
    }

    /// All objects of blocks in the bucket.
    async fn list(&self) -> Result<Vec<StoredObject>, String> {
        let mut objects = self.store.list(Some(&Path::from(layout::BLOCKS_PREFIX)));
        let mut listed = Vec::new();
        while let Some(object) = objects.try_next().await.map_err(|e| format!("list: {e}"))? {
            if let Some(block) = layout::parse_block_path(&object.location) {
                let modified_ms = object.last_modified.timestamp_millis();
                listed.push(StoredObject { block, modified_ms });
            }
            if listed.len() > LISTED_MAX {
                return Err(format!("more objects than the catalog can name: max={LISTED_MAX}"));
            }
        }
        Ok(listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_due_for_a_leader_and_soon_for_a_new_one() {
        let second = Duration::from_secs(1);
        let mut pace = Pace::new(10 * second, 2 * second);
        assert!(!pace.is_due(false, second));
        assert!(!pace.is_due(true, second));
        assert!(pace.is_due(true, 3 * second));
        assert!(!pace.is_due(true, 12 * second));
        assert!(pace.is_due(true, 13 * second));
        assert!(!pace.is_due(false, 14 * second));
        assert!(!pace.is_due(true, 15 * second), "it leads anew");
        assert!(pace.is_due(true, 17 * second));
    }
}
