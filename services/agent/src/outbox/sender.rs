//! The task behind an outbox.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use pando_runtime::SharedClock;
use pando_shipper::{Batch, BufferEntry, DiskBuffer, Receipt, ShipError, ShipSample};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::Outbox;
use crate::sink::BatchSink;

/// Pause after a failure, doubled up to the second value.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// What goes to disk is gathered for this long, so that an fsync serves many batches.
const SPILL_PAUSE: Duration = Duration::from_secs(1);
/// Samples that are shipped together, some 1 MiB on the wire at the worst; as many in memory need not be gathered on.
const GATHERED_SAMPLES_MAX: usize = 16 << 10;
const GATHERED_BYTES: usize = GATHERED_SAMPLES_MAX * size_of::<ShipSample>();
/// Part of the queue that is left in memory when it spills over.
const SPILL_TO: usize = 2;

/// Where a batch that is under way came from.
enum Origin {
    /// Memory: its number, and itself once more.
    Memory(u64, Batch),
    Disk(BufferEntry),
}

struct Sent {
    ticket: u64,
    result: Result<Receipt, ShipError>,
}

/// Waits until the outbox is to end; how long it may take to flush.
async fn asked_to_close(closing: &mut watch::Receiver<Option<Duration>>) -> Duration {
    let flush = closing.wait_for(Option::is_some).await;
    flush.ok().and_then(|flush| *flush).unwrap_or_default()
}

/// See the module.
pub(super) struct Sender {
    outbox: Outbox,
    sink: Arc<dyn BatchSink>,
    buffer: Arc<Mutex<DiskBuffer>>,
    clock: SharedClock,
    under_way: FuturesUnordered<BoxFuture<'static, Sent>>,
    /// Where what is under way came from.
    origins: BTreeMap<u64, Origin>,
    next_ticket: u64,
    /// The pause before the next try; `None`: the last one went well.
    pause: Option<Duration>,
    /// Whether the pause is over.
    may_try: bool,
    /// Whether what is in memory was gathered for long enough.
    gathered: bool,
    /// What the buffer had lost when it was last asked.
    lost: u64,
}

impl Sender {
    pub(super) fn new(
        outbox: Outbox,
        sink: Arc<dyn BatchSink>,
        buffer: DiskBuffer,
        clock: SharedClock,
    ) -> Self {
        Sender {
            outbox,
            sink,
            buffer: Arc::new(Mutex::new(buffer)),
            clock,
            under_way: FuturesUnordered::new(),
            origins: BTreeMap::new(),
            next_ticket: 0,
            pause: None,
            may_try: true,
            gathered: false,
            lost: 0,
        }
    }

    pub(super) async fn run(mut self) {
        let mut closing = self.outbox.shared.closing.subscribe();
        let mut spill = tokio::time::interval(SPILL_PAUSE);
        spill.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // The first tick is at once: nothing was tried yet.
        spill.tick().await;
        let gather = self.outbox.shared.config.gather.max(Duration::from_millis(1));
        let mut gather = tokio::time::interval(gather);
        gather.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // The first tick is at once: nothing was gathered yet.
        gather.tick().await;
        let wake = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(wake);
        loop {
            self.send_more().await;
            let shared = self.outbox.shared.clone();
            tokio::select! {
                Some(sent) = self.under_way.next() => {
                    if let Some(pause) = self.settle(sent) {
                        wake.set(tokio::time::sleep(pause));
                    }
                }
                () = &mut wake, if !self.may_try => self.may_try = true,
                () = shared.pushed.notified() => self.spill_if_full().await,
                _ = gather.tick(), if !self.gathered => self.gathered = true,
                _ = spill.tick() => self.spill_if_failing().await,
                flush = asked_to_close(&mut closing) => return self.close(flush).await,
            }
        }
    }

    /// Fills up what is under way: from disk while there is anything, then from memory.
    async fn send_more(&mut self) {
        // While the sink fails, one batch tries whether it still does.
        let max = match self.pause {
            Some(_) => usize::from(self.may_try),
            None => self.outbox.shared.config.in_flight_max.max(1),
        };
        while self.under_way.len() < max {
            let Some((origin, batch)) = self.next().await else { break };
            let (sink, clock) = (self.sink.clone(), self.clock.clone());
            let ticket = self.next_ticket;
            self.next_ticket += 1;
            self.origins.insert(ticket, origin);
            let seconds = self.outbox.shared.metrics.ship_seconds.clone();
            self.under_way.push(Box::pin(async move {
                let begin = clock.monotonic();
                let result = sink.ship(batch).await;
                seconds.observe(clock.monotonic().saturating_sub(begin).as_secs_f64());
                Sent { ticket, result }
            }));
        }
        self.outbox.shared.metrics.in_flight_batches.set(self.under_way.len() as i64);
    }

    async fn next(&mut self) -> Option<(Origin, Batch)> {
        if self.buffer.lock().has_next() {
            let buffer = self.buffer.clone();
            let popped = tokio::task::spawn_blocking(move || buffer.lock().pop()).await;
            self.measure();
            if let Ok(Some((entry, batch))) = popped {
                return Some((Origin::Disk(entry), batch));
            }
        }
        let gather = self.outbox.shared.config.gather;
        let mut queue = self.outbox.shared.queue.lock();
        let taken = match gather.is_zero() {
            true => queue.take_oldest(),
            // While the sink fails there is nothing to be gained by waiting.
            false if self.gathered || self.pause.is_some() || queue.bytes >= GATHERED_BYTES => {
                queue.take_gathered(GATHERED_SAMPLES_MAX)
            }
            false => return None,
        };
        self.gathered &= taken.is_some();
        let (number, batch) = taken?;
        self.outbox.measure(&queue);
        Some((Origin::Memory(number, batch.clone()), batch))
    }

    /// Takes note of how a batch fared; a pause to make before the next try.
    fn settle(&mut self, sent: Sent) -> Option<Duration> {
        let metrics = self.outbox.shared.metrics.clone();
        let origin = self.origins.remove(&sent.ticket)?;
        match sent.result {
            Ok(receipt) => {
                metrics.shipped.inc_by(receipt.accepted);
                receipt.refused.iter().for_each(|(why, samples)| metrics.refused(why, *samples));
                for message in &receipt.messages {
                    tracing::debug!(message, "sample refused");
                }
                if self.pause.take().is_some() {
                    tracing::info!("samples are shipped again");
                }
                self.may_try = true;
                self.forget(origin);
                None
            }
            Err(error) => {
                metrics.ship_failures.inc();
                self.keep(origin);
                let pause = match self.pause {
                    // Others that were under way with the first one tell nothing new.
                    Some(pause) if !self.may_try => {
                        self.pause = Some(pause);
                        return None;
                    }
                    Some(pause) => (pause * 2).min(PAUSE_MAX),
                    None => {
                        tracing::warn!(%error, kind = ?error.kind(), "samples cannot be shipped");
                        PAUSE_MIN
                    }
                };
                self.pause = Some(pause);
                self.may_try = false;
                Some(pause)
            }
        }
    }

    fn forget(&mut self, origin: Origin) {
        if let Origin::Disk(entry) = origin {
            self.buffer.lock().ack(entry);
            self.measure();
        }
    }

    fn keep(&mut self, origin: Origin) {
        match origin {
            Origin::Disk(entry) => self.buffer.lock().give_back(entry),
            Origin::Memory(number, batch) => {
                let mut queue = self.outbox.shared.queue.lock();
                queue.put(number, batch);
                self.outbox.measure(&queue);
            }
        }
    }

    async fn spill_if_failing(&mut self) {
        if self.pause.is_some() {
            self.spill(0).await;
        }
    }

    async fn spill_if_full(&mut self) {
        let limit = self.outbox.shared.config.bytes_max;
        let bytes = self.outbox.shared.queue.lock().bytes;
        if bytes > limit {
            self.spill(limit / SPILL_TO).await;
        }
    }

    /// Writes the oldest batches to disk until at most `keep_bytes` are left in memory.
    async fn spill(&mut self, keep_bytes: usize) {
        let mut batches = Vec::new();
        {
            let mut queue = self.outbox.shared.queue.lock();
            while queue.bytes > keep_bytes {
                let Some(oldest) = queue.take_oldest() else { break };
                batches.push(oldest);
            }
            self.outbox.measure(&queue);
        }
        if batches.is_empty() {
            return;
        }
        let (buffer, metrics) = (self.buffer.clone(), self.outbox.shared.metrics.clone());
        let left = tokio::task::spawn_blocking(move || {
            let mut buffer = buffer.lock();
            let mut left = Vec::new();
            let mut batches = batches.into_iter();
            for (number, batch) in batches.by_ref() {
                match buffer.push(&batch) {
                    Ok(refused) => {
                        metrics.dropped("buffer_refused", refused);
                        metrics
                            .spooled
                            .inc_by((batch.samples.len() as u64).saturating_sub(refused));
                    }
                    Err(error) => {
                        tracing::error!(%error, "samples stay in memory");
                        left.push((number, batch));
                        break;
                    }
                }
            }
            if let Err(error) = buffer.sync() {
                tracing::error!(%error, "samples on disk may not survive a crash");
            }
            left.extend(batches);
            left
        });
        // It fails only where the process ends.
        for (number, batch) in left.await.unwrap_or_default() {
            self.keep(Origin::Memory(number, batch));
        }
        self.measure();
    }

    async fn close(mut self, flush: Duration) {
        let ship_all = async {
            loop {
                self.gathered = true;
                self.send_more().await;
                let Some(sent) = self.under_way.next().await else { return };
                if self.settle(sent).is_some() {
                    return;
                }
            }
        };
        if tokio::time::timeout(flush, ship_all).await.is_err() {
            tracing::warn!(?flush, "not everything was shipped in time");
        }
        // What is still under way may or may not arrive; sending it again is harmless.
        self.under_way.clear();
        for origin in std::mem::take(&mut self.origins).into_values() {
            self.keep(origin);
        }
        self.spill(0).await;
        let queue = self.outbox.shared.queue.lock();
        let left: usize = queue.batches.values().map(|batch| batch.samples.len()).sum();
        drop(queue);
        self.outbox.shared.metrics.dropped("shutdown", left as u64);
        self.outbox.shared.closed.send_replace(true);
    }

    fn measure(&mut self) {
        let buffer = self.buffer.lock();
        let metrics = &self.outbox.shared.metrics;
        metrics.buffer_bytes.set(buffer.bytes() as i64);
        metrics.buffer_samples.set(buffer.samples() as i64);
        let lost = buffer.stats().dropped_samples;
        metrics.dropped("buffer_full", lost - self.lost);
        self.lost = lost;
    }
}
