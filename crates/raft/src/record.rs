//! Encodings of what the log, checkpoints and messages share: log ids, votes, entries, memberships.
//!
//! ```text
//! log id      varint term, u64 node, varint index
//! vote        varint term, u64 node, u8 committed
//! membership  varint sets, each: varint ids, u64 id ...; varint nodes, each: u64 id, text address
//! entry       log id, u8 kind (0 blank, 1 proposal, 2 membership), payload
//! optional x  u8 0, or u8 1 and x
//! ```

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use openraft::{BasicNode, CommittedLeaderId, EntryPayload};
use pando_codec::CodecError;
use pando_codec::varint::{Reader, put_bytes, put_text, put_varint};

use crate::types::{Entry, LogId, Membership, Proposal, SnapshotMeta, StoredMembership, Vote};

/// The longest proposal, bytes.
pub(crate) const PROPOSAL_BYTES_MAX: usize = 48 << 20;
const MEMBERS_MAX: usize = 64;
const TEXT_BYTES_MAX: usize = 1 << 10;

pub(crate) fn put_log_id(out: &mut Vec<u8>, id: &LogId) {
    put_varint(out, id.leader_id.term);
    out.extend(id.leader_id.node_id.to_le_bytes());
    put_varint(out, id.index);
}

pub(crate) fn log_id(reader: &mut Reader<'_>) -> Result<LogId, CodecError> {
    let (term, node, index) = (reader.varint()?, reader.u64()?, reader.varint()?);
    Ok(LogId::new(CommittedLeaderId::new(term, node), index))
}

pub(crate) fn put_option<T>(out: &mut Vec<u8>, value: &Option<T>, put: impl Fn(&mut Vec<u8>, &T)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(out, value);
    }
}

pub(crate) fn option<T>(
    reader: &mut Reader<'_>,
    get: impl Fn(&mut Reader<'_>) -> Result<T, CodecError>,
) -> Result<Option<T>, CodecError> {
    match reader.u8()? {
        0 => Ok(None),
        1 => get(reader).map(Some),
        _ => Err(reader.malformed("option is neither there nor not")),
    }
}

pub(crate) fn put_vote(out: &mut Vec<u8>, vote: &Vote) {
    put_varint(out, vote.leader_id.term);
    out.extend(vote.leader_id.node_id.to_le_bytes());
    out.push(u8::from(vote.committed));
}

pub(crate) fn vote(reader: &mut Reader<'_>) -> Result<Vote, CodecError> {
    let (term, node, committed) = (reader.varint()?, reader.u64()?, reader.u8()?);
    Ok(if committed == 1 { Vote::new_committed(term, node) } else { Vote::new(term, node) })
}

pub(crate) fn put_membership(out: &mut Vec<u8>, membership: &Membership) {
    let sets = membership.get_joint_config();
    put_varint(out, sets.len() as u64);
    for set in sets {
        put_varint(out, set.len() as u64);
        set.iter().for_each(|id| out.extend(id.to_le_bytes()));
    }
    let nodes: Vec<_> = membership.nodes().collect();
    put_varint(out, nodes.len() as u64);
    for (id, node) in nodes {
        out.extend(id.to_le_bytes());
        put_text(out, &node.addr);
    }
}

pub(crate) fn membership(reader: &mut Reader<'_>) -> Result<Membership, CodecError> {
    let mut sets = Vec::new();
    for _ in 0..reader.count("membership sets", MEMBERS_MAX)? {
        let mut set = BTreeSet::new();
        for _ in 0..reader.count("members", MEMBERS_MAX)? {
            set.insert(reader.u64()?);
        }
        sets.push(set);
    }
    let mut nodes = BTreeMap::new();
    for _ in 0..reader.count("members", MEMBERS_MAX)? {
        let id = reader.u64()?;
        nodes.insert(id, BasicNode::new(reader.text("address bytes", TEXT_BYTES_MAX)?));
    }
    Ok(Membership::new(sets, nodes))
}

pub(crate) fn put_stored_membership(out: &mut Vec<u8>, stored: &StoredMembership) {
    put_option(out, stored.log_id(), put_log_id);
    put_membership(out, stored.membership());
}

pub(crate) fn stored_membership(reader: &mut Reader<'_>) -> Result<StoredMembership, CodecError> {
    let id = option(reader, log_id)?;
    Ok(StoredMembership::new(id, membership(reader)?))
}

pub(crate) fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    put_log_id(out, &entry.log_id);
    match &entry.payload {
        EntryPayload::Blank => out.push(0),
        EntryPayload::Normal(proposal) => {
            out.push(1);
            put_bytes(out, &proposal.0);
        }
        EntryPayload::Membership(membership) => {
            out.push(2);
            put_membership(out, membership);
        }
    }
}

pub(crate) fn entry(reader: &mut Reader<'_>) -> Result<Entry, CodecError> {
    let id = log_id(reader)?;
    let payload = match reader.u8()? {
        0 => EntryPayload::Blank,
        1 => {
            let bytes = reader.blob("proposal bytes", PROPOSAL_BYTES_MAX)?;
            EntryPayload::Normal(Proposal(Bytes::copy_from_slice(bytes)))
        }
        2 => EntryPayload::Membership(membership(reader)?),
        _ => return Err(reader.malformed("unknown kind of entry")),
    };
    Ok(Entry { log_id: id, payload })
}

pub(crate) fn put_snapshot_meta(out: &mut Vec<u8>, meta: &SnapshotMeta) {
    put_option(out, &meta.last_log_id, put_log_id);
    put_stored_membership(out, &meta.last_membership);
    put_text(out, &meta.snapshot_id);
}

pub(crate) fn snapshot_meta(reader: &mut Reader<'_>) -> Result<SnapshotMeta, CodecError> {
    let last_log_id = option(reader, log_id)?;
    let last_membership = stored_membership(reader)?;
    let snapshot_id = reader.text("snapshot id bytes", TEXT_BYTES_MAX)?.to_string();
    Ok(SnapshotMeta { last_log_id, last_membership, snapshot_id })
}
