//! `Network`: openraft's messages over a [`Transport`].

use std::sync::Arc;

use openraft::error::{InstallSnapshotError, NetworkError, RPCError, RaftError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{AnyError, BasicNode};
use pando_model::{ClusterId, NodeId};

use crate::group::Member;
use crate::message::{RaftReply, RaftRequest, decode_reply, encode_request};
use crate::transport::Transport;
use crate::types::Config;

/// Makes connections of one group.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) group: u64,
    pub(crate) cluster: ClusterId,
    pub(crate) transport: Arc<dyn Transport>,
}

/// A connection to one member.
pub(crate) struct Connection {
    network: Network,
    to: Member,
}

impl RaftNetworkFactory<Config> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, node: &BasicNode) -> Connection {
        let to = Member { node: NodeId(target), address: node.addr.clone() };
        Connection { network: self.clone(), to }
    }
}

impl Network {
    /// Sends one request; an error says that the member did not answer.
    pub(crate) async fn ask(
        &self,
        to: &Member,
        request: &RaftRequest,
        timeout: std::time::Duration,
    ) -> Result<RaftReply, String> {
        let message = encode_request(self.cluster, to.node, request);
        let answer = self.transport.send(to, self.group, message, timeout).await;
        let answer = answer.map_err(|error| error.to_string())?;
        decode_reply(&answer).map_err(|error| error.to_string())
    }
}

type CallError<E> = RPCError<u64, BasicNode, E>;

impl Connection {
    async fn ask<E: std::error::Error>(
        &self,
        request: &RaftRequest,
        option: &RPCOption,
    ) -> Result<RaftReply, CallError<E>> {
        let answer = self.network.ask(&self.to, request, option.hard_ttl()).await;
        answer.map_err(|text| RPCError::Unreachable(Unreachable::new(&AnyError::error(text))))
    }
}

fn odd<E: std::error::Error>(reply: &RaftReply) -> CallError<E> {
    let text = format!("answer of another kind: {reply:?}");
    RPCError::Network(NetworkError::new(&AnyError::error(text)))
}

impl RaftNetwork<Config> for Connection {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Config>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, CallError<RaftError<u64>>> {
        match self.ask(&RaftRequest::Append(rpc), &option).await? {
            RaftReply::Append(answer) => Ok(answer),
            other => Err(odd(&other)),
        }
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<Config>,
        option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, CallError<RaftError<u64, InstallSnapshotError>>> {
        match self.ask(&RaftRequest::Install(rpc), &option).await? {
            RaftReply::Install(answer) => Ok(answer),
            other => Err(odd(&other)),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, CallError<RaftError<u64>>> {
        match self.ask(&RaftRequest::Vote(rpc), &option).await? {
            RaftReply::Vote(answer) => Ok(answer),
            other => Err(odd(&other)),
        }
    }
}
