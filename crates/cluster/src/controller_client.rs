//! `ControllerClient`: asks the controllers, whichever of them answers. A controller that does not lead passes
//! on what only the leader can do.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pando_catalog::{Command, CommandRefused, CommandReply, wire};
use pando_model::{CatalogVersion, ErrorKind, NodeId, ShardId, TenantId};
use pando_proto::v1::controller_client::ControllerClient as Rpc;
use pando_proto::v1::{
    AssignTenantRequest, HeartbeatRequest, HeartbeatResponse, HelloRequest, HelloResponse,
    LeaseWorkRequest, LeaseWorkResponse, NewestRequest, ProposeRequest, SealShardRequest,
    SealShardResponse, WatchRequest,
};
use pando_rpc::{Channels, MESSAGE_BYTES_MAX, Peer};
use tonic::{Request, Status};

use crate::deltas::Deltas;

/// One call to one controller ends within this time; a leader's election takes about one second.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Sealing talks to a shard's members.
const SEAL_TIMEOUT: Duration = Duration::from_secs(30);

/// What a proposal may come to.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// The catalog refused the command; asking again will not help.
    #[error("{0}")]
    Refused(CommandRefused),
    /// No controller answered for the catalog. The outcome is unknown.
    #[error("the controllers did not take it: {}", .0.message())]
    Call(Status),
}

impl ProposeError {
    /// What it means to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ProposeError::Refused(refused) => refused.kind(),
            ProposeError::Call(status) => pando_rpc::kind_of(status),
        }
    }
}

/// A client of the one to three controllers. Cloning shares which of them answered last.
#[derive(Clone)]
pub struct ControllerClient {
    channels: Channels,
    addresses: Arc<[String]>,
    current: Arc<AtomicUsize>,
}

impl ControllerClient {
    /// A client of the controllers at `addresses` (host:port), of which there is at least one.
    pub fn new(channels: Channels, addresses: Vec<String>) -> Self {
        ControllerClient { channels, addresses: addresses.into(), current: Arc::default() }
    }

    /// The addresses.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Asks one controller who it is.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn hello(&self, address: &str) -> Result<HelloResponse, Status> {
        let mut rpc = self.rpc(address)?;
        Ok(rpc.hello(timed(HelloRequest {}, CALL_TIMEOUT)).await?.into_inner())
    }

    /// Says that a member is alive.
    ///
    /// # Errors
    /// No controller answers, or the member is refused.
    pub async fn heartbeat(&self, beat: HeartbeatRequest) -> Result<HeartbeatResponse, Status> {
        self.ask(|mut rpc| {
            let request = timed(beat.clone(), CALL_TIMEOUT);
            async move { Ok(rpc.heartbeat(request).await?.into_inner()) }
        })
        .await
    }

    /// Proposes a catalog command; the reply comes when it is committed and applied.
    ///
    /// # Errors
    /// The catalog refuses it, or no controller answers.
    pub async fn propose(
        &self,
        command: &Command,
    ) -> Result<(CommandReply, CatalogVersion), ProposeError> {
        let command: bytes::Bytes = wire::encode_command(command).into();
        let response = self
            .ask(|mut rpc| {
                let request = timed(ProposeRequest { command: command.clone() }, CALL_TIMEOUT);
                async move { Ok(rpc.propose(request).await?.into_inner()) }
            })
            .await
            .map_err(ProposeError::Call)?;
        let version = CatalogVersion(response.catalog_version);
        match wire::decode_reply(&response.reply) {
            Ok(Ok(reply)) => Ok((reply, version)),
            Ok(Err(refused)) => Err(ProposeError::Refused(refused)),
            Err(error) => Err(ProposeError::Call(pando_rpc::status(error.kind(), error))),
        }
    }

    /// Gives `tenant` a route; answers with a catalog version that has it.
    ///
    /// # Errors
    /// No controller answers, or there is no shard to give.
    pub async fn assign_tenant(&self, tenant: &TenantId) -> Result<CatalogVersion, Status> {
        let tenant = tenant.to_string();
        self.ask(|mut rpc| {
            let request = timed(AssignTenantRequest { tenant: tenant.clone() }, CALL_TIMEOUT);
            async move { Ok(rpc.assign_tenant(request).await?.into_inner().catalog_version) }
        })
        .await
        .map(CatalogVersion)
    }

    /// The next work item for a compactor.
    ///
    /// # Errors
    /// No controller answers.
    pub async fn lease_work(&self, node: NodeId) -> Result<LeaseWorkResponse, Status> {
        self.ask(|mut rpc| {
            let request = timed(LeaseWorkRequest { node: node.0 }, CALL_TIMEOUT);
            async move { Ok(rpc.lease_work(request).await?.into_inner()) }
        })
        .await
    }

    /// The newest version of the catalog, confirmed by a majority of the controllers: whatever was
    /// acknowledged before this was called is in it.
    ///
    /// # Errors
    /// No controller that reaches a majority answers.
    pub async fn newest(&self) -> Result<CatalogVersion, Status> {
        self.ask(|mut rpc| {
            let request = timed(NewestRequest {}, CALL_TIMEOUT);
            async move { Ok(rpc.newest(request).await?.into_inner().catalog_version) }
        })
        .await
        .map(CatalogVersion)
    }

    /// Seals a shard; `split` halves each of its key ranges between two successors.
    ///
    /// # Errors
    /// No controller answers, or the shard cannot be sealed.
    pub async fn seal_shard(
        &self,
        shard: ShardId,
        split: bool,
    ) -> Result<SealShardResponse, Status> {
        self.ask_for_seal(SealShardRequest { shard: shard.0, split, recover: false }).await
    }

    /// Has the seal of a shard recorded that its members have sealed already, and its successor opened.
    ///
    /// # Errors
    /// No controller answers, or the shard is still open at its members.
    pub async fn recover_seal(&self, shard: ShardId) -> Result<SealShardResponse, Status> {
        self.ask_for_seal(SealShardRequest { shard: shard.0, split: false, recover: true }).await
    }

    async fn ask_for_seal(&self, asked: SealShardRequest) -> Result<SealShardResponse, Status> {
        self.ask(|mut rpc| {
            let request = timed(asked, SEAL_TIMEOUT);
            async move { Ok(rpc.seal_shard(request).await?.into_inner()) }
        })
        .await
    }

    /// Follows nodes, shards, routes and tenants.
    ///
    /// # Errors
    /// No controller answers.
    pub async fn watch_routing(&self, since: CatalogVersion) -> Result<Deltas, Status> {
        self.ask(|mut rpc| async move {
            let stream = rpc.watch_routing(WatchRequest { since: since.0 }).await?;
            Ok(Deltas::new(stream.into_inner()))
        })
        .await
    }

    /// Follows blocks.
    ///
    /// # Errors
    /// No controller answers.
    pub async fn watch_blocks(&self, since: CatalogVersion) -> Result<Deltas, Status> {
        self.ask(|mut rpc| async move {
            let stream = rpc.watch_blocks(WatchRequest { since: since.0 }).await?;
            Ok(Deltas::new(stream.into_inner()))
        })
        .await
    }

    /// Asks one controller after the other, beginning with the one that answered last, until one gives an
    /// answer that another could not better.
    async fn ask<T, F, Fut>(&self, call: F) -> Result<T, Status>
    where
        F: Fn(Rpc<Peer>) -> Fut,
        Fut: Future<Output = Result<T, Status>>,
    {
        let begin = self.current.load(Ordering::Relaxed);
        let mut last = Status::unavailable("no controller address is known");
        for turn in 0..self.addresses.len() {
            let at = (begin + turn) % self.addresses.len();
            match call(self.rpc(&self.addresses[at])?).await {
                Ok(answer) => {
                    self.current.store(at, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(status) if is_elsewhere(&status) => last = status,
                Err(status) => return Err(status),
            }
        }
        Err(last)
    }

    fn rpc(&self, address: &str) -> Result<Rpc<Peer>, Status> {
        let peer = self.channels.peer(address, None)?;
        Ok(Rpc::new(peer)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }
}

/// Whether another controller may answer better.
fn is_elsewhere(status: &Status) -> bool {
    matches!(pando_rpc::kind_of(status), ErrorKind::Unavailable | ErrorKind::Timeout)
        || status.code() == tonic::Code::Cancelled
}

fn timed<T>(message: T, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}
