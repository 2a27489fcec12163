//! What a command answers, refusals included, as the proposer receives it.

use pando_model::{Epoch, ShardId};
use pando_proto::record::{
    block_id_from_proto, block_id_to_proto, digest_from_proto, digest_to_proto,
};
use pando_proto::v1;
use pando_proto::v1::catalog_reply::Reply as Wire;
use prost::Message;

use super::records::{work_item_from, work_item_to};
use super::{MESSAGE_VERSION, Result, check_version, parse, required, shards_to};
use crate::command::CommandReply;
use crate::error::{CommandRefused, Reason};

/// The bytes of what `Catalog::apply` returned.
pub fn encode_reply(reply: &std::result::Result<CommandReply, CommandRefused>) -> Vec<u8> {
    let reply = match reply {
        Err(refused) => Wire::Refused(v1::RefusedReply {
            reason: refused.reason as u32,
            message: refused.message.clone(),
        }),
        Ok(CommandReply::Done) => Wire::Done(v1::DoneReply {}),
        Ok(CommandReply::Shards(shards)) => {
            Wire::Shards(v1::ShardsReply { shards: shards_to(shards) })
        }
        Ok(CommandReply::Committed { winner, digest, won }) => {
            Wire::Committed(v1::CommittedReply {
                winner: winner.map(block_id_to_proto).unwrap_or_default(),
                digest: Some(digest_to_proto(*digest)),
                won: *won,
            })
        }
        Ok(CommandReply::Leased { item, epoch }) => {
            Wire::Leased(v1::LeasedReply { item: Some(work_item_to(item)), epoch: epoch.0 })
        }
        Ok(CommandReply::DeleteAdded(number)) => {
            Wire::Deleted(v1::DeletedReply { number: *number })
        }
    };
    v1::CatalogReply { version: MESSAGE_VERSION, reply: Some(reply) }.encode_to_vec()
}

/// Reads what [`encode_reply`] wrote.
pub fn decode_reply(bytes: &[u8]) -> Result<std::result::Result<CommandReply, CommandRefused>> {
    let message: v1::CatalogReply = parse("reply", bytes)?;
    check_version("reply", message.version)?;
    Ok(Ok(match required("reply", message.reply)? {
        Wire::Refused(refused) => {
            let reason = Reason::from_code(refused.reason).unwrap_or(Reason::Unknown);
            return Ok(Err(CommandRefused { reason, message: refused.message }));
        }
        Wire::Done(_) => CommandReply::Done,
        Wire::Shards(shards) => {
            CommandReply::Shards(shards.shards.into_iter().map(ShardId).collect())
        }
        Wire::Committed(committed) => {
            let winner = match committed.winner.is_empty() {
                true => None,
                false => Some(block_id_from_proto(&committed.winner)?),
            };
            let digest = digest_from_proto(committed.digest.as_ref())?;
            CommandReply::Committed { winner, digest, won: committed.won }
        }
        Wire::Leased(leased) => CommandReply::Leased {
            item: work_item_from(leased.item.as_ref())?,
            epoch: Epoch(leased.epoch),
        },
        Wire::Deleted(deleted) => CommandReply::DeleteAdded(deleted.number),
    }))
}

#[cfg(test)]
mod tests {
    use pando_model::{BlockId, Digest, TimeRange};

    use super::*;
    use crate::work::{WorkItem, WorkKind, WorkSpec};

    #[test]
    fn every_reply_round_trips() {
        let digest = Digest { samples: 4, sum: 9 };
        let window = TimeRange { min_ms: 0, max_ms: 7_200_000 };
        let spec = WorkSpec { kind: WorkKind::Merge, inputs: vec![BlockId(1)], window, level: 1 };
        let refused = CommandRefused::new(Reason::NoMajority, "replicas do not agree: shard=4");
        for reply in [
            Err(refused),
            Ok(CommandReply::Done),
            Ok(CommandReply::Shards(vec![ShardId(1), ShardId(2)])),
            Ok(CommandReply::Committed { winner: Some(BlockId(3)), digest, won: true }),
            Ok(CommandReply::Committed { winner: None, digest: Digest::default(), won: false }),
            Ok(CommandReply::Leased {
                item: WorkItem { id: 4, spec, deletes_upto: 6 },
                epoch: Epoch(2),
            }),
            Ok(CommandReply::DeleteAdded(11)),
        ] {
            assert_eq!(decode_reply(&encode_reply(&reply)).expect("decodes"), reply);
        }
    }
}
