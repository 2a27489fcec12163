//! Streams of deltas: one message at once, then one for every batch of new versions.

use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use pando_catalog::Catalog;
use pando_model::CatalogVersion;
use pando_proto::v1::WatchResponse;
use pando_runtime::Tasks;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::state::CatalogState;

/// Messages that wait for a slow reader; then the stream waits too, and later sends one larger delta.
const QUEUE_MAX: usize = 4;

/// What leads from a version to the present, and the version that it leads to.
type Since = fn(&Catalog, CatalogVersion) -> Option<(CatalogVersion, Bytes)>;

/// Deltas from `since` on, until the reader or the tasks end.
pub(crate) fn deltas(
    state: Arc<CatalogState>,
    mut since: CatalogVersion,
    tasks: &Tasks,
    delta: Since,
) -> impl Stream<Item = Result<WatchResponse, Status>> + Send + use<> {
    let (out, stream) = mpsc::channel(QUEUE_MAX);
    tasks.spawn_until_stopped("catalog watch", async move {
        let mut versions = state.watch();
        loop {
            versions.mark_unchanged();
            if let Some((to, bytes)) = state.read(|catalog| delta(catalog, since)) {
                since = to;
                if out.send(Ok(WatchResponse { delta: bytes })).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                changed = versions.changed() => if changed.is_err() { return },
                () = out.closed() => return,
            }
        }
    });
    ReceiverStream::new(stream)
}
