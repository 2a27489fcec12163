//! `Network`: openraft's view of the transport, for one group and one target.

use std::sync::Arc;
use std::time::Duration;

use openraft::error::{
    InstallSnapshotError, RPCError, RaftError, RemoteError, SnapshotMismatch, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{AnyError, BasicNode, SnapshotSegmentId};
use pando_model::{ClusterId, NodeId};

use crate::election::Contact;
use crate::member::Member;
use crate::message::{RaftRequest, Reply, Request};
use crate::transport::Transport;
use crate::types::Types;

type RpcError<E = openraft::error::Infallible> = RPCError<u64, BasicNode, RaftError<u64, E>>;

/// Reaches the members of one group.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) cluster: ClusterId,
    pub(crate) group: u64,
    /// Between two attempts to reach a member that cannot be reached.
    pub(crate) backoff: Duration,
    /// Learns from refused votes.
    pub(crate) contact: Arc<Contact>,
}

/// Reaches one of them.
pub(crate) struct Link {
    network: Network,
    target: Member,
}

impl Network {
    /// Sends a request; the error says what happened.
    pub(crate) async fn send(
        &self,
        target: &Member,
        body: Request,
        timeout: Duration,
    ) -> Result<Reply, String> {
        let request = RaftRequest { cluster: self.cluster, target: target.node, body };
        let sent = self.transport.send(target, self.group, request, timeout).await;
        match sent.map_err(|error| error.to_string())?.body {
            Reply::Refused(reason) => Err(reason),
            reply => Ok(reply),
        }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: u64, node: &BasicNode) -> Link {
        Link { network: self.clone(), target: Member::from_node(target, node) }
    }
}

impl Link {
    async fn send(&self, body: Request, option: &RPCOption) -> Result<Reply, Unreachable> {
        let reply = self.network.send(&self.target, body, option.hard_ttl()).await;
        // Whatever went wrong is tried again after a pause; openraft tries anything else again at once.
        reply.map_err(|reason| self.unreachable(reason))
    }

    fn unreachable(&self, reason: impl std::fmt::Display) -> Unreachable {
        let Member { node, address } = &self.target;
        let text = format!("member does not answer: node={node} address={address} {reason}");
        Unreachable::new(&AnyError::error(text))
    }
}

impl RaftNetwork<Types> for Link {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RpcError> {
        match self.send(Request::Append(rpc), &option).await? {
            Reply::Append(reply) => Ok(reply),
            _ => Err(self.unreachable("reply is of another kind").into()),
        }
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<Types>,
        option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, RpcError<InstallSnapshotError>> {
        let segment = |offset| SnapshotSegmentId { id: rpc.meta.snapshot_id.clone(), offset };
        let mismatch = SnapshotMismatch { expect: segment(0), got: segment(rpc.offset) };
        match self.send(Request::Snapshot(rpc), &option).await? {
            Reply::Snapshot(vote) => Ok(InstallSnapshotResponse { vote }),
            Reply::SnapshotMismatch => {
                let source = RaftError::APIError(InstallSnapshotError::SnapshotMismatch(mismatch));
                Err(RPCError::RemoteError(RemoteError::new(self.target.node.0, source)))
            }
            _ => Err(self.unreachable("reply is of another kind").into()),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, RpcError> {
        match self.send(Request::Vote(rpc.clone()), &option).await? {
            Reply::Vote(reply) => {
                self.network.contact.was_answered(&rpc, &reply);
                Ok(reply)
            }
            _ => Err(self.unreachable("reply is of another kind").into()),
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(self.network.backoff))
    }
}

/// The member with this id, where the group has one.
pub(crate) fn member(members: &[Member], node: u64) -> Option<Member> {
    members.iter().find(|member| member.node == NodeId(node)).cloned()
}
