//! The catalog's bytes: commands, replies and deltas as they are sent, views and snapshots as they
//! are kept. prost types stop here.
//!
//! What is sent or logged lies in messages or entries that are checksummed by their carrier and
//! begins with a version of its own. What stands alone in a file or an object goes into the
//! [`envelope`].

pub mod envelope;

mod command;
mod delta;
mod records;
mod reply;
mod snapshot;

pub use command::{decode_command, encode_command};
pub use delta::{
    StreamedView, decode_block_delta, decode_routing_delta, encode_block_delta,
    encode_routing_delta,
};
pub use records::{decode_work_item, encode_work_item};
pub use reply::{decode_reply, encode_reply};

use bytes::Bytes;
use pando_model::{BlockId, NodeId, ShardId, TenantId};
use pando_proto::record::{block_id_from_proto, block_id_to_proto};
use prost::Message;

use crate::error::CatalogError;

/// The version of every message of the catalog that this build writes, and the newest that it
/// reads.
pub const MESSAGE_VERSION: u32 = 1;

type Result<T> = std::result::Result<T, CatalogError>;

fn parse<M: Message + Default>(what: &'static str, bytes: &[u8]) -> Result<M> {
    M::decode(bytes).map_err(|e| CatalogError::corrupt(what, e.to_string()))
}

fn check_version(what: &'static str, version: u32) -> Result<()> {
    if version != MESSAGE_VERSION {
        return Err(CatalogError::Unsupported { what, version, known: MESSAGE_VERSION });
    }
    Ok(())
}

fn required<T>(what: &'static str, value: Option<T>) -> Result<T> {
    value.ok_or_else(|| CatalogError::corrupt(what, "a part is missing"))
}

fn tenant_from(name: &str) -> Result<TenantId> {
    TenantId::parse(name).map_err(|e| CatalogError::corrupt("tenant", e.to_string()))
}

/// A tenant, or `None` for the empty name.
fn tenant_or_none(name: &str) -> Result<Option<TenantId>> {
    if name.is_empty() { Ok(None) } else { tenant_from(name).map(Some) }
}

fn name_of(tenant: &TenantId) -> String {
    tenant.as_str().to_string()
}

fn blocks_to(ids: &[BlockId]) -> Vec<Bytes> {
    ids.iter().map(|id| block_id_to_proto(*id)).collect()
}

fn blocks_from(ids: &[Bytes]) -> Result<Vec<BlockId>> {
    ids.iter().map(|id| block_id_from_proto(id).map_err(CatalogError::from)).collect()
}

fn nodes_to(ids: &[NodeId]) -> Vec<u64> {
    ids.iter().map(|id| id.0).collect()
}

fn nodes_from(ids: &[u64]) -> Vec<NodeId> {
    ids.iter().map(|id| NodeId(*id)).collect()
}

fn shards_to(ids: &[ShardId]) -> Vec<u64> {
    ids.iter().map(|id| id.0).collect()
}

fn shards_from(ids: &[u64]) -> Vec<ShardId> {
    ids.iter().map(|id| ShardId(*id)).collect()
}

/// Converts every item, stopping at the first fault.
fn all<A, B>(items: &[A], convert: impl Fn(&A) -> Result<B>) -> Result<Vec<B>> {
    items.iter().map(convert).collect()
}
