//! `Deltas`: the catalog's deltas as they arrive, each put together from its messages. A full state may be
//! larger than a message; [`delta_parts`] cuts it, and [`Deltas::next`] joins it.

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use pando_catalog::limits::DELTA_BYTES_MAX;
use pando_model::ErrorKind;
use pando_proto::v1::WatchResponse;
use tonic::{Status, Streaming};

/// Bytes of a delta in one message: a quarter of what a message may have.
const PART_BYTES_MAX: usize = 16 << 20;

/// A stream of deltas.
pub struct Deltas {
    stream: Streaming<WatchResponse>,
}

impl Deltas {
    pub(crate) fn new(stream: Streaming<WatchResponse>) -> Self {
        Deltas { stream }
    }

    /// The next delta, whole.
    ///
    /// # Errors
    /// The stream ends, or what arrives has no end.
    pub async fn next(&mut self) -> Result<Bytes, Status> {
        joined(&mut self.stream, DELTA_BYTES_MAX).await
    }
}

/// The messages that carry `delta`.
pub fn delta_parts(delta: Bytes) -> impl Iterator<Item = WatchResponse> + Send {
    parts(delta, PART_BYTES_MAX)
}

fn parts(delta: Bytes, part_bytes_max: usize) -> impl Iterator<Item = WatchResponse> + Send {
    let mut rest = Some(delta);
    std::iter::from_fn(move || {
        let mut delta = rest.take()?;
        if delta.len() > part_bytes_max {
            rest = Some(delta.split_off(part_bytes_max));
        }
        Some(WatchResponse { delta, more: rest.is_some() })
    })
}

async fn joined<S>(stream: &mut S, bytes_max: usize) -> Result<Bytes, Status>
where
    S: Stream<Item = Result<WatchResponse, Status>> + Unpin,
{
    let mut whole = BytesMut::new();
    loop {
        let ended = || Status::unavailable("the controller ended the stream");
        let part = stream.next().await.ok_or_else(ended)??;
        if !part.more && whole.is_empty() {
            return Ok(part.delta);
        }
        if whole.len() + part.delta.len() > bytes_max {
            let text = format!("catalog limit: bytes of a delta max={bytes_max}");
            return Err(pando_rpc::status(ErrorKind::LimitExceeded, text));
        }
        whole.extend_from_slice(&part.delta);
        if !part.more {
            return Ok(whole.freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn deltas_of_any_size_arrive_whole_and_one_after_the_other() {
        let deltas = ["", "a", "abc", "abcd", "abcdefghij"].map(Bytes::from);
        let sent = deltas.iter().flat_map(|delta| parts(delta.clone(), 3));
        let sent: Vec<_> = sent.map(Ok).collect();
        assert_eq!(sent.len(), 1 + 1 + 1 + 2 + 4);
        let mut stream = futures::stream::iter(sent);
        for delta in deltas {
            assert_eq!(joined(&mut stream, 10).await.expect("arrives"), delta);
        }
        let end = joined(&mut stream, 10).await.expect_err("no more");
        assert_eq!(pando_rpc::kind_of(&end), ErrorKind::Unavailable);
    }

    #[tokio::test]
    async fn a_delta_without_end_is_refused() {
        let part = WatchResponse { delta: Bytes::from_static(b"abc"), more: true };
        let mut stream = futures::stream::repeat_with(|| Ok(part.clone()));
        let refused = joined(&mut stream, 10).await.expect_err("too large");
        assert!(refused.message().contains("max=10"), "{refused}");
    }
}
