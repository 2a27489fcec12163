//! `Membership`: keeps this process a member: says that it is alive, and knows for how long it may believe so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use pando_catalog::{Node, Role};
use pando_proto::v1::HeartbeatRequest;
use pando_runtime::{SharedClock, Tasks};

use crate::controller_client::ControllerClient;

/// How often a member says that it is alive.
const INTERVAL: Duration = Duration::from_secs(2);

/// The membership of this process. Cloning shares it.
#[derive(Clone)]
pub struct Membership {
    shared: Arc<Shared>,
}

struct Shared {
    client: ControllerClient,
    node: Node,
    clock: SharedClock,
    /// Monotonic ms until which this member may believe itself alive; 0 before the first answer.
    lease_until_ms: AtomicU64,
    /// This clock minus the controllers', ms.
    skew_ms: AtomicI64,
    /// Whether the last heartbeat was answered.
    answered: AtomicBool,
}

impl Membership {
    /// Announces `node` and keeps it alive until the tasks end, when it says good-bye.
    pub fn start(client: ControllerClient, node: Node, clock: SharedClock, tasks: &Tasks) -> Self {
        let shared = Arc::new(Shared {
            client,
            node,
            clock,
            lease_until_ms: AtomicU64::new(0),
            skew_ms: AtomicI64::new(0),
            answered: AtomicBool::new(false),
        });
        let membership = Membership { shared };
        let (beating, token) = (membership.clone(), tasks.token());
        tasks.spawn("heartbeat", async move {
            let mut interval = tokio::time::interval(INTERVAL);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            while token.run_until_cancelled(interval.tick()).await.is_some() {
                beating.beat(false).await;
            }
            beating.beat(true).await;
        });
        membership
    }

    /// Whether the controllers still count on this member, as far as it can know: an agent that may have been
    /// replaced does not scrape.
    pub fn is_alive(&self) -> bool {
        let now = self.shared.clock.monotonic().as_millis() as u64;
        now < self.shared.lease_until_ms.load(Ordering::SeqCst)
    }

    /// This clock minus the controllers', ms, as of the last answer.
    pub fn skew_ms(&self) -> i64 {
        self.shared.skew_ms.load(Ordering::SeqCst)
    }

    async fn beat(&self, leaving: bool) {
        let shared = &self.shared;
        let sent = shared.clock.monotonic();
        let sent_ms = shared.clock.now_ms();
        let request = HeartbeatRequest {
            node: shared.node.id.0,
            roles: shared.node.roles.iter().map(|&role| role_to_proto(role) as i32).collect(),
            grpc_address: shared.node.grpc_address.clone(),
            http_address: shared.node.http_address.clone(),
            zone: shared.node.zone.clone(),
            feature_level: shared.node.feature_level,
            clock_ms: sent_ms,
            leaving,
            agent_group: shared.node.agent_group.clone(),
        };
        match shared.client.heartbeat(request).await {
            Ok(answer) => {
                if !shared.answered.swap(true, Ordering::SeqCst) {
                    tracing::info!("the controllers answer");
                }
                let until = sent + Duration::from_millis(answer.lease_ms);
                shared.lease_until_ms.store(until.as_millis() as u64, Ordering::SeqCst);
                shared.skew_ms.store(sent_ms - answer.clock_ms, Ordering::SeqCst);
            }
            Err(status) => {
                // At the start and at the end that is no news, and later it is once.
                let status = status.message();
                if shared.answered.swap(false, Ordering::SeqCst) && !leaving {
                    let controllers = shared.client.addresses().join(",");
                    tracing::warn!(controllers, status, "the controllers do not answer");
                } else {
                    tracing::debug!(leaving, status, "heartbeat is not answered");
                }
            }
        }
    }
}

/// A role on the wire.
pub fn role_to_proto(role: Role) -> pando_proto::v1::Role {
    use pando_proto::v1::Role as Wire;
    match role {
        Role::Agent => Wire::Agent,
        Role::Receiver => Wire::Receiver,
        Role::Ingester => Wire::Ingester,
        Role::StoreGateway => Wire::StoreGateway,
        Role::QueryFrontend => Wire::QueryFrontend,
        Role::Compactor => Wire::Compactor,
        Role::Controller => Wire::Controller,
    }
}

/// The role that a number on the wire stands for.
pub fn role_from_proto(number: i32) -> Option<Role> {
    Role::ALL.into_iter().find(|&role| role_to_proto(role) as i32 == number)
}
