//! The agent's gRPC service: what the query frontend asks it.

use pando_model::ErrorKind;
use pando_proto::v1::agent_server::Agent as Service;
use pando_proto::v1::{TargetsRequest, TargetsResponse};
use tonic::{Request, Response, Status};

use crate::agent::AgentHandle;

/// The service of one agent.
pub struct AgentService {
    agent: AgentHandle,
}

impl AgentService {
    /// The service of `agent`.
    pub fn new(agent: AgentHandle) -> Self {
        AgentService { agent }
    }
}

#[tonic::async_trait]
impl Service for AgentService {
    async fn targets(
        &self,
        request: Request<TargetsRequest>,
    ) -> Result<Response<TargetsResponse>, Status> {
        let asked = request.into_inner();
        // What another tenant scrapes is nobody's business (INV-9).
        let own = asked.tenant.is_empty() || asked.tenant == self.agent.tenant().as_str();
        let answer = if own {
            self.agent.targets(&asked.state, &asked.scrape_pool)
        } else {
            crate::api::targets(&[], &asked.state, "", None)
        };
        let json = serde_json::to_vec(&answer)
            .map_err(|error| pando_rpc::status(ErrorKind::Internal, error))?;
        Ok(Response::new(TargetsResponse { json: json.into() }))
    }
}
