//! Raft messages over gRPC.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pando_model::{ErrorKind, NodeId};
use pando_proto::v1::RaftEnvelope;
use pando_proto::v1::raft_client::RaftClient;
use pando_proto::v1::raft_server::Raft as Service;
use pando_rpc::{Channels, MESSAGE_BYTES_MAX, status};
use parking_lot::RwLock;
use tonic::{Request, Response, Status};

use crate::host::Host;
use crate::member::Member;
use crate::message::{RaftReply, RaftRequest};
use crate::transport::{Transport, TransportError};

/// Where a node is now, if that is known better than when its groups were founded.
pub type AddressBook = Arc<dyn Fn(NodeId) -> Option<String> + Send + Sync>;

/// Raft messages over gRPC.
#[derive(Clone)]
pub struct GrpcTransport {
    channels: Channels,
    book: Arc<RwLock<Option<AddressBook>>>,
}

impl GrpcTransport {
    /// A transport that asks members where they were when their groups were founded.
    pub fn new(channels: Channels) -> Self {
        GrpcTransport { channels, book: Arc::default() }
    }

    /// From now on, addresses come from `book` where it knows them.
    pub fn use_book(&self, book: AddressBook) {
        *self.book.write() = Some(book);
    }
}

#[async_trait]
impl Transport for GrpcTransport {
    async fn send(
        &self,
        to: &Member,
        group: u64,
        request: RaftRequest,
        timeout: Duration,
    ) -> Result<RaftReply, TransportError> {
        let known = self.book.read().as_ref().and_then(|book| book(to.node));
        let address = known.unwrap_or_else(|| to.address.clone());
        let failed = |status: Status| {
            let text = status.message();
            TransportError(format!("node={} address={address}: {text}", to.node))
        };
        let peer = self.channels.peer(&address, Some(to.node)).map_err(failed)?;
        let message = request.encode().into();
        let mut request = Request::new(RaftEnvelope { group, message });
        request.set_timeout(timeout);
        let mut client = RaftClient::new(peer)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let reply = client.send(request).await.map_err(failed)?.into_inner();
        RaftReply::decode(reply.message).map_err(|error| TransportError(error.to_string()))
    }
}

/// Serves other members' messages.
pub struct RaftService {
    host: Arc<std::sync::OnceLock<Host>>,
}

impl RaftService {
    /// Serves `host`, once it is set: a process listens before it knows its cluster.
    pub fn new(host: Arc<std::sync::OnceLock<Host>>) -> Self {
        RaftService { host }
    }
}

#[tonic::async_trait]
impl Service for RaftService {
    async fn send(&self, request: Request<RaftEnvelope>) -> Result<Response<RaftEnvelope>, Status> {
        let Some(host) = self.host.get() else {
            return Err(status(ErrorKind::Unavailable, "this member has not opened its log yet"));
        };
        let RaftEnvelope { group, message } = request.into_inner();
        let request = RaftRequest::decode(message).map_err(|error| status(error.kind(), error))?;
        let message = host.handle(group, request).await.encode().into();
        Ok(Response::new(RaftEnvelope { group, message }))
    }
}
