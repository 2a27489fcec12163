//! `Keeper`: a view of the catalog on this member's disk, so that a member that starts while no controller answers
//! knows what it knew. Many deltas may come at once; a view is written at most once an interval, and the last one
//! always: when the interval is over, and when the process ends.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pando_catalog::wire::StreamedView;
use pando_runtime::disk::Disk;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};

/// Where views are kept.
#[derive(Clone)]
pub(crate) struct Kept {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
}

impl Kept {
    pub(crate) fn new(disk: Arc<dyn Disk>, folder: PathBuf) -> Self {
        Kept { disk, folder }
    }

    /// The view that was kept. One that cannot be read is as good as absent: the controllers have it.
    pub(crate) fn read<V: StreamedView>(&self) -> V {
        let Ok(bytes) = self.disk.read_all(&self.folder.join(V::NAME)) else {
            return V::default();
        };
        V::from_bytes(&bytes).unwrap_or_else(|error| {
            tracing::warn!(%error, name = V::NAME, "kept catalog is not used");
            V::default()
        })
    }

    fn write<V: StreamedView>(&self, view: &V) {
        if let Err(error) = self.disk.replace(&self.folder.join(V::NAME), &view.to_bytes()) {
            tracing::warn!(%error, name = V::NAME, "catalog cannot be kept on disk");
        }
    }
}

/// Keeps what a channel holds. Dropping it writes what is not written yet.
pub(crate) struct Keeper<'a, V: StreamedView> {
    kept: &'a Kept,
    view: watch::Receiver<Arc<V>>,
    /// When a view may be written.
    pace: Interval,
    /// Whether what was seen last is not written yet.
    dirty: bool,
}

impl<'a, V: StreamedView> Keeper<'a, V> {
    /// A keeper of what `view` holds from its next change on, which is written at most once an `interval`.
    pub(crate) fn new(kept: &'a Kept, view: &watch::Sender<Arc<V>>, interval: Duration) -> Self {
        let mut pace = tokio::time::interval(interval);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Keeper { kept, view: view.subscribe(), pace, dirty: false }
    }

    /// Writes each change once its time has come; never returns. May be dropped at any await.
    pub(crate) async fn run(&mut self) {
        loop {
            if !self.dirty {
                if self.view.changed().await.is_err() {
                    return std::future::pending().await;
                }
                self.dirty = true;
            }
            self.pace.tick().await;
            self.write();
        }
    }

    fn write(&mut self) {
        let view = self.view.borrow_and_update().clone();
        self.kept.write(&*view);
        self.dirty = false;
    }
}

impl<V: StreamedView> Drop for Keeper<'_, V> {
    fn drop(&mut self) {
        if self.dirty || self.view.has_changed().unwrap_or(true) {
            self.write();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use pando_catalog::{Catalog, Command, RoutingView};
    use pando_model::{CatalogVersion, ClusterId};
    use pando_runtime::disk::SimDisk;

    use super::*;

    type Out = watch::Sender<Arc<RoutingView>>;

    fn view(feature_level: u32) -> Arc<RoutingView> {
        let (mut catalog, mut view) = (Catalog::new(), RoutingView::new());
        let command = Command::InitCluster { cluster: ClusterId(7), feature_level };
        catalog.apply(1, &command).expect("it fits");
        view.apply(&catalog.routing_since(CatalogVersion(0)).expect("a delta")).expect("it fits");
        Arc::new(view)
    }

    fn kept() -> Kept {
        let disk = SimDisk::new();
        disk.create_dir(Path::new("/catalog")).expect("a folder");
        Kept::new(disk.shared(), PathBuf::from("/catalog"))
    }

    fn level(kept: &Kept) -> u32 {
        kept.read::<RoutingView>().feature_level()
    }

    /// Changes a view from 1 to 4 while it is kept; returns when `end` is on disk.
    async fn change(kept: &Kept, keeper: &mut Keeper<'_, RoutingView>, out: &Out, end: u32) {
        let changes = async {
            out.send_replace(view(2));
            while level(kept) != 2 {
                tokio::task::yield_now().await;
            }
            out.send_replace(view(3));
            tokio::task::yield_now().await;
            out.send_replace(view(4));
            while level(kept) != end {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            () = keeper.run() => {}
            done = tokio::time::timeout(Duration::from_secs(60), changes) => done.expect("it is kept"),
        }
    }

    #[tokio::test]
    async fn the_last_of_a_burst_is_kept_too() {
        let (kept, out) = (kept(), Out::new(view(1)));
        let mut keeper = Keeper::new(&kept, &out, Duration::from_millis(50));
        change(&kept, &mut keeper, &out, 4).await;
    }

    #[tokio::test]
    async fn what_is_not_written_yet_is_written_at_the_end() {
        let (kept, out) = (kept(), Out::new(view(1)));
        let mut keeper = Keeper::new(&kept, &out, Duration::from_secs(3600));
        change(&kept, &mut keeper, &out, 2).await;
        drop(keeper);
        assert_eq!(level(&kept), 4);
    }
}
