//! `StoreGateway`: the role, wired.

use pando_executor::{Executor, ExecutorService};
use pando_proto::v1::executor_server::ExecutorServer;
use pando_rpc::{GrpcServer, limited};
use pando_runtime::{MetricsRegistry, Tasks};

use crate::counted::Counted;
use crate::metrics::GatewayMetrics;

/// The store gateway of a process.
pub struct StoreGateway {
    executor: Executor,
    tasks: Tasks,
    registry: MetricsRegistry,
    metrics: GatewayMetrics,
}

impl StoreGateway {
    /// A gateway that serves `executor`.
    pub fn new(executor: Executor, tasks: &Tasks, metrics: &MetricsRegistry) -> Self {
        let (tasks, registry) = (tasks.clone(), metrics.clone());
        StoreGateway { executor, tasks, registry, metrics: GatewayMetrics::new(metrics) }
    }

    /// Adds the service of this role: Executor.
    pub fn services(&self, server: &GrpcServer) {
        let (executor, tasks) = (self.executor.clone(), self.tasks.clone());
        let executor = ExecutorService::new(executor, tasks, &self.registry);
        let counted = Counted::new(executor, self.metrics.clone());
        server.add(limited!(ExecutorServer::new(counted)));
    }

    /// Whether it can serve: at once.
    pub fn ready(&self) -> bool {
        true
    }
}
