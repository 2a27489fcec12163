//! `Node`: a member process as the catalog knows it. Whether it is alive is not the catalog's
//! business: the leading controller hears heartbeats.

use std::collections::BTreeSet;

use pando_model::NodeId;

/// What a process does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Role {
    /// Scrapes targets.
    Agent,
    /// Takes remote write, OTLP and pushes.
    Receiver,
    /// Hosts shards.
    Ingester,
    /// Reads blocks.
    StoreGateway,
    /// Answers queries.
    QueryFrontend,
    /// Merges blocks.
    Compactor,
    /// Votes on the catalog.
    Controller,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 7] = [
        Role::Agent,
        Role::Receiver,
        Role::Ingester,
        Role::StoreGateway,
        Role::QueryFrontend,
        Role::Compactor,
        Role::Controller,
    ];

    /// Its name, as the command line has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Agent => "agent",
            Role::Receiver => "receiver",
            Role::Ingester => "ingester",
            Role::StoreGateway => "store-gateway",
            Role::QueryFrontend => "query-frontend",
            Role::Compactor => "compactor",
            Role::Controller => "controller",
        }
    }
}

/// A member process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Its id: random, never used again.
    pub id: NodeId,
    /// What it does.
    pub roles: BTreeSet<Role>,
    /// Where its gRPC services listen, as others reach it: `host:port`.
    pub grpc_address: String,
    /// Where its HTTP services listen; may be empty.
    pub http_address: String,
    /// Its failure domain; nodes without one share the zone `""`.
    pub zone: String,
    /// The highest feature level that it reads and writes.
    pub feature_level: u32,
    /// When it was first registered, ms. Set by the catalog.
    pub joined_ms: i64,
    /// Of an agent: the agents that share their targets with it have the same; else empty.
    pub agent_group: String,
}

impl Node {
    /// Whether the node has `role`.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}
