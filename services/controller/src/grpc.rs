//! The controller's gRPC service. What only the leader can do is passed on to it, once.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use pando_catalog::{Command, CommandRefused, CommandReply, Node, wire};
use pando_cluster::role_from_proto;
use pando_consensus::ProposeError;
use pando_model::{CatalogVersion, ErrorKind, NodeId, ShardId, TenantId};
use pando_proto::v1::controller_client::ControllerClient as Rpc;
use pando_proto::v1::controller_server::Controller as Service;
use pando_proto::v1::{
    AssignTenantRequest, AssignTenantResponse, HeartbeatRequest, HeartbeatResponse, HelloRequest,
    HelloResponse, LeaseWorkRequest, LeaseWorkResponse, NewestRequest, NewestResponse,
    ProposeRequest, ProposeResponse, SealShardRequest, SealShardResponse, WatchRequest,
    WatchResponse,
};
use pando_rpc::{MESSAGE_BYTES_MAX, Peer, status};
use tonic::{Request, Response, Status};

use crate::controller::{Controller, not_joined};

/// Marks a call that another controller has passed on: it is not passed on again.
const PASSED_ON: &str = "pando-passed-on";

/// The service of one controller.
pub struct ControllerService {
    controller: Arc<Controller>,
}

impl ControllerService {
    /// The service of `controller`.
    pub fn new(controller: Arc<Controller>) -> Self {
        ControllerService { controller }
    }

    /// A client of the leader, for a call that this controller cannot answer itself; `None` where it leads.
    fn leader<T>(&self, request: &Request<T>) -> Result<Option<Rpc<Peer>>, Status> {
        let Some(group) = self.controller.group() else {
            return Err(not_joined());
        };
        if group.is_leader() {
            return Ok(None);
        }
        let no_leader = || status(ErrorKind::Unavailable, "the controllers have no leader");
        if request.metadata().contains_key(PASSED_ON) {
            return Err(no_leader());
        }
        let leader = group.leader().ok_or_else(no_leader)?;
        let peer = self.controller.channels().peer(&leader.address, Some(leader.node))?;
        Ok(Some(
            Rpc::new(peer)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        ))
    }
}

fn passed_on<T>(request: Request<T>) -> Request<T> {
    let (metadata, _, message) = request.into_parts();
    let mut passed = Request::new(message);
    // The caller's deadline goes along.
    if let Some(timeout) = metadata.get("grpc-timeout") {
        passed.metadata_mut().insert("grpc-timeout", timeout.clone());
    }
    passed.metadata_mut().insert(PASSED_ON, tonic::metadata::MetadataValue::from_static("1"));
    passed
}

type Deltas = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Service for ControllerService {
    async fn hello(&self, _: Request<HelloRequest>) -> Result<Response<HelloResponse>, Status> {
        let identity = self.controller.identity();
        Ok(Response::new(HelloResponse {
            node: identity.node().0,
            cluster: identity.cluster().map_or(0, |cluster| cluster.0),
            address: self.controller.config().own_address.clone(),
            controller: true,
        }))
    }

    async fn heartbeat(
        &self,
        request: Request<HeartbeatRequest>,
    ) -> Result<Response<HeartbeatResponse>, Status> {
        if let Some(mut leader) = self.leader(&request)? {
            return leader.heartbeat(passed_on(request)).await;
        }
        let beat = request.into_inner();
        let node = Node {
            id: NodeId(beat.node),
            roles: beat.roles.iter().filter_map(|&number| role_from_proto(number)).collect(),
            grpc_address: beat.grpc_address,
            http_address: beat.http_address,
            zone: beat.zone,
            feature_level: beat.feature_level,
            joined_ms: 0,
            agent_group: beat.agent_group,
        };
        self.controller.heartbeat(node, beat.clock_ms, beat.leaving).await.map(Response::new)
    }

    async fn propose(
        &self,
        request: Request<ProposeRequest>,
    ) -> Result<Response<ProposeResponse>, Status> {
        if let Some(mut leader) = self.leader(&request)? {
            return leader.propose(passed_on(request)).await;
        }
        let bytes = request.into_inner().command;
        let command = wire::decode_command(&bytes).map_err(|e| status(e.kind(), e))?;
        if is_for_operators(&command) {
            self.controller.check_admin()?;
        }
        let reply = self.controller.propose(&with_clock(command, self.controller.now_ms())).await?;
        Ok(Response::new(ProposeResponse {
            reply: wire::encode_reply(&reply).into(),
            catalog_version: self.controller.version().0,
        }))
    }

    async fn assign_tenant(
        &self,
        request: Request<AssignTenantRequest>,
    ) -> Result<Response<AssignTenantResponse>, Status> {
        if let Some(mut leader) = self.leader(&request)? {
            return leader.assign_tenant(passed_on(request)).await;
        }
        let name = request.into_inner().tenant;
        let tenant = TenantId::parse(&name).map_err(|e| status(ErrorKind::Invalid, e))?;
        let version = self.controller.assign_tenant(&tenant).await?;
        Ok(Response::new(AssignTenantResponse { catalog_version: version.0 }))
    }

    type WatchRoutingStream = Deltas;

    async fn watch_routing(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Deltas>, Status> {
        let since = CatalogVersion(request.into_inner().since);
        let deltas = crate::watch::deltas(self.controller.clone(), since, |catalog, since| {
            let delta = catalog.routing_since(since)?;
            Some((delta.to, wire::encode_routing_delta(&delta).into()))
        })?;
        Ok(Response::new(Box::pin(deltas)))
    }

    type WatchBlocksStream = Deltas;

    async fn watch_blocks(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Deltas>, Status> {
        let since = CatalogVersion(request.into_inner().since);
        let deltas = crate::watch::deltas(self.controller.clone(), since, |catalog, since| {
            let delta = catalog.blocks_since(since)?;
            Some((delta.to, wire::encode_block_delta(&delta).into()))
        })?;
        Ok(Response::new(Box::pin(deltas)))
    }

    async fn newest(&self, _: Request<NewestRequest>) -> Result<Response<NewestResponse>, Status> {
        // Any controller that reaches the leader can tell.
        let version = self.controller.newest().await?;
        Ok(Response::new(NewestResponse { catalog_version: version.0 }))
    }

    async fn lease_work(
        &self,
        request: Request<LeaseWorkRequest>,
    ) -> Result<Response<LeaseWorkResponse>, Status> {
        if let Some(mut leader) = self.leader(&request)? {
            return leader.lease_work(passed_on(request)).await;
        }
        let node = NodeId(request.into_inner().node);
        self.controller.lease_work(node).await.map(Response::new)
    }

    async fn seal_shard(
        &self,
        request: Request<SealShardRequest>,
    ) -> Result<Response<SealShardResponse>, Status> {
        if let Some(mut leader) = self.leader(&request)? {
            return leader.seal_shard(passed_on(request)).await;
        }
        let asked = request.into_inner();
        let shard = ShardId(asked.shard);
        let (successors, version) = if asked.recover {
            self.controller.recover_seal(shard).await?
        } else {
            self.controller.check_admin()?;
            self.controller.seal_shard(shard, asked.split).await?
        };
        Ok(Response::new(SealShardResponse {
            successors: successors.iter().map(|shard| shard.0).collect(),
            catalog_version: version.0,
        }))
    }
}

/// What no member proposes by itself. The leading controller's own rounds do not pass here.
fn is_for_operators(command: &Command) -> bool {
    matches!(
        command,
        Command::SetTenantLimits { .. }
            | Command::SetRetention { .. }
            | Command::SetRetentionSize { .. }
            | Command::AddDelete(_)
            | Command::DropWork { .. }
            | Command::RaiseFeatureLevel { .. }
    )
}

/// A member's command with the leader's clock in place of the member's.
fn with_clock(mut command: Command, leader_ms: i64) -> Command {
    match &mut command {
        Command::RegisterNode { now_ms, .. }
        | Command::OpenShards { now_ms, .. }
        | Command::SealShards { now_ms, .. }
        | Command::CloseShard { now_ms, .. }
        | Command::ExpireBlocks { now_ms, .. }
        | Command::RefuseBlock { now_ms, .. }
        | Command::GrantLease { now_ms, .. }
        | Command::RenewLease { now_ms, .. } => *now_ms = leader_ms,
        Command::ReplaceBlocks(replace) => replace.now_ms = leader_ms,
        Command::AddDelete(delete) => delete.now_ms = leader_ms,
        _ => {}
    }
    command
}

/// The status for a proposal that did not come through.
pub(crate) fn propose_status(error: ProposeError) -> Status {
    status(error.kind(), error)
}

/// The status for a refused command.
pub(crate) fn refused_status(refused: &CommandRefused) -> Status {
    status(refused.kind(), refused)
}

/// What a refusal or a reply of another kind than the expected is to a caller.
pub(crate) fn unexpected(reply: &CommandReply) -> Status {
    status(ErrorKind::Internal, format!("catalog answered something else: {reply:?}"))
}

#[cfg(test)]
mod tests {
    use pando_cluster::role_to_proto;

    use super::*;

    #[test]
    fn roles_survive_the_wire() {
        for role in pando_catalog::Role::ALL {
            assert_eq!(role_from_proto(role_to_proto(role) as i32), Some(role));
        }
    }
}
