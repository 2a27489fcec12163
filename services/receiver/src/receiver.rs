//! `Receiver`: the parts of a receiver, and the life of one request.

use std::sync::Arc;

use axum::body::Bytes;
use futures::future::join_all;
use pando_catalog::Role;
use pando_cluster::CatalogFollower;
use pando_exposition::remote_write::{RemoteWriteError, Version};
use pando_model::{ErrorKind, TenantId};
use pando_runtime::{ByteGate, Held, MetricsRegistry, SharedClock};
use pando_shipper::{Batch, Receipt, ShipError, Shipper};
use parking_lot::Mutex;

use crate::answer::Answer;
use crate::config::ReceiverConfig;
use crate::intake::{self, Intake};
use crate::metrics::{ReasonLabels, ReceiverMetrics, RequestLabels};
use crate::rate_limit::RateLimits;
use crate::ship::Ship;

/// Bodies up to this size are read where they arrive: that takes less than moving to another thread.
const INLINE_BYTES_MAX: usize = 64 << 10;
/// Bytes of memory that a decoded byte comes to with the batch that is made of it.
const MEMORY_PER_DECODED_BYTE: usize = 4;
/// Left-out series are logged at most this often, ms.
const SKIPPED_LOG_INTERVAL_MS: u64 = 10_000;

/// The share of a tenant's limit of samples a second that this receiver grants; 0 for no limit.
pub type SamplesPerSecond = Arc<dyn Fn(&TenantId) -> u64 + Send + Sync>;

/// A receiver. Cloning shares its gates and limits.
#[derive(Clone)]
pub struct Receiver {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    config: ReceiverConfig,
    ship: Arc<dyn Ship>,
    samples_per_s: SamplesPerSecond,
    rates: Mutex<RateLimits>,
    clock: SharedClock,
    bodies: ByteGate,
    decoded: ByteGate,
    skipped_log: Mutex<SkippedLog>,
    pub(crate) metrics: ReceiverMetrics,
}

/// When left-out series were logged last, and how many came since.
#[derive(Default)]
struct SkippedLog {
    last_ms: Option<u64>,
    suppressed: u64,
}

/// A request's headers, as far as they matter.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) tenant: TenantId,
    pub(crate) content_type: String,
    pub(crate) content_encoding: String,
}

impl Receiver {
    /// A receiver that ships with `shipper`. A tenant's limit holds for the whole cluster: each of
    /// its receivers grants an equal share.
    pub fn new(
        config: ReceiverConfig,
        shipper: Shipper,
        follower: CatalogFollower,
        clock: SharedClock,
        metrics: &MetricsRegistry,
    ) -> Self {
        let samples_per_s: SamplesPerSecond = Arc::new(move |tenant| {
            let routing = follower.routing();
            let limit = routing.limits(tenant).samples_per_s_max;
            let receivers = routing.nodes_with(Role::Receiver).count().max(1);
            limit.div_ceil(receivers as u64)
        });
        Self::with(config, Arc::new(shipper), samples_per_s, clock, metrics)
    }

    /// A receiver of any parts.
    pub fn with(
        config: ReceiverConfig,
        ship: Arc<dyn Ship>,
        samples_per_s: SamplesPerSecond,
        clock: SharedClock,
        metrics: &MetricsRegistry,
    ) -> Self {
        let gate = |name, bytes_max| ByteGate::new(name, bytes_max, config.gate_wait);
        let bodies = gate("bodies_in_flight_bytes_max", config.bodies_in_flight_bytes_max);
        let decoded = gate("decoded_in_flight_bytes_max", config.decoded_in_flight_bytes_max);
        let inner = Inner {
            ship,
            samples_per_s,
            rates: Mutex::default(),
            clock,
            bodies,
            decoded,
            skipped_log: Mutex::default(),
            metrics: ReceiverMetrics::register(metrics),
            config,
        };
        Receiver { inner: Arc::new(inner) }
    }
}

impl Inner {
    pub(crate) fn body_bytes_max(&self) -> usize {
        self.config.body_bytes_max
    }

    pub(crate) fn body_timeout(&self) -> std::time::Duration {
        self.config.body_timeout
    }

    /// Now, for durations.
    pub(crate) fn monotonic(&self) -> std::time::Duration {
        self.clock.monotonic()
    }

    /// A place for a body of `bytes`, taken before it is read.
    pub(crate) async fn admit(&self, bytes: usize) -> Result<Held, Answer> {
        let held = self.bodies.acquire(bytes).await;
        self.show_in_flight();
        held.map_err(|full| Answer::refused(full.kind(), full))
    }

    /// Reads, ships and answers.
    pub(crate) async fn write(&self, head: Head, body: Bytes) -> Answer {
        self.metrics.body_bytes.inc_by(body.len() as u64);
        let (answer, version) = match self.read_and_ship(head, body).await {
            Ok((answer, version)) => (answer.for_version(version), name_of(version)),
            Err(answer) => (answer, "unknown"),
        };
        self.count(&answer, version);
        answer
    }

    /// Counts a request that was answered.
    pub(crate) fn count(&self, answer: &Answer, version: &'static str) {
        let labels = RequestLabels { version, code: answer.status.as_u16() };
        self.metrics.requests.get_or_create(&labels).inc();
    }

    /// Shows what is in flight, after a body has given its place back.
    pub(crate) fn show_in_flight(&self) {
        self.metrics.in_flight_bytes.set(self.bodies.in_flight_bytes() as i64);
    }

    async fn read_and_ship(&self, head: Head, body: Bytes) -> Result<(Answer, Version), Answer> {
        let _held = self.admit_decoded(&body).await?;
        let tenant = head.tenant.clone();
        let intake = self.read(head, body).await?;
        let Intake { version, batches, counts, problems, skipped } = intake;
        if skipped.series > 0 {
            self.log_skipped(&tenant, &skipped);
        }
        if let Err(answer) = self.check_rate(&tenant, counts.floats + counts.histograms) {
            return Ok((answer, version));
        }
        let shipped = self.ship_all(batches).await;
        self.metrics.exemplars_dropped.inc_by(counts.exemplars_dropped);
        match &shipped {
            Ok(receipt) => {
                self.metrics.samples_accepted.inc_by(receipt.accepted);
                self.metrics.histograms.inc_by(receipt.histograms);
                self.metrics.exemplars.inc_by(receipt.exemplars);
                for (reason, samples) in &receipt.refused {
                    let labels = ReasonLabels { reason: reason.clone() };
                    self.metrics.samples_refused.get_or_create(&labels).inc_by(*samples);
                }
            }
            Err(error) => tracing::debug!(%tenant, %error, "batch is not acknowledged"),
        }
        Ok((Answer::shipped(&problems, shipped), version))
    }

    /// Ships the batches of one request at once. What time heals in one of them goes for all: the sender
    /// repeats the request.
    async fn ship_all(&self, batches: Vec<Batch>) -> Result<Receipt, ShipError> {
        let (mut all, mut failed) = (Receipt::default(), None);
        let ship = |batch| self.ship.ship(batch);
        for shipped in join_all(batches.into_iter().map(ship)).await {
            match shipped {
                Ok(part) => all.merge(part),
                Err(error) => {
                    let (error, part) = error.apart();
                    all.merge(part);
                    failed = failed.or(Some(error));
                }
            }
        }
        all.messages.truncate(intake::PROBLEMS_MAX);
        match failed {
            Some(error) => Err(error.beside(all)),
            None => Ok(all),
        }
    }

    /// A place for what a body becomes. Its length stands in front of the block; where it cannot be
    /// read, or is above the limit, reading the body says so.
    async fn admit_decoded(&self, body: &[u8]) -> Result<Held, Answer> {
        let limit = self.config.decoded.decoded_bytes_max;
        let length = snap::raw::decompress_len(body).unwrap_or(0).min(limit);
        let bytes = length.saturating_mul(MEMORY_PER_DECODED_BYTE);
        let bytes = bytes.min(self.config.decoded_in_flight_bytes_max);
        self.decoded.acquire(bytes).await.map_err(|full| Answer::refused(full.kind(), full))
    }

    async fn read(&self, head: Head, body: Bytes) -> Result<Intake, Answer> {
        let limits = self.config.decoded;
        let large = body.len() > INLINE_BYTES_MAX;
        let read = move || -> Result<Intake, RemoteWriteError> {
            let Head { tenant, content_type, content_encoding } = head;
            intake::read(tenant, &content_type, &content_encoding, &body, limits)
        };
        let intake = match large {
            false => read(),
            true => tokio::task::spawn_blocking(read)
                .await
                .map_err(|error| Answer::refused(ErrorKind::Internal, error))?,
        };
        intake.map_err(|error| {
            tracing::debug!(%error, "remote write request cannot be read");
            Answer::unreadable(&error)
        })
    }

    fn check_rate(&self, tenant: &TenantId, samples: u64) -> Result<(), Answer> {
        let limit = (self.samples_per_s)(tenant);
        let taken = self.rates.lock().take(tenant, limit, samples, self.clock.monotonic());
        taken.map_err(|too_fast| Answer::too_fast(limit, too_fast.retry_after))
    }

    fn log_skipped(&self, tenant: &TenantId, skipped: &intake::Skipped) {
        self.metrics.series_invalid.inc_by(skipped.series);
        self.metrics.invalid_labels_samples.inc_by(skipped.samples);
        let now_ms = self.clock.monotonic().as_millis() as u64;
        let mut log = self.skipped_log.lock();
        let due =
            log.last_ms.is_none_or(|last| now_ms.saturating_sub(last) >= SKIPPED_LOG_INTERVAL_MS);
        if !due {
            log.suppressed += skipped.series;
            return;
        }
        let suppressed = std::mem::take(&mut log.suppressed);
        log.last_ms = Some(now_ms);
        drop(log);
        let (series, problem) = (skipped.series, skipped.first.as_deref().unwrap_or_default());
        tracing::warn!(%tenant, series, suppressed, problem, "series are left out");
    }
}

fn name_of(version: Version) -> &'static str {
    match version {
        Version::V1 => "v1",
        Version::V2 => "v2",
    }
}
