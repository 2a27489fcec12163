//! Streams of deltas: one delta at once, then one for every batch of new versions. A controller that reaches
//! no majority ends them, so that the member asks another one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use pando_catalog::Catalog;
use pando_cluster::delta_parts;
use pando_model::{CatalogVersion, ErrorKind};
use pando_proto::v1::WatchResponse;
use pando_rpc::status;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::controller::Controller;

/// Messages that wait for a slow reader; then the stream waits too, and later sends one larger delta.
const QUEUE_MAX: usize = 4;

/// How often a stream looks whether its controller still reaches a majority.
const LOOK: Duration = Duration::from_secs(1);

/// What leads from a version to the present, and the version that it leads to.
type Since = fn(&Catalog, CatalogVersion) -> Option<(CatalogVersion, Bytes)>;

/// Deltas from `since` on, until the reader, the tasks or the contact to the other controllers end.
///
/// # Errors
/// This controller reaches no majority.
pub(crate) fn deltas(
    controller: Arc<Controller>,
    mut since: CatalogVersion,
    delta: Since,
) -> Result<impl Stream<Item = Result<WatchResponse, Status>> + Send + use<>, Status> {
    if !controller.has_majority() {
        return Err(no_majority());
    }
    let (out, stream) = mpsc::channel(QUEUE_MAX);
    let tasks = controller.tasks().clone();
    tasks.spawn_until_stopped("catalog watch", async move {
        let state = controller.state().clone();
        let (mut versions, mut looks) = (state.watch(), tokio::time::interval(LOOK));
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            versions.mark_unchanged();
            if let Some((to, bytes)) = state.read(|catalog| delta(catalog, since)) {
                since = to;
                for part in delta_parts(bytes) {
                    if out.send(Ok(part)).await.is_err() {
                        return;
                    }
                }
            }
            tokio::select! {
                changed = versions.changed() => if changed.is_err() { return },
                () = out.closed() => return,
                _ = looks.tick() => if !controller.has_majority() {
                    let _ = out.send(Err(no_majority())).await;
                    return;
                },
            }
        }
    });
    Ok(ReceiverStream::new(stream))
}

fn no_majority() -> Status {
    status(ErrorKind::Unavailable, "this controller does not reach a majority of the controllers")
}
