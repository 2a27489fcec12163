//! The bytes of Raft's vocabulary, alike in log records, checkpoints and messages. Little endian, fixed widths:
//!
//! ```text
//! log id      term u64 | node u64 | index u64
//! vote        term u64 | node u64 | committed u8
//! option      0 | 1 value
//! text        length u32 | UTF-8
//! members     count u32 | (node u64 | address text)*
//! membership  configs u32 | (count u32 | node u64 *)* | members
//! stored      option(log id) | membership
//! entry       log id | kind u8 | kind 0: nothing; 1: length u32, bytes; 2: membership
//! ```
//!
//! Who uses it adds version and checksum.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf as _, Bytes};
use openraft::{BasicNode, CommittedLeaderId, EntryPayload};
use pando_model::NodeId;

use crate::member::Member;
use crate::types::{Entry, LogId, Membership, Payload, StoredMembership, Vote};

const BLANK: u8 = 0;
const NORMAL: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// Bytes that are not what they should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("cannot be decoded: field={field}")]
pub(crate) struct WireError {
    /// Where it went wrong.
    pub(crate) field: &'static str,
}

/// Takes values off the front of bytes; payloads are shared, not copied.
pub(crate) struct Reader {
    bytes: Bytes,
}

impl Reader {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Reader { bytes }
    }

    /// The end of the bytes must have been reached.
    pub(crate) fn end(&self) -> Result<(), WireError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(WireError { field: "end" }) }
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, WireError> {
        self.need(1, field)?;
        Ok(self.bytes.get_u8())
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, WireError> {
        self.need(4, field)?;
        Ok(self.bytes.get_u32_le())
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, WireError> {
        self.need(8, field)?;
        Ok(self.bytes.get_u64_le())
    }

    pub(crate) fn flag(&mut self, field: &'static str) -> Result<bool, WireError> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(WireError { field }),
        }
    }

    pub(crate) fn bytes(&mut self, field: &'static str) -> Result<Bytes, WireError> {
        let len = self.u32(field)? as usize;
        self.need(len, field)?;
        Ok(self.bytes.split_to(len))
    }

    pub(crate) fn text(&mut self, field: &'static str) -> Result<String, WireError> {
        String::from_utf8(self.bytes(field)?.to_vec()).map_err(|_| WireError { field })
    }

    pub(crate) fn option<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, WireError>,
    ) -> Result<Option<T>, WireError> {
        if self.flag(field)? { read(self).map(Some) } else { Ok(None) }
    }

    pub(crate) fn log_id(&mut self) -> Result<LogId, WireError> {
        let (term, node) = (self.u64("log id")?, self.u64("log id")?);
        Ok(LogId::new(CommittedLeaderId::new(term, node), self.u64("log id")?))
    }

    pub(crate) fn maybe_log_id(&mut self) -> Result<Option<LogId>, WireError> {
        self.option("log id", Reader::log_id)
    }

    pub(crate) fn vote(&mut self) -> Result<Vote, WireError> {
        let (term, node) = (self.u64("vote")?, self.u64("vote")?);
        let committed = self.flag("vote")?;
        Ok(if committed { Vote::new_committed(term, node) } else { Vote::new(term, node) })
    }

    /// A count whose items take at least `item_bytes` each, so that a damaged one allocates nothing.
    pub(crate) fn count(
        &mut self,
        item_bytes: usize,
        field: &'static str,
    ) -> Result<usize, WireError> {
        let count = self.u32(field)? as usize;
        if count > self.bytes.len() / item_bytes { Err(WireError { field }) } else { Ok(count) }
    }

    pub(crate) fn members(&mut self) -> Result<Vec<Member>, WireError> {
        let count = self.count(12, "members")?;
        (0..count)
            .map(|_| {
                let node = NodeId(self.u64("member")?);
                Ok(Member { node, address: self.text("member")? })
            })
            .collect()
    }

    pub(crate) fn membership(&mut self) -> Result<Membership, WireError> {
        let count = self.count(4, "configs")?;
        let mut configs = Vec::with_capacity(count);
        for _ in 0..count {
            let voters = self.count(8, "voters")?;
            let voters: Result<BTreeSet<u64>, _> = (0..voters).map(|_| self.u64("voter")).collect();
            configs.push(voters?);
        }
        let nodes: BTreeMap<u64, BasicNode> =
            self.members()?.into_iter().map(|m| (m.node.0, BasicNode::new(m.address))).collect();
        Ok(Membership::new(configs, nodes))
    }

    pub(crate) fn stored_membership(&mut self) -> Result<StoredMembership, WireError> {
        let log_id = self.maybe_log_id()?;
        Ok(StoredMembership::new(log_id, self.membership()?))
    }

    pub(crate) fn entry(&mut self) -> Result<Entry, WireError> {
        let log_id = self.log_id()?;
        let payload = match self.u8("entry kind")? {
            BLANK => EntryPayload::Blank,
            NORMAL => EntryPayload::Normal(Payload(self.bytes("entry")?)),
            MEMBERSHIP => EntryPayload::Membership(self.membership()?),
            _ => return Err(WireError { field: "entry kind" }),
        };
        Ok(Entry { log_id, payload })
    }

    fn need(&self, len: usize, field: &'static str) -> Result<(), WireError> {
        if self.bytes.len() >= len { Ok(()) } else { Err(WireError { field }) }
    }
}

pub(crate) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Lengths are limited where bytes enter (`entry_bytes_max`), far below u32.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(out, bytes.len() as u32);
    out.extend_from_slice(bytes);
}

pub(crate) fn put_option<T>(
    out: &mut Vec<u8>,
    value: Option<T>,
    put: impl FnOnce(&mut Vec<u8>, T),
) {
    match value {
        None => out.push(0),
        Some(value) => {
            out.push(1);
            put(out, value);
        }
    }
}

pub(crate) fn put_log_id(out: &mut Vec<u8>, log_id: &LogId) {
    put_u64(out, log_id.leader_id.term);
    put_u64(out, log_id.leader_id.node_id);
    put_u64(out, log_id.index);
}

pub(crate) fn put_maybe_log_id(out: &mut Vec<u8>, log_id: Option<&LogId>) {
    put_option(out, log_id, put_log_id);
}

pub(crate) fn put_vote(out: &mut Vec<u8>, vote: &Vote) {
    put_u64(out, vote.leader_id.term);
    put_u64(out, vote.leader_id.node_id);
    out.push(u8::from(vote.committed));
}

pub(crate) fn put_members(out: &mut Vec<u8>, members: &[Member]) {
    put_u32(out, members.len() as u32);
    for member in members {
        put_u64(out, member.node.0);
        put_bytes(out, member.address.as_bytes());
    }
}

pub(crate) fn put_membership(out: &mut Vec<u8>, membership: &Membership) {
    let configs = membership.get_joint_config();
    put_u32(out, configs.len() as u32);
    for voters in configs {
        put_u32(out, voters.len() as u32);
        for voter in voters {
            put_u64(out, *voter);
        }
    }
    let nodes: Vec<Member> =
        membership.nodes().map(|(id, node)| Member::from_node(*id, node)).collect();
    put_members(out, &nodes);
}

pub(crate) fn put_stored_membership(out: &mut Vec<u8>, stored: &StoredMembership) {
    put_maybe_log_id(out, stored.log_id().as_ref());
    put_membership(out, stored.membership());
}

pub(crate) fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    put_log_id(out, &entry.log_id);
    match &entry.payload {
        EntryPayload::Blank => out.push(BLANK),
        EntryPayload::Normal(payload) => {
            out.push(NORMAL);
            put_bytes(out, &payload.0);
        }
        EntryPayload::Membership(membership) => {
            out.push(MEMBERSHIP);
            put_membership(out, membership);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries() -> impl Strategy<Value = Entry> {
        let payload = prop_oneof![
            Just(EntryPayload::Blank),
            proptest::collection::vec(any::<u8>(), 0..40)
                .prop_map(|bytes| EntryPayload::Normal(Payload(bytes.into()))),
            (proptest::collection::btree_set(any::<u64>(), 0..4), "[a-z:0-9]{0,12}").prop_map(
                |(voters, address)| {
                    let nodes: BTreeMap<u64, BasicNode> =
                        voters.iter().map(|v| (*v, BasicNode::new(&address))).collect();
                    EntryPayload::Membership(Membership::new(vec![voters], nodes))
                }
            ),
        ];
        (any::<u64>(), any::<u64>(), any::<u64>(), payload).prop_map(
            |(term, node, index, payload)| Entry {
                log_id: LogId::new(CommittedLeaderId::new(term, node), index),
                payload,
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn an_entry_comes_back(entry in entries()) {
            let mut bytes = Vec::new();
            put_entry(&mut bytes, &entry);
            let mut reader = Reader::new(bytes.into());
            prop_assert_eq!(reader.entry().expect("round trip"), entry);
            prop_assert!(reader.end().is_ok());
        }

        #[test]
        fn garbage_is_refused_or_read_but_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Reader::new(bytes.clone().into()).entry();
            let _ = Reader::new(bytes.into()).stored_membership();
        }

        #[test]
        fn a_cut_entry_is_refused(entry in entries(), cut in 1usize..20) {
            let mut bytes = Vec::new();
            put_entry(&mut bytes, &entry);
            bytes.truncate(bytes.len().saturating_sub(cut));
            prop_assert!(Reader::new(bytes.into()).entry().is_err());
        }
    }
}
