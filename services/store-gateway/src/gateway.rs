//! `StoreGateway`: the role, wired.

use std::sync::Arc;

use pando_executor::{BlockStore, Executor, ExecutorService, NoLiveShards};
use pando_proto::v1::executor_server::ExecutorServer;
use pando_rpc::{Channels, GrpcServer, limited};
use pando_runtime::{MetricsRegistry, Tasks};

use crate::counted::Counted;
use crate::metrics::GatewayMetrics;

/// The store gateway of a process.
pub struct StoreGateway {
    executor: Executor,
    tasks: Tasks,
    metrics: GatewayMetrics,
}

impl StoreGateway {
    /// A gateway over `blocks`, which fetches live generations over `channels`.
    pub fn new(
        blocks: BlockStore,
        channels: Channels,
        tasks: &Tasks,
        metrics: &MetricsRegistry,
    ) -> Self {
        StoreGateway {
            executor: Executor::new(blocks, Arc::new(NoLiveShards), channels),
            tasks: tasks.clone(),
            metrics: GatewayMetrics::new(metrics),
        }
    }

    /// Adds the service of this role: Executor.
    pub fn services(&self, server: &GrpcServer) {
        let executor = ExecutorService::new(self.executor.clone(), self.tasks.clone());
        let counted = Counted::new(executor, self.metrics.clone());
        server.add(limited!(ExecutorServer::new(counted)));
    }

    /// Whether it can serve: at once.
    pub fn ready(&self) -> bool {
        true
    }
}
