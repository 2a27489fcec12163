//! `Transport`: carries messages between members, bytes in, bytes out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pando_model::NodeId;
use parking_lot::Mutex;

use crate::group::Member;
use crate::host::Host;

/// A message was not answered.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct TransportError(pub String);

/// Carries messages between members.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Delivers `message` of `group` to `to` and returns its answer.
    async fn send(
        &self,
        to: &Member,
        group: u64,
        message: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, TransportError>;
}

/// Members of one process, with cuts between them: for tests.
#[derive(Clone, Default)]
pub struct LocalTransport {
    net: Arc<Mutex<Net>>,
    from: Option<NodeId>,
}

#[derive(Default)]
struct Net {
    hosts: BTreeMap<NodeId, Host>,
    cut: BTreeSet<(NodeId, NodeId)>,
}

impl LocalTransport {
    /// The transport of one member.
    pub fn of(&self, node: NodeId) -> Self {
        LocalTransport { net: self.net.clone(), from: Some(node) }
    }

    /// Makes a member reachable.
    pub fn attach(&self, node: NodeId, host: Host) {
        self.net.lock().hosts.insert(node, host);
    }

    /// Makes a member unreachable.
    pub fn detach(&self, node: NodeId) {
        self.net.lock().hosts.remove(&node);
    }

    /// Cuts, or mends, both ways between two members.
    pub fn cut(&self, a: NodeId, b: NodeId, cut: bool) {
        let mut net = self.net.lock();
        for pair in [(a, b), (b, a)] {
            if cut {
                net.cut.insert(pair);
            } else {
                net.cut.remove(&pair);
            }
        }
    }
}

#[async_trait]
impl Transport for LocalTransport {
    async fn send(
        &self,
        to: &Member,
        group: u64,
        message: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, TransportError> {
        let host = {
            let net = self.net.lock();
            let cut = self.from.is_some_and(|from| net.cut.contains(&(from, to.node)));
            if cut { None } else { net.hosts.get(&to.node).cloned() }
        };
        let host =
            host.ok_or_else(|| TransportError(format!("no such member: node={}", to.node)))?;
        match tokio::time::timeout(timeout, host.handle(group, message)).await {
            Ok(answer) => answer.map_err(|error| TransportError(error.to_string())),
            Err(_) => {
                Err(TransportError(format!("no answer: node={} timeout={timeout:?}", to.node)))
            }
        }
    }
}
