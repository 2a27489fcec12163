//! Live generations: of this process' own shards, through [`LiveShards`], or fetched from a member.

use async_trait::async_trait;
use pando_model::{Matcher, SeriesSamples, TimeRange};
use pando_proto::v1::live_client::LiveClient;
use pando_proto::v1::{FetchBatch, FetchRequest};
use pando_rpc::{Channels, MESSAGE_BYTES_MAX};
use tonic::Streaming;

use crate::error::ExecuteError;
use crate::lookup::{Found, Lookup};
use crate::sources::{LiveSource, Sources};
use crate::wire;

/// Whole series of one source, in the order (metric name, key, labels).
#[async_trait]
pub trait SeriesStream: Send {
    /// The next series, some at a time; `None` at the end.
    async fn next_batch(&mut self) -> Result<Option<Vec<SeriesSamples>>, ExecuteError>;
}

/// The shards that this process is a member of.
#[async_trait]
pub trait LiveShards: Send + Sync {
    /// Opens the generations of `source` from its first cut on, once this replica has applied what its leader
    /// had committed. `None` where this process is no member.
    async fn open(
        &self,
        sources: &Sources,
        source: &LiveSource,
        matchers: &[Matcher],
        time: TimeRange,
    ) -> Result<Option<Box<dyn SeriesStream>>, ExecuteError>;

    /// Looks up names, values or series. `None` where this process is no member.
    async fn lookup(
        &self,
        sources: &Sources,
        source: &LiveSource,
        lookup: &Lookup,
    ) -> Result<Option<Found>, ExecuteError>;
}

/// A process without shards.
#[derive(Clone, Copy, Debug)]
pub struct NoLiveShards;

#[async_trait]
impl LiveShards for NoLiveShards {
    async fn open(
        &self,
        _: &Sources,
        _: &LiveSource,
        _: &[Matcher],
        _: TimeRange,
    ) -> Result<Option<Box<dyn SeriesStream>>, ExecuteError> {
        Ok(None)
    }

    async fn lookup(
        &self,
        _: &Sources,
        _: &LiveSource,
        _: &Lookup,
    ) -> Result<Option<Found>, ExecuteError> {
        Ok(None)
    }
}

/// Fetches live generations from the first member that answers.
pub(crate) async fn fetch(
    channels: &Channels,
    sources: &Sources,
    source: &LiveSource,
    matchers: &[Matcher],
    time: TimeRange,
) -> Result<Box<dyn SeriesStream>, ExecuteError> {
    let request = FetchRequest {
        tenant: sources.tenant.to_string(),
        first_key: sources.keys.first.0,
        last_key: sources.keys.last.0,
        shard: source.shard.0,
        first_cut: source.first_cut.0,
        matchers: wire::matchers_to_proto(matchers),
        min_ms: time.min_ms,
        max_ms: time.max_ms,
        catalog_version: sources.version.0,
        sealed: source.sealed,
    };
    let mut last = no_member(source);
    for (node, address) in &source.members {
        let what = format!("shard={} member={node}", source.shard);
        let peer = channels.peer(address, Some(*node));
        let peer = peer.map_err(|status| ExecuteError::from_status(&status, &what))?;
        let mut client = LiveClient::new(peer).max_decoding_message_size(MESSAGE_BYTES_MAX);
        match client.fetch(request.clone()).await {
            Ok(response) => {
                return Ok(Box::new(Fetched { stream: response.into_inner(), what }));
            }
            Err(status) => last = ExecuteError::from_status(&status, &what),
        }
        if !last.kind().surface().retry || last.kind() == pando_model::ErrorKind::Stale {
            return Err(last);
        }
    }
    Err(last)
}

/// Looks up live generations at the first member that answers.
pub(crate) async fn fetch_lookup(
    channels: &Channels,
    sources: &Sources,
    source: &LiveSource,
    lookup: &Lookup,
) -> Result<Found, ExecuteError> {
    let one = Sources { blocks: Vec::new(), live: vec![source.clone()], ..sources.clone() };
    let request = wire::lookup_to_proto(&one, lookup);
    let mut last = no_member(source);
    for (node, address) in &source.members {
        let what = format!("shard={} member={node}", source.shard);
        let failed = |status: tonic::Status| ExecuteError::from_status(&status, &what);
        let peer = channels.peer(address, Some(*node)).map_err(failed)?;
        let mut client = LiveClient::new(peer).max_decoding_message_size(MESSAGE_BYTES_MAX);
        match client.lookup_live(request.clone()).await {
            Ok(response) => {
                let mut found = Found::default();
                let mut stream = response.into_inner();
                while let Some(batch) = stream.message().await.map_err(failed)? {
                    found.merge(wire::found_from_proto(batch)?);
                }
                return Ok(found);
            }
            Err(status) => last = failed(status),
        }
    }
    Err(last)
}

fn no_member(source: &LiveSource) -> ExecuteError {
    let message = format!("no member of the shard is known: shard={}", source.shard);
    ExecuteError::Live { kind: pando_model::ErrorKind::Unavailable, message }
}

struct Fetched {
    stream: Streaming<FetchBatch>,
    what: String,
}

#[async_trait]
impl SeriesStream for Fetched {
    async fn next_batch(&mut self) -> Result<Option<Vec<SeriesSamples>>, ExecuteError> {
        let message = self.stream.message().await;
        match message.map_err(|status| ExecuteError::from_status(&status, &self.what))? {
            Some(batch) => Ok(Some(wire::series_from_proto(batch)?)),
            None => Ok(None),
        }
    }
}
