//! `AgentConfig`: what an agent is told beside its scrape configs.

use std::time::Duration;

use pando_model::TenantId;
use pando_shipper::BufferConfig;
use url::Url;

/// Settings of an agent.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The tenant of everything that it scrapes.
    pub tenant: TenantId,
    /// Bytes of samples that wait in memory, some 120 a sample. Beyond it they wait on disk.
    pub queue_bytes_max: usize,
    /// Batches that are under way to their shards at a time.
    pub in_flight_max: usize,
    /// For how long scrapes are gathered before they are shipped together: what a request, a log entry and an fsync
    /// cost is shared by all of them. Zero: each scrape is a batch of its own, at once.
    pub gather: Duration,
    /// What waits on disk while it cannot be shipped.
    pub buffer: BufferConfig,
    /// Where people reach this process, and the port that it listens on: targets on loopback are shown so that they
    /// can be followed from elsewhere. `None`: as they are scraped.
    pub external: Option<(Url, u16)>,
    /// How long a graceful end tries to ship what is left before it goes to disk.
    pub flush_timeout: Duration,
}

impl AgentConfig {
    /// The defaults: 64 MiB in memory, 8 batches under way, gathered for 500 ms, 5 s to flush.
    pub fn new(tenant: TenantId, buffer: BufferConfig) -> Self {
        AgentConfig {
            tenant,
            queue_bytes_max: 64 << 20,
            in_flight_max: 8,
            gather: Duration::from_millis(500),
            buffer,
            external: None,
            flush_timeout: Duration::from_secs(5),
        }
    }

    /// Everything that is wrong with the settings.
    pub fn validate(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.queue_bytes_max < 1 << 20 {
            faults.push(format!("queue is below 1 MiB: queue_bytes_max={}", self.queue_bytes_max));
        }
        if self.in_flight_max == 0 {
            faults.push("no batch may be under way: in_flight_max=0".to_string());
        }
        faults
    }
}
