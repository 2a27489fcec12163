//! `CatalogFollower`: keeps views of the catalog up to date, and on disk, so that a member goes on serving
//! while no controller answers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pando_catalog::wire::StreamedView;
use pando_catalog::{BlocksView, CatalogView, RoutingView};
use pando_model::CatalogVersion;
use pando_runtime::Tasks;
use pando_runtime::disk::Disk;
use tokio::sync::watch;
use tonic::Status;

use crate::controller_client::ControllerClient;
use crate::deltas::Deltas;
use crate::kept::{Keeper, Kept};

/// Pause before the next try when no controller answers.
const RETRY_PAUSE: Duration = Duration::from_millis(300);
/// A view is written to disk at most this often.
const KEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Which streams a member follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Streams {
    /// Nodes, shards, routes and tenants.
    Routing,
    /// Those and blocks.
    RoutingAndBlocks,
}

/// Views of the catalog that follow it. Cloning shares them.
#[derive(Clone)]
pub struct CatalogFollower {
    routing: watch::Receiver<Arc<RoutingView>>,
    blocks: watch::Receiver<Arc<BlocksView>>,
    client: ControllerClient,
}

impl CatalogFollower {
    /// Reads what was kept in `folder` and follows the controllers from there.
    pub fn start(
        client: ControllerClient,
        streams: Streams,
        disk: Arc<dyn Disk>,
        folder: PathBuf,
        tasks: &Tasks,
    ) -> Self {
        let kept = Kept::new(disk, folder);
        let (routing_out, routing) = watch::channel(Arc::new(kept.read::<RoutingView>()));
        let (blocks_out, blocks) = watch::channel(Arc::new(kept.read::<BlocksView>()));
        let of_routing = follow(client.clone(), kept.clone(), routing_out);
        tasks.spawn_until_stopped("catalog routing", of_routing);
        if streams == Streams::RoutingAndBlocks {
            let of_blocks = follow(client.clone(), kept, blocks_out);
            tasks.spawn_until_stopped("catalog blocks", of_blocks);
        }
        CatalogFollower { routing, blocks, client }
    }

    /// The client that it follows with.
    pub fn client(&self) -> &ControllerClient {
        &self.client
    }

    /// Nodes, shards, routes and tenants, as far as known.
    pub fn routing(&self) -> Arc<RoutingView> {
        self.routing.borrow().clone()
    }

    /// Blocks, as far as known.
    pub fn blocks(&self) -> Arc<BlocksView> {
        self.blocks.borrow().clone()
    }

    /// Notices of changes of the routing view.
    pub fn watch_routing(&self) -> watch::Receiver<Arc<RoutingView>> {
        self.routing.clone()
    }

    /// Notices of changes of the blocks view.
    pub fn watch_blocks(&self) -> watch::Receiver<Arc<BlocksView>> {
        self.blocks.clone()
    }

    /// Both views at one version, at least `at_least`; waits for it. `None` when `patience` ends first.
    pub async fn pin(&self, at_least: CatalogVersion, patience: Duration) -> Option<CatalogView> {
        let (mut routing, mut blocks) = (self.routing.clone(), self.blocks.clone());
        let pinned = async {
            loop {
                let pin = CatalogView::pin(
                    &routing.borrow_and_update().clone(),
                    &blocks.borrow_and_update().clone(),
                );
                if let Some(view) = pin.filter(|view| view.version >= at_least) {
                    return view;
                }
                // A sender that is gone has no news: patience ends the wait.
                let changed = tokio::select! {
                    changed = routing.changed() => changed,
                    changed = blocks.changed() => changed,
                };
                if changed.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(patience, pinned).await.ok()
    }

    /// Waits until the routing view is at least at `version`; false when `patience` ends first.
    pub async fn routing_reaches(&self, version: CatalogVersion, patience: Duration) -> bool {
        let mut routing = self.routing.clone();
        let reached = routing.wait_for(|view| view.version() >= version);
        matches!(tokio::time::timeout(patience, reached).await, Ok(Ok(_)))
    }
}

/// A view that the controllers stream.
trait Followed: StreamedView {
    fn watch(
        client: &ControllerClient,
        since: CatalogVersion,
    ) -> impl Future<Output = Result<Deltas, Status>> + Send;
}

impl Followed for RoutingView {
    fn watch(
        client: &ControllerClient,
        since: CatalogVersion,
    ) -> impl Future<Output = Result<Deltas, Status>> + Send {
        client.watch_routing(since)
    }
}

impl Followed for BlocksView {
    fn watch(
        client: &ControllerClient,
        since: CatalogVersion,
    ) -> impl Future<Output = Result<Deltas, Status>> + Send {
        client.watch_blocks(since)
    }
}

/// Follows one stream for good, and keeps its view.
async fn follow<V: Followed>(client: ControllerClient, kept: Kept, out: watch::Sender<Arc<V>>) {
    let mut keeper = Keeper::new(&kept, &out, KEEP_INTERVAL);
    let following = async {
        loop {
            let since = out.borrow().version();
            let ended = match V::watch(&client, since).await {
                Ok(deltas) => apply_all(deltas, &out).await,
                Err(status) => status,
            };
            tracing::debug!(status = ended.message(), name = V::NAME, "catalog stream ended");
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    };
    // Neither ends by itself.
    tokio::select! {
        () = keeper.run() => {}
        () = following => {}
    }
}

/// Applies deltas until there are no more, or one does not fit.
async fn apply_all<V: Followed>(mut deltas: Deltas, out: &watch::Sender<Arc<V>>) -> Status {
    loop {
        let delta = match deltas.next().await {
            Ok(delta) => delta,
            Err(status) => return status,
        };
        let mut view = V::clone(&out.borrow());
        if let Err(error) = view.advance(&delta) {
            return pando_rpc::status(error.kind(), error);
        }
        out.send_replace(Arc::new(view));
    }
}
