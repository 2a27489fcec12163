//! `LocalNetwork`: members of one process, for tests: with partitions, loss and delay.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pando_model::NodeId;
use pando_runtime::Rng;
use parking_lot::Mutex;

use crate::host::Host;
use crate::member::Member;
use crate::message::{RaftReply, RaftRequest};
use crate::transport::{Transport, TransportError};

/// Connects hosts of one process. Messages pass through their bytes. Cloning shares it.
#[derive(Clone)]
pub struct LocalNetwork {
    wires: Arc<Mutex<Wires>>,
    rng: Rng,
}

#[derive(Default)]
struct Wires {
    hosts: BTreeMap<NodeId, Host>,
    cut: BTreeSet<(NodeId, NodeId)>,
    loss_percent: u64,
    delay_ms: (u64, u64),
}

struct Port {
    from: NodeId,
    network: LocalNetwork,
}

impl LocalNetwork {
    /// A network without members that neither loses nor delays.
    pub fn new(rng: Rng) -> Self {
        LocalNetwork { wires: Arc::default(), rng }
    }

    /// The transport for member `from`.
    pub fn transport(&self, from: NodeId) -> Arc<dyn Transport> {
        Arc::new(Port { from, network: self.clone() })
    }

    /// Lets others reach `host` as `node`.
    pub fn connect(&self, node: NodeId, host: &Host) {
        self.wires.lock().hosts.insert(node, host.clone());
    }

    /// Nobody reaches `node` any more.
    pub fn disconnect(&self, node: NodeId) {
        self.wires.lock().hosts.remove(&node);
    }

    /// Nothing passes from `from` to `to`. The other direction stays as it is.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.wires.lock().cut.insert((from, to));
    }

    /// Nothing passes between `node` and any of `others`.
    pub fn isolate(&self, node: NodeId, others: &[NodeId]) {
        for &other in others.iter().filter(|other| **other != node) {
            self.cut(node, other);
            self.cut(other, node);
        }
    }

    /// Everything passes again, without loss and delay.
    pub fn heal(&self) {
        let mut wires = self.wires.lock();
        wires.cut.clear();
        wires.loss_percent = 0;
        wires.delay_ms = (0, 0);
    }

    /// That many of a hundred messages, requests and replies alike, are lost.
    pub fn set_loss_percent(&self, percent: u64) {
        self.wires.lock().loss_percent = percent;
    }

    /// Each message takes a random time in `[low, high)` ms.
    pub fn set_delay_ms(&self, low: u64, high: u64) {
        self.wires.lock().delay_ms = (low, high);
    }

    /// Whether a message gets through, after how long.
    fn passage(&self, from: NodeId, to: NodeId) -> Option<Duration> {
        let wires = self.wires.lock();
        if wires.cut.contains(&(from, to)) || self.rng.range(0, 100) < wires.loss_percent {
            return None;
        }
        let (low, high) = wires.delay_ms;
        Some(Duration::from_millis(self.rng.range(low, high)))
    }

    async fn pass(&self, from: NodeId, to: NodeId) {
        match self.passage(from, to) {
            None => std::future::pending().await,
            Some(Duration::ZERO) => {}
            Some(delay) => tokio::time::sleep(delay).await,
        }
    }

    async fn carry(
        &self,
        from: NodeId,
        to: &Member,
        group: u64,
        request: RaftRequest,
    ) -> Result<RaftReply, TransportError> {
        self.pass(from, to.node).await;
        let host = self.wires.lock().hosts.get(&to.node).cloned();
        let host =
            host.ok_or_else(|| TransportError(format!("connection refused: node={}", to.node)))?;
        let said = |error: crate::message::MessageError| TransportError(error.to_string());
        let request = RaftRequest::decode(request.encode()).map_err(said)?;
        let reply = host.handle(group, request).await;
        self.pass(to.node, from).await;
        RaftReply::decode(reply.encode()).map_err(said)
    }
}

#[async_trait]
impl Transport for Port {
    async fn send(
        &self,
        to: &Member,
        group: u64,
        request: RaftRequest,
        timeout: Duration,
    ) -> Result<RaftReply, TransportError> {
        let carried = self.network.carry(self.from, to, group, request);
        match tokio::time::timeout(timeout, carried).await {
            Ok(reply) => reply,
            Err(_) => {
                Err(TransportError(format!("no answer: node={} timeout={timeout:?}", to.node)))
            }
        }
    }
}
