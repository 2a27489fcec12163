//! `CatalogFollower`: keeps views of the catalog up to date, and on disk, so that a member goes on serving
//! while no controller answers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pando_catalog::{BlocksView, CatalogError, CatalogView, RoutingView, wire};
use pando_model::CatalogVersion;
use pando_runtime::Tasks;
use pando_runtime::disk::Disk;
use tokio::sync::watch;
use tonic::Status;

use crate::controller_client::ControllerClient;
use crate::deltas::Deltas;

/// Pause before the next try when no controller answers.
const RETRY_PAUSE: Duration = Duration::from_millis(300);
/// A view is kept on disk at most this often.
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
        let kept = Kept { disk, folder };
        let (routing_out, routing) = watch::channel(Arc::new(kept.routing()));
        let (blocks_out, blocks) = watch::channel(Arc::new(kept.blocks()));
        let of_routing = Follow { client: client.clone(), kept: kept.clone() };
        tasks.spawn_until_stopped("catalog routing", of_routing.routing(routing_out));
        if streams == Streams::RoutingAndBlocks {
            let of_blocks = Follow { client: client.clone(), kept };
            tasks.spawn_until_stopped("catalog blocks", of_blocks.blocks(blocks_out));
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

struct Follow {
    client: ControllerClient,
    kept: Kept,
}

impl Follow {
    async fn routing(self, out: watch::Sender<Arc<RoutingView>>) {
        loop {
            let since = out.borrow().version();
            let ended = match self.client.watch_routing(since).await {
                Ok(stream) => self.routing_deltas(stream, &out).await,
                Err(status) => status,
            };
            tracing::debug!(status = ended.message(), "catalog stream of routing ended");
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn routing_deltas(
        &self,
        mut deltas: Deltas,
        out: &watch::Sender<Arc<RoutingView>>,
    ) -> Status {
        let mut keep = Pace::default();
        loop {
            let delta = match deltas.next().await {
                Ok(delta) => delta,
                Err(status) => return status,
            };
            let mut view = RoutingView::clone(&out.borrow());
            let applied = wire::decode_routing_delta(&delta).and_then(|delta| view.apply(&delta));
            if let Err(error) = applied {
                return pando_rpc::status(error.kind(), error);
            }
            if keep.due().await {
                self.kept.write(ROUTING, &view.to_bytes());
            }
            out.send_replace(Arc::new(view));
        }
    }

    async fn blocks(self, out: watch::Sender<Arc<BlocksView>>) {
        loop {
            let since = out.borrow().version();
            let ended = match self.client.watch_blocks(since).await {
                Ok(stream) => self.block_deltas(stream, &out).await,
                Err(status) => status,
            };
            tracing::debug!(status = ended.message(), "catalog stream of blocks ended");
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn block_deltas(
        &self,
        mut deltas: Deltas,
        out: &watch::Sender<Arc<BlocksView>>,
    ) -> Status {
        let mut keep = Pace::default();
        loop {
            let delta = match deltas.next().await {
                Ok(delta) => delta,
                Err(status) => return status,
            };
            let mut view = BlocksView::clone(&out.borrow());
            let applied = wire::decode_block_delta(&delta).and_then(|delta| view.apply(&delta));
            if let Err(error) = applied {
                return pando_rpc::status(error.kind(), error);
            }
            if keep.due().await {
                self.kept.write(BLOCKS, &view.to_bytes());
            }
            out.send_replace(Arc::new(view));
        }
    }
}

/// Lets something happen at once, and then at most every [`KEEP_INTERVAL`].
#[derive(Default)]
struct Pace {
    interval: Option<tokio::time::Interval>,
}

impl Pace {
    async fn due(&mut self) -> bool {
        let interval = self.interval.get_or_insert_with(|| {
            let mut interval = tokio::time::interval(KEEP_INTERVAL);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            interval
        });
        futures::FutureExt::now_or_never(interval.tick()).is_some()
    }
}

const ROUTING: &str = "routing";
const BLOCKS: &str = "blocks";

/// The last views on this member's disk. What cannot be read is as good as absent: the controllers have it.
#[derive(Clone)]
struct Kept {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
}

impl Kept {
    fn routing(&self) -> RoutingView {
        self.read(ROUTING, RoutingView::from_bytes).unwrap_or_default()
    }

    fn blocks(&self) -> BlocksView {
        self.read(BLOCKS, BlocksView::from_bytes).unwrap_or_default()
    }

    fn read<T>(
        &self,
        name: &str,
        decode: impl FnOnce(&[u8]) -> Result<T, CatalogError>,
    ) -> Option<T> {
        let bytes = self.disk.read_all(&self.folder.join(name)).ok()?;
        let view = decode(&bytes);
        view.inspect_err(|error| tracing::warn!(%error, name, "kept catalog is not used")).ok()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        if let Err(error) = self.disk.replace(&self.folder.join(name), bytes) {
            tracing::warn!(%error, name, "catalog cannot be kept on disk");
        }
    }
}
