//! Who does what in a cluster: hash rings, routing of keys, and the deciders that place, heal,
//! split, compact and clean up.
//!
//! The deciders are pure: values in, commands or plans out. The leading controller's runner hands
//! in the time, who is present and what the bucket lists, and carries the answers out. Beside them
//! stand the clients of the controllers: [`ControllerClient`], [`CatalogFollower`], [`Membership`].

mod assignment;
mod cleanup;
mod compaction;
mod controller_client;
mod deltas;
mod error;
mod follower;
mod heartbeat;
mod kept;
mod members;
mod placement;
mod presence;
mod ranges;
mod retention;
mod ring;
mod rings;
mod routing;
mod succession;

#[cfg(test)]
mod testdata;

pub use assignment::{assign_tenant, equal_ranges};
pub use cleanup::{
    Orphans, StoredObject, closable_shards, expired_objects, forgettable_deletes,
    forgettable_shards, orphans,
};
pub use compaction::{CompactionSettings, compaction_plan, next_grant};
pub use controller_client::{ControllerClient, ProposeError};
pub use deltas::{Deltas, delta_parts};
pub use error::PlacementError;
pub use follower::{CatalogFollower, Streams};
pub use heartbeat::{Membership, role_from_proto, role_to_proto};
pub use members::{forget_silent, raise_feature_level};
pub use placement::{PlacementSettings, choose_members, initial_shards, loads};
pub use presence::Presence;
pub use retention::retention;
pub use ring::{Ring, RingMember, VIRTUAL_NODES};
pub use rings::{GatewayRing, TargetRing};
pub use routing::{Split, pieces, route, split_by_shard};
pub use succession::{HealPlan, SealPlan, drain, heal, plan_seal, rebalance};
