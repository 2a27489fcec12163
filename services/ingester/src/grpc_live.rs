//! The Live service: what executors and query frontends elsewhere ask of this node's shards.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use pando_executor::{
    Decoding, ExecuteError, LiveShards, LiveSource, Lookup, SeriesStream, Sources, wire,
};
use pando_head::{HeadStats, NamedCount};
use pando_model::{CatalogVersion, Cut, ErrorKind, Metadata, SeriesSamples, ShardId, TimeRange};
use pando_proto::v1::live_server::Live as Service;
use pando_proto::v1::{
    self, FetchBatch, FetchRequest, LookupBatch, LookupRequest, MetadataRequest, MetadataResponse,
    MetricMetadata, StatsRequest, StatsResponse,
};
use tonic::{Request, Response, Status};

use crate::live::LocalLive;
use crate::shards::Shards;

/// A message is cut at about this many bytes of labels and samples.
const MESSAGE_BYTES: usize = 4 << 20;
/// Bytes that a sample takes on the wire at most, about: incompressible floats.
const SAMPLE_BYTES: usize = 9;
/// The longest list of a tenant's statistics.
const TOP_MAX: u64 = 10_000;

/// Serves live generations.
pub(crate) struct LiveService {
    shards: Arc<Shards>,
    live: LocalLive,
    decoding: Decoding,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl LiveService {
    pub(crate) fn new(shards: Arc<Shards>) -> Self {
        LiveService { live: LocalLive::new(shards.clone()), shards, decoding: Decoding::new() }
    }
}

fn not_here(shard: ShardId) -> Status {
    pando_rpc::status(ErrorKind::Unavailable, format!("shard is not open here: shard={shard}"))
}

#[tonic::async_trait]
impl Service for LiveService {
    type FetchStream = Answers<FetchBatch>;

    async fn fetch(
        &self,
        request: Request<FetchRequest>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        let request = request.into_inner();
        let refused = |error: ExecuteError| error.status();
        let source = LiveSource {
            shard: ShardId(request.shard),
            first_cut: Cut(request.first_cut),
            sealed: request.sealed,
            members: Vec::new(),
        };
        let sources = Sources {
            tenant: wire::tenant_from_proto(&request.tenant).map_err(refused)?,
            keys: wire::keys(request.first_key, request.last_key),
            version: CatalogVersion(request.catalog_version),
            blocks: Vec::new(),
            live: Vec::new(),
        };
        let matchers = request.matchers;
        let matchers = self.decoding.run(move || wire::matchers_from_proto(matchers)).await;
        let matchers = matchers.map_err(refused)?;
        let time = TimeRange { min_ms: request.min_ms, max_ms: request.max_ms };
        let opened = self.live.open(&sources, &source, &matchers, time).await.map_err(refused)?;
        let stream = opened.ok_or_else(|| not_here(source.shard))?;
        Ok(Response::new(Box::pin(messages(stream))))
    }

    type LookupLiveStream = Answers<LookupBatch>;

    async fn lookup_live(
        &self,
        request: Request<LookupRequest>,
    ) -> Result<Response<Self::LookupLiveStream>, Status> {
        let request = request.into_inner();
        let asked = self.decoding.run(move || wire::lookup_from_proto(request)).await;
        let (sources, lookup): (Sources, Lookup) = asked.map_err(|error| error.status())?;
        let mut found = pando_executor::Found::default();
        for source in &sources.live {
            let here = self.live.lookup(&sources, source, &lookup).await;
            let here = here.map_err(|error| error.status())?;
            found.merge(here.ok_or_else(|| not_here(source.shard))?);
        }
        found.truncate(lookup.limit());
        let batches = wire::found_to_proto(found).into_iter().map(Ok);
        Ok(Response::new(Box::pin(futures::stream::iter(batches))))
    }

    async fn metadata(
        &self,
        request: Request<MetadataRequest>,
    ) -> Result<Response<MetadataResponse>, Status> {
        let request = request.into_inner();
        let tenant = wire::tenant_from_proto(&request.tenant).map_err(|error| error.status())?;
        let wanted = |name: &str| request.metric.is_empty() || name == request.metric;
        let mut found: BTreeMap<String, Metadata> = BTreeMap::new();
        for shard in self.shards.all() {
            shard.state.read(|shard| {
                let here = shard.metadata(&tenant).filter(|(name, _)| wanted(name));
                found.extend(here.map(|(name, metadata)| (name.to_string(), metadata.clone())));
            });
        }
        let limit = if request.limit == 0 { u64::MAX } else { request.limit };
        let metrics = found.into_iter().take(usize::try_from(limit).unwrap_or(usize::MAX));
        let metrics = metrics.map(|(name, metadata)| MetricMetadata {
            name,
            metric_type: metadata.metric_type as u32,
            unit: metadata.unit,
            help: metadata.help,
        });
        Ok(Response::new(MetadataResponse { metrics: metrics.collect() }))
    }

    async fn stats(
        &self,
        request: Request<StatsRequest>,
    ) -> Result<Response<StatsResponse>, Status> {
        let request = request.into_inner();
        let tenant = wire::tenant_from_proto(&request.tenant).map_err(|error| error.status())?;
        let top = request.limit.min(TOP_MAX) as usize;
        // Of the shards that this member leads: who adds up all members counts each shard once.
        // It names them, so that a shard that nobody counts is noticed.
        let led = self.shards.all().into_iter().filter(|shard| shard.group.is_leader());
        let (shards, states): (Vec<u64>, Vec<_>) =
            led.map(|shard| (shard.id.0, shard.state.clone())).unzip();
        let gather = move || {
            let of_shards =
                states.iter().map(|state| state.read(|shard| shard.stats(&tenant, top)));
            of_shards.reduce(|sum, of| add(sum, of, top))
        };
        let stats = tokio::task::spawn_blocking(gather).await;
        let stats = stats.map_err(|error| pando_rpc::status(ErrorKind::Internal, error))?;
        let stats = stats.map_or_else(StatsResponse::default, stats_to_proto);
        Ok(Response::new(StatsResponse { shards, ..stats }))
    }
}

/// What is left to send of a stream.
struct Rest {
    stream: Box<dyn SeriesStream>,
    ready: std::vec::IntoIter<SeriesSamples>,
}

/// The stream's series in messages of bounded size.
fn messages(
    stream: Box<dyn SeriesStream>,
) -> impl Stream<Item = Result<FetchBatch, Status>> + Send {
    let rest = Rest { stream, ready: Vec::new().into_iter() };
    futures::stream::try_unfold(rest, |mut rest| async move {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < MESSAGE_BYTES {
            match rest.ready.next() {
                Some(series) => {
                    bytes += series.labels.heap_bytes() + series.len() * SAMPLE_BYTES;
                    batch.push(series);
                }
                // What is there goes out before the next read.
                None if !batch.is_empty() => break,
                None => match rest.stream.next_batch().await.map_err(|error| error.status())? {
                    Some(more) => rest.ready = more.into_iter(),
                    None => return Ok(None),
                },
            }
        }
        Ok(Some((wire::series_to_proto(&batch), rest)))
    })
}

/// The sum of two shards' numbers. A tenant's series are in one shard each; names, values and pairs
/// may be in several, so that their numbers are upper bounds.
fn add(a: HeadStats, b: HeadStats, top: usize) -> HeadStats {
    HeadStats {
        series: a.series + b.series,
        label_pairs: a.label_pairs + b.label_pairs,
        chunks: a.chunks + b.chunks,
        samples: a.samples + b.samples,
        min_time_ms: a.min_time_ms.min(b.min_time_ms),
        max_time_ms: a.max_time_ms.max(b.max_time_ms),
        series_by_metric: add_counts(a.series_by_metric, b.series_by_metric, top),
        values_by_label: add_counts(a.values_by_label, b.values_by_label, top),
        bytes_by_label: add_counts(a.bytes_by_label, b.bytes_by_label, top),
        series_by_pair: add_counts(a.series_by_pair, b.series_by_pair, top),
    }
}

fn add_counts(a: Vec<NamedCount>, b: Vec<NamedCount>, top: usize) -> Vec<NamedCount> {
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for count in a.into_iter().chain(b) {
        *sums.entry(count.name).or_default() += count.value;
    }
    let mut counts: Vec<NamedCount> =
        sums.into_iter().map(|(name, value)| NamedCount { name, value }).collect();
    counts.sort_by(|a, b| b.value.cmp(&a.value).then_with(|| a.name.cmp(&b.name)));
    counts.truncate(top);
    counts
}

fn stats_to_proto(stats: HeadStats) -> StatsResponse {
    let counts = |counts: Vec<NamedCount>| {
        let counts = counts.into_iter();
        counts.map(|count| v1::NamedCount { name: count.name, value: count.value }).collect()
    };
    StatsResponse {
        series: stats.series,
        label_pairs: stats.label_pairs,
        chunks: stats.chunks,
        min_ms: stats.min_time_ms,
        max_ms: stats.max_time_ms,
        series_by_metric: counts(stats.series_by_metric),
        values_by_label: counts(stats.values_by_label),
        bytes_by_label: counts(stats.bytes_by_label),
        series_by_pair: counts(stats.series_by_pair),
        shards: Vec::new(),
    }
}
