//! `Outbox`: the queue between scrapes and the sink. What cannot be shipped waits in memory first, then on disk.
//!
//! Scrapes push and never wait. They are gathered for a moment, or until there are enough of them, and shipped
//! together. One task sends: what is on disk first, for it is older. While the sink fails, or
//! memory fills up, everything goes to disk; a crash then loses what came after the last sync, at most a second.

mod sender;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pando_runtime::{SharedClock, Tasks};
use pando_shipper::{Batch, DiskBuffer, ShipSample};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::metrics::AgentMetrics;
use crate::sink::BatchSink;

/// Bytes of the queue that may still come in while the disk takes what is over the threshold: one more of it.
const OVERFLOW: usize = 2;

/// Settings of an outbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutboxConfig {
    /// Bytes in memory; what is beyond it goes to disk.
    pub(crate) bytes_max: usize,
    /// Batches under way to the sink.
    pub(crate) in_flight_max: usize,
    /// For how long batches are gathered; zero: each goes alone and at once.
    pub(crate) gather: Duration,
}

/// See the module. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Outbox {
    shared: Arc<Shared>,
}

struct Shared {
    config: OutboxConfig,
    metrics: AgentMetrics,
    queue: Mutex<Queue>,
    pushed: Notify,
    closing: watch::Sender<Option<Duration>>,
    closed: watch::Sender<bool>,
    started: AtomicBool,
}

/// What waits in memory, by the order of its coming.
#[derive(Default)]
struct Queue {
    batches: BTreeMap<u64, Batch>,
    bytes: usize,
    next: u64,
}

impl Outbox {
    /// An outbox whose task is not running yet.
    pub(crate) fn new(config: OutboxConfig, metrics: AgentMetrics) -> Self {
        let shared = Shared {
            config,
            metrics,
            queue: Mutex::default(),
            pushed: Notify::new(),
            closing: watch::Sender::new(None),
            closed: watch::Sender::new(false),
            started: AtomicBool::new(false),
        };
        Outbox { shared: Arc::new(shared) }
    }

    /// Starts to send. The task ends when the outbox is closed.
    pub(crate) fn start(
        &self,
        sink: Arc<dyn BatchSink>,
        buffer: DiskBuffer,
        clock: SharedClock,
        tasks: &Tasks,
    ) {
        self.shared.started.store(true, Ordering::SeqCst);
        let sender = sender::Sender::new(self.clone(), sink, buffer, clock);
        tasks.spawn("agent outbox", sender.run());
    }

    /// Takes a batch. Where memory and disk both fail, the oldest batches in memory are dropped.
    pub(crate) fn push(&self, batch: Batch) {
        if batch.samples.is_empty() && batch.metadata.is_empty() {
            return;
        }
        let limit = self.shared.config.bytes_max.saturating_mul(OVERFLOW);
        let mut queue = self.shared.queue.lock();
        let number = queue.next;
        queue.next += 1;
        queue.put(number, batch);
        let mut dropped = 0;
        while queue.bytes > limit {
            let Some((_, oldest)) = queue.take_oldest() else { break };
            dropped += oldest.samples.len() as u64;
        }
        self.measure(&queue);
        drop(queue);
        if dropped > 0 {
            tracing::warn!(
                dropped,
                "samples are dropped: memory is full and the disk does not take them"
            );
            self.shared.metrics.dropped("queue_full", dropped);
        }
        self.shared.pushed.notify_one();
    }

    /// Ships what it can for at most `flush`, writes the rest to disk, and ends.
    pub(crate) async fn close(&self, flush: Duration) {
        if !self.shared.started.load(Ordering::SeqCst) {
            return;
        }
        self.shared.closing.send_modify(|closing| {
            closing.get_or_insert(flush);
        });
        let mut closed = self.shared.closed.subscribe();
        // The sender lives in `self`: the wait cannot fail.
        let _ = closed.wait_for(|closed| *closed).await;
    }

    /// Everything that waits in memory.
    #[cfg(test)]
    pub(crate) fn take_all(&self) -> Vec<Batch> {
        let mut queue = self.shared.queue.lock();
        std::iter::from_fn(|| queue.take_oldest()).map(|(_, batch)| batch).collect()
    }

    fn measure(&self, queue: &Queue) {
        self.shared.metrics.queue_bytes.set(queue.bytes as i64);
        self.shared.metrics.queue_batches.set(queue.batches.len() as i64);
    }
}

impl Queue {
    fn put(&mut self, number: u64, batch: Batch) {
        self.bytes += bytes_of(&batch);
        self.batches.insert(number, batch);
    }

    /// The oldest batch, with those after it of the same tenant until `samples_max` are together.
    fn take_gathered(&mut self, samples_max: usize) -> Option<(u64, Batch)> {
        let (number, mut batch) = self.take_oldest()?;
        while let Some((_, next)) = self.batches.first_key_value() {
            let together = batch.samples.len() + next.samples.len();
            if next.tenant != batch.tenant || together > samples_max {
                break;
            }
            let Some((_, next)) = self.take_oldest() else { break };
            batch.samples.extend(next.samples);
            batch.metadata.extend(next.metadata);
        }
        Some((number, batch))
    }

    fn take_oldest(&mut self) -> Option<(u64, Batch)> {
        let (number, batch) = self.batches.pop_first()?;
        self.bytes -= bytes_of(&batch);
        Some((number, batch))
    }
}

/// What a batch takes in memory; its labels are the targets', which keep them anyway.
fn bytes_of(batch: &Batch) -> usize {
    let exemplars: usize = batch.samples.iter().map(|sample| sample.exemplars.len()).sum();
    let metadata: usize = batch.metadata.iter().map(|(f, m)| f.len() + m.help.len() + 64).sum();
    size_of::<Batch>() + batch.samples.len() * size_of::<ShipSample>() + exemplars * 256 + metadata
}

#[cfg(test)]
mod tests;
