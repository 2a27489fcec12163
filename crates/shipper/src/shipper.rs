//! `Shipper`: routes batches to shards, and again where a shard has ended meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use pando_catalog::{RoutingView, ShardStage};
use pando_cluster::CatalogFollower;
use pando_model::{Epoch, ProducerId, ShardId, TenantId};
use pando_rpc::Channels;
use pando_runtime::Tasks;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::batch::{Batch, Receipt, ShipSample};
use crate::error::ShipError;
use crate::part::{Part, PartRef};
use crate::shard_stream::{Answer, Epochs, Parcel, ShardStream};

/// How long a shipper waits for news of the routing table before it looks again.
const ROUTE_PATIENCE: Duration = Duration::from_secs(1);

/// Who ships.
#[derive(Clone, Debug)]
pub struct ShipperConfig {
    /// The producer.
    pub producer: ProducerId,
    /// Its start.
    pub epoch: Epoch,
    /// How long a batch may take to be acknowledged.
    pub timeout: Duration,
}

/// Ships batches. Cloning shares its streams.
#[derive(Clone)]
pub struct Shipper {
    config: ShipperConfig,
    epochs: Epochs,
    follower: CatalogFollower,
    channels: Channels,
    tasks: Tasks,
    streams: Arc<Mutex<BTreeMap<ShardId, ShardStream>>>,
}

impl Shipper {
    /// A shipper without streams: they begin when they are needed.
    pub fn new(
        config: ShipperConfig,
        follower: CatalogFollower,
        channels: Channels,
        tasks: Tasks,
    ) -> Self {
        let epochs = Epochs::of_start(config.epoch);
        Shipper { config, epochs, follower, channels, tasks, streams: Arc::default() }
    }

    /// Ships a batch; returns when every sample of it was judged.
    ///
    /// # Errors
    /// Some of it was not acknowledged in time. It may be stored all the same; sending it again is harmless.
    pub async fn ship(&self, batch: Batch) -> Result<Receipt, ShipError> {
        let timeout = self.config.timeout;
        let trouble = Arc::new(Mutex::new("no answer".to_string()));
        let receipt = Mutex::default();
        let shipped = tokio::time::timeout(timeout, self.ship_all(batch, &trouble, &receipt)).await;
        let receipt = receipt.into_inner();
        match shipped {
            Ok(Ok(())) => Ok(receipt),
            Ok(Err(error)) => Err(error.beside(receipt)),
            Err(_) => {
                let last = trouble.lock().clone();
                Err(ShipError::Timeout { timeout, last }.beside(receipt))
            }
        }
    }

    /// Ships a batch; `receipt` has what was judged, also where this ends early.
    async fn ship_all(
        &self,
        batch: Batch,
        trouble: &Arc<Mutex<String>>,
        receipt: &Mutex<Receipt>,
    ) -> Result<(), ShipError> {
        let Batch { tenant, samples, metadata } = batch;
        let mut parts = vec![Part { samples, metadata }];
        parts.retain(|part| !part.is_empty());
        while !parts.is_empty() {
            let routing = self.route_of(&tenant, trouble).await;
            let mut answers = FuturesUnordered::new();
            for Part { samples, mut metadata } in std::mem::take(&mut parts) {
                for (shard, samples) in split(&routing, &tenant, samples) {
                    let (reply, answer) = oneshot::channel();
                    let part = Part { samples, metadata: std::mem::take(&mut metadata) };
                    let (tenant, trouble) = (tenant.clone(), trouble.clone());
                    let parcel = Parcel { tenant, part, trouble, reply };
                    self.stream(shard).send(parcel).await?;
                    answers.push(answer);
                }
            }
            let mut again = false;
            while let Some(answer) = answers.next().await {
                match answer {
                    Ok(Answer::Judged(judged)) => receipt.lock().merge(judged),
                    Ok(Answer::Elsewhere(part, why)) => {
                        *trouble.lock() = why;
                        parts.push(part);
                        again = true;
                    }
                    Ok(Answer::TooMuch(part, why)) => match part.as_ref().halves() {
                        Some(halves) => parts.extend(halves.map(PartRef::to_part)),
                        None => receipt.lock().merge(Receipt::of_refused(&part, &why)),
                    },
                    Err(_) => {
                        return Err(ShipError::Unavailable("shipper is stopping".to_string()));
                    }
                }
            }
            if again {
                self.news(&routing).await;
            }
        }
        Ok(())
    }

    /// A routing view that routes `tenant`; asks the controller for a route where there is none.
    async fn route_of(&self, tenant: &TenantId, trouble: &Mutex<String>) -> Arc<RoutingView> {
        loop {
            let routing = self.follower.routing();
            if routing.route(tenant).is_some() {
                return routing;
            }
            match self.follower.client().assign_tenant(tenant).await {
                Ok(version) => {
                    self.follower.routing_reaches(version, ROUTE_PATIENCE).await;
                }
                Err(status) => {
                    *trouble.lock() = format!("tenant has no route yet: {}", status.message());
                    self.news(&routing).await;
                }
            }
        }
    }

    /// Waits for a routing view other than `seen`, but not for long.
    async fn news(&self, seen: &RoutingView) {
        let mut watch = self.follower.watch_routing();
        let newer = watch.wait_for(|view| view.version() > seen.version());
        let _ = tokio::time::timeout(ROUTE_PATIENCE, newer).await;
    }

    #[cfg(test)]
    pub(crate) fn has_stream(&self, shard: ShardId) -> bool {
        self.streams.lock().contains_key(&shard)
    }

    pub(crate) fn stream(&self, shard: ShardId) -> ShardStream {
        let mut streams = self.streams.lock();
        let routing = self.follower.routing();
        // Streams of shards that have ended have nothing left to send.
        streams.retain(|id, stream| {
            let open = routing.shard(*id).is_none_or(|info| info.stage == ShardStage::Open);
            *id == shard || open || !stream.is_idle()
        });
        let start = || {
            ShardStream::start(
                shard,
                self.config.producer,
                self.epochs.clone(),
                self.follower.clone(),
                self.channels.clone(),
                &self.tasks,
            )
        };
        streams.entry(shard).or_insert_with(start).clone()
    }
}

/// The samples of each shard, in the order of the batch.
fn split(
    routing: &RoutingView,
    tenant: &TenantId,
    samples: Vec<ShipSample>,
) -> BTreeMap<ShardId, Vec<ShipSample>> {
    let mut shards: BTreeMap<ShardId, Vec<ShipSample>> = BTreeMap::new();
    let Some(route) = routing.route(tenant) else { return shards };
    if samples.is_empty() {
        // Metadata alone goes where the tenant's first key is.
        shards.insert(route.shard_of(pando_model::SeriesKey(0)), Vec::new());
    }
    for sample in samples {
        shards.entry(route.shard_of(sample.key)).or_default().push(sample);
    }
    shards
}
