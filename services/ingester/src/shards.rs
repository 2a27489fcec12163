//! `Shards`: the shards of this node, opened and closed as the routing view says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pando_catalog::{RoutingView, ShardStage};
use pando_model::ShardId;
use pando_runtime::Tasks;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::context::SharedContext;
use crate::local_shard::LocalShard;

/// Pause before what failed is tried again, and between looks at the clock.
const PAUSE: Duration = Duration::from_secs(1);
/// The group of the controllers, which is no shard.
const CONTROLLERS: u64 = 0;

/// The shards of this node.
pub(crate) struct Shards {
    context: SharedContext,
    open: RwLock<BTreeMap<ShardId, Arc<LocalShard>>>,
    /// Why shards are not open, as it was logged last.
    faults: Mutex<BTreeMap<ShardId, String>>,
    ready: watch::Sender<bool>,
}

impl Shards {
    /// No shard is open yet.
    pub(crate) fn new(context: SharedContext) -> Arc<Self> {
        let (open, ready) = (RwLock::default(), watch::Sender::new(false));
        Arc::new(Shards { context, open, faults: Mutex::default(), ready })
    }

    /// Opens and closes shards until the tasks end; then ends theirs.
    pub(crate) fn start(self: &Arc<Self>, tasks: &Tasks) {
        let (shards, token) = (self.clone(), tasks.token());
        tasks.spawn("shards", async move {
            token.run_until_cancelled(shards.follow()).await;
            for shard in shards.all() {
                shard.stop().await;
            }
        });
    }

    /// What all shards share.
    pub(crate) fn context(&self) -> &SharedContext {
        &self.context
    }

    /// An open shard.
    pub(crate) fn get(&self, id: ShardId) -> Option<Arc<LocalShard>> {
        self.open.read().get(&id).cloned()
    }

    /// The open shards, by id.
    pub(crate) fn all(&self) -> Vec<Arc<LocalShard>> {
        self.open.read().values().cloned().collect()
    }

    /// Whether every shard of this node has been opened since the start.
    pub(crate) fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Becomes true with [`Shards::is_ready`].
    pub(crate) fn watch_ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    async fn follow(&self) {
        let mut routing = self.context.follower.watch_routing();
        // Closed shards, with the monotonic time at which that was seen.
        let mut ended: BTreeMap<ShardId, Duration> = BTreeMap::new();
        loop {
            let view = routing.borrow_and_update().clone();
            let all_open = self.open_missing(&view).await;
            if all_open && view.version().0 > 0 {
                self.ready.send_replace(true);
            }
            self.close_ended(&view, &mut ended).await;
            let idle = all_open && ended.is_empty();
            let pause = async {
                if idle { std::future::pending().await } else { tokio::time::sleep(PAUSE).await }
            };
            tokio::select! {
                changed = routing.changed() => if changed.is_err() { return },
                () = pause => {}
            }
        }
    }

    /// Opens what this node is a member of; false where something is missing still.
    async fn open_missing(&self, view: &RoutingView) -> bool {
        let mut all_open = true;
        for info in view.shards_of(self.context.config.node) {
            if info.stage == ShardStage::Closed || self.get(info.id).is_some() {
                continue;
            }
            match LocalShard::open(&self.context, view, info).await {
                Ok(shard) => {
                    tracing::info!(shard = %info.id, stage = ?info.stage, "shard is open");
                    self.faults.lock().remove(&info.id);
                    self.open.write().insert(info.id, shard);
                }
                Err(error) => {
                    all_open = false;
                    // It is tried each second: what is not new is not said again.
                    let text = error.to_string();
                    let known = self.faults.lock().insert(info.id, text.clone());
                    if known.as_ref() != Some(&text) {
                        tracing::error!(shard = %info.id, %error, "shard cannot be opened");
                    }
                }
            }
        }
        all_open
    }

    /// Removes what has been closed for as long as a query may take.
    async fn close_ended(&self, view: &RoutingView, ended: &mut BTreeMap<ShardId, Duration>) {
        let now = self.context.clock.monotonic();
        let stored = self.context.host.stored_groups().into_iter().filter(|id| *id != CONTROLLERS);
        let known: Vec<ShardId> =
            stored.map(ShardId).chain(self.open.read().keys().copied()).collect();
        for id in known.into_iter().filter(|id| has_ended(view, *id)) {
            ended.entry(id).or_insert(now);
        }
        let over =
            |since: &Duration| now.saturating_sub(*since) >= self.context.config.query_timeout;
        let due: Vec<ShardId> =
            ended.iter().filter(|(_, since)| over(since)).map(|(id, _)| *id).collect();
        for id in due {
            let shard = self.open.write().remove(&id);
            if let Some(shard) = shard {
                shard.stop().await;
            }
            match self.context.host.remove_group(id.0).await {
                Ok(()) => {
                    tracing::info!(shard = %id, "shard is closed and removed");
                    ended.remove(&id);
                }
                Err(error) => tracing::warn!(shard = %id, %error, "shard cannot be removed"),
            }
        }
    }
}

/// Whether the catalog has closed `id`, or has forgotten it since. Ids are given in order: a shard
/// that is not in a view with later ones was there before, and is not merely unknown to an old
/// view.
fn has_ended(view: &RoutingView, id: ShardId) -> bool {
    match view.shard(id) {
        Some(info) => info.stage == ShardStage::Closed,
        None => view.shards().keys().next_back().is_some_and(|last| *last > id),
    }
}

#[cfg(test)]
mod tests {
    use pando_model::CatalogVersion;

    use super::*;
    use crate::tests::fixture::founded;

    #[test]
    fn a_shard_that_an_old_view_does_not_know_has_not_ended() {
        let catalog = founded(2);
        let mut view = RoutingView::new();
        view.apply(&catalog.routing_since(CatalogVersion(0)).expect("a delta")).expect("fits");
        assert!(!has_ended(&view, ShardId(1)), "it is open");
        assert!(!has_ended(&view, ShardId(3)), "it may be newer than the view");
        let mut delta = view.to_delta();
        delta.shards.retain(|shard| shard.id != ShardId(1));
        view.apply(&pando_catalog::RoutingDelta { to: CatalogVersion(99), ..delta }).expect("fits");
        assert!(has_ended(&view, ShardId(1)), "it was forgotten");
    }
}
