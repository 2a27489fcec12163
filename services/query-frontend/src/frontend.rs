//! `Frontend`: what all requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pando_catalog::{CatalogView, RoutingView};
use pando_cluster::GatewayRing;
use pando_executor::Decoding;
use pando_model::{CatalogVersion, TenantId};
use pando_rpc::Channels;
use pando_runtime::{MetricsRegistry, SharedClock};
use parking_lot::Mutex;

use crate::catalog_source::CatalogSource;
use crate::config::FrontendConfig;
use crate::error::FrontendError;
use crate::gate::QueryGate;
use crate::metrics::FrontendMetrics;
use crate::newest_version::NewestVersion;
use crate::status_info::StatusInfo;
use crate::subquery_step::SubqueryStep;
use crate::suspects::Suspects;

/// How long a newer pin is waited for where the last one would do.
const NEWER_PIN_PATIENCE: Duration = Duration::from_millis(500);

/// One query frontend.
pub struct Frontend {
    config: FrontendConfig,
    subquery_step: SubqueryStep,
    catalog: Arc<dyn CatalogSource>,
    channels: Channels,
    clock: SharedClock,
    metrics: FrontendMetrics,
    status: StatusInfo,
    gate: QueryGate,
    decoding: Decoding,
    newest: NewestVersion,
    suspects: Suspects,
    /// The ring of one set of nodes: making it costs more than a small query.
    gateways: Mutex<Option<(CatalogVersion, Arc<GatewayRing>)>>,
    turn: AtomicU64,
    /// What was pinned last. The two streams of the catalog may have ended at versions that do not
    /// fit together; until a controller answers again, queries go on with what did fit, and shards
    /// say where that is too old.
    last_pin: Mutex<Option<CatalogView>>,
}

impl Frontend {
    /// A frontend over the cluster that `catalog` knows.
    pub fn new(
        config: FrontendConfig,
        subquery_step: SubqueryStep,
        catalog: Arc<dyn CatalogSource>,
        channels: Channels,
        clock: SharedClock,
        metrics: &MetricsRegistry,
        status: StatusInfo,
    ) -> Arc<Self> {
        let gate = QueryGate::new(config.concurrency_max);
        let metrics = FrontendMetrics::register(metrics, &clock, config.concurrency_max);
        Arc::new(Frontend {
            config,
            subquery_step,
            catalog,
            channels,
            clock,
            metrics,
            status,
            gate,
            decoding: Decoding::new(),
            newest: NewestVersion::default(),
            suspects: Suspects::default(),
            gateways: Mutex::default(),
            turn: AtomicU64::new(0),
            last_pin: Mutex::default(),
        })
    }

    /// Its HTTP side: Prometheus' API below `/api/v1` and a page about the cluster.
    pub fn router(self: &Arc<Self>) -> axum::Router {
        crate::http::router(self.clone())
    }

    pub(crate) fn config(&self) -> &FrontendConfig {
        &self.config
    }

    /// The step of subqueries that name none, ms.
    pub(crate) fn subquery_step_ms(&self) -> i64 {
        self.subquery_step.ms()
    }

    pub(crate) fn catalog(&self) -> &dyn CatalogSource {
        &*self.catalog
    }

    pub(crate) fn channels(&self) -> &Channels {
        &self.channels
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        &self.clock
    }

    pub(crate) fn metrics(&self) -> &FrontendMetrics {
        &self.metrics
    }

    pub(crate) fn status(&self) -> &StatusInfo {
        &self.status
    }

    pub(crate) fn gate(&self) -> &QueryGate {
        &self.gate
    }

    pub(crate) fn decoding(&self) -> &Decoding {
        &self.decoding
    }

    pub(crate) fn suspects(&self) -> &Suspects {
        &self.suspects
    }

    /// Numbers that spread fragments over the members of a shard.
    pub(crate) fn next_turn(&self) -> u64 {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// The ring of the gateways that `routing` knows.
    pub(crate) fn gateways(&self, routing: &RoutingView) -> Arc<GatewayRing> {
        let mut kept = self.gateways.lock();
        match &*kept {
            Some((version, ring)) if *version == routing.changed() => ring.clone(),
            _ => {
                let ring = Arc::new(GatewayRing::new(routing.nodes().values().map(|node| &**node)));
                *kept = Some((routing.changed(), ring.clone()));
                ring
            }
        }
    }

    /// Pins the catalog at `at_least` or a later version.
    ///
    /// # Errors
    /// None is known within the configured patience.
    pub(crate) async fn pin(&self, at_least: CatalogVersion) -> Result<CatalogView, FrontendError> {
        let last = self.last_pin.lock().clone().filter(|view| view.version >= at_least);
        let patience = match &last {
            Some(_) => NEWER_PIN_PATIENCE.min(self.config.pin_patience),
            None => self.config.pin_patience,
        };
        match self.catalog.pin(at_least, patience).await {
            Some(view) => {
                *self.last_pin.lock() = Some(view.clone());
                Ok(view)
            }
            None => last.ok_or(FrontendError::NoCatalog {
                at_least: at_least.0,
                waited_ms: patience.as_millis() as u64,
            }),
        }
    }

    /// Pins the catalog for `tenant`; `None` where it has no data: a controller is asked before
    /// that is said.
    pub(crate) async fn pin_for(
        &self,
        tenant: &TenantId,
    ) -> Result<Option<CatalogView>, FrontendError> {
        let view = self.pin(CatalogVersion(0)).await?;
        if view.routing.route(tenant).is_some() {
            return Ok(Some(view));
        }
        let newest = self.newest.get(&*self.catalog, &self.clock).await;
        let newest = newest.map_err(|s| FrontendError::NoController(s.message().to_string()))?;
        let view = match newest > view.version {
            true => self.pin(newest).await?,
            false => view,
        };
        Ok(view.routing.route(tenant).is_some().then_some(view))
    }
}
