//! `Agent`: puts the parts together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use pando_config::Config;
use pando_model::TenantId;
use pando_runtime::disk::Disk;
use pando_runtime::{MetricsRegistry, SharedClock, Tasks};
use pando_shipper::DiskBuffer;
use serde_json::Value;
use tokio::sync::{Notify, watch};
use url::Url;

use crate::api::{self, PoolView};
use crate::config::AgentConfig;
use crate::discovery::{Discovery, DiscoveryContext};
use crate::error::AgentError;
use crate::manager::{Manager, Scraping};
use crate::metrics::AgentMetrics;
use crate::outbox::{Outbox, OutboxConfig};
use crate::roster::Roster;
use crate::scrape::scraper::ScrapeContext;
use crate::sink::BatchSink;

/// How long scrape loops may take to end; they end at their next await.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// What an agent is made of.
#[derive(Clone)]
pub struct AgentParts {
    /// Where samples go; usually a `Shipper`.
    pub sink: Arc<dyn BatchSink>,
    /// With whom targets are shared; usually a [`ClusterRoster`](crate::ClusterRoster).
    pub roster: Arc<dyn Roster>,
    /// Time.
    pub clock: SharedClock,
    /// The owner of the agent's tasks. When they are asked to end, the agent shuts down.
    pub tasks: Tasks,
    /// Where the agent's metrics go.
    pub metrics: MetricsRegistry,
    /// Where the disk buffer lives.
    pub disk: Arc<dyn Disk>,
}

/// Starts agents.
pub struct Agent;

/// An agent that runs. Cloning shares it.
#[derive(Clone)]
pub struct AgentHandle {
    inner: Arc<Inner>,
}

struct Inner {
    tenant: TenantId,
    external: Option<(Url, u16)>,
    flush_timeout: Duration,
    scraping: watch::Sender<Arc<Scraping>>,
    views: Arc<ArcSwap<Vec<PoolView>>>,
    /// Loops and discovery, which end before the outbox does.
    loops: Tasks,
    outbox: Outbox,
    metrics: AgentMetrics,
}

impl Agent {
    /// Starts to scrape what `scraping` says.
    ///
    /// # Errors
    /// The settings are wrong, or the disk buffer cannot be opened.
    pub fn start(
        config: AgentConfig,
        scraping: &Config,
        parts: AgentParts,
    ) -> Result<AgentHandle, AgentError> {
        let faults = config.validate();
        if !faults.is_empty() {
            return Err(AgentError::Settings(faults.join("; ")));
        }
        let buffer = DiskBuffer::open(config.buffer.clone(), parts.disk.clone())?;
        let metrics = AgentMetrics::register(&parts.metrics, &parts.clock);
        let AgentConfig { queue_bytes_max, in_flight_max, gather, .. } = config;
        let limits = OutboxConfig { bytes_max: queue_bytes_max, in_flight_max, gather };
        let outbox = Outbox::new(limits, metrics.clone());
        outbox.start(parts.sink.clone(), buffer, parts.clock.clone(), &parts.tasks);

        let loops = Tasks::new();
        let news = Arc::new(Notify::new());
        let views: Arc<ArcSwap<Vec<PoolView>>> = Arc::default();
        let clock = parts.clock.clone();
        let discovery = Discovery::new(DiscoveryContext {
            clock: clock.clone(),
            tasks: loops.clone(),
            metrics: metrics.clone(),
            news: news.clone(),
        });
        let manager = Manager {
            tenant: config.tenant.clone(),
            context: ScrapeContext { clock, outbox: outbox.clone(), metrics: metrics.clone() },
            roster: parts.roster.clone(),
            discovery,
            tasks: loops.clone(),
            views: views.clone(),
            pools: BTreeMap::new(),
        };
        let (scraping, changes) = watch::channel(Arc::new(Scraping::new(scraping)));
        loops.spawn_until_stopped("agent targets", manager.run(changes, news));
        let AgentConfig { tenant, external, flush_timeout, .. } = config;
        let inner =
            Inner { tenant, external, flush_timeout, scraping, views, loops, outbox, metrics };
        let handle = AgentHandle { inner: Arc::new(inner) };
        let (stopping, token) = (handle.clone(), parts.tasks.token());
        parts.tasks.spawn("agent end", async move {
            token.cancelled().await;
            stopping.shutdown().await;
        });
        Ok(handle)
    }
}

impl AgentHandle {
    /// The tenant of everything that this agent scrapes.
    pub fn tenant(&self) -> &TenantId {
        &self.inner.tenant
    }

    /// Scrapes what `config` says from now on. Targets that are the same are scraped on as if nothing had changed.
    pub fn reload(&self, config: &Config) {
        self.inner.metrics.reloads.inc();
        self.inner.scraping.send_replace(Arc::new(Scraping::new(config)));
    }

    /// The targets of this agent as Prometheus' API shows them: `activeTargets`, `droppedTargets` and
    /// `droppedTargetCounts`. `state` is `active`, `dropped`, or anything else for both; `pool` names a scrape config,
    /// empty for all. The answers of all agents together, lists appended and counts added up, are the cluster's.
    pub fn targets(&self, state: &str, pool: &str) -> Value {
        api::targets(&self.inner.views.load(), state, pool, self.inner.external.as_ref())
    }

    /// Stops to scrape, ships what it can within the flush timeout, and writes the rest to disk. Series get no stale
    /// markers: other agents go on with the targets. Repeating it waits for the first one.
    pub async fn shutdown(&self) {
        let laggards = self.inner.loops.shutdown(STOP_GRACE).await;
        if !laggards.is_empty() {
            tracing::warn!(?laggards, "tasks of the agent do not end");
        }
        self.inner.outbox.close(self.inner.flush_timeout).await;
    }
}

#[cfg(test)]
mod tests;
