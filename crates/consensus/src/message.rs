//! `RaftRequest`, `RaftReply`: what members of a group say to each other, as bytes.
//!
//! ```text
//! request  version u8 | kind u8 | cluster u64 | target u64 | body | crc u32
//! reply    version u8 | kind u8 | body | crc u32
//! ```
//!
//! Little endian; crc32c of everything before it: Raft trusts its messages with everything.

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, VoteRequest, VoteResponse,
};
use pando_model::{ClusterId, ErrorKind, NodeId};

use crate::member::Member;
use crate::types::{Entry, SnapshotMeta, Types, Vote};
use crate::wire::{
    Reader, WireError, put_bytes, put_entry, put_maybe_log_id, put_members, put_option,
    put_stored_membership, put_u32, put_u64, put_vote,
};

const VERSION: u8 = 1;

const APPEND: u8 = 1;
const VOTE: u8 = 2;
const SNAPSHOT: u8 = 3;
const READ_INDEX: u8 = 4;
const MISMATCH: u8 = 5;
const NOT_LEADER: u8 = 6;
const REFUSED: u8 = 7;

/// Bytes that are not a message.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MessageError {
    /// A version that this process does not know.
    #[error("raft message version is not known: version={version} known={known}")]
    Unsupported {
        /// The message's.
        version: u8,
        /// The newest one that can be read.
        known: u8,
    },
    /// Damaged on its way, or never a message.
    #[error("raft message cannot be decoded: field={field}")]
    Invalid {
        /// Where it went wrong.
        field: &'static str,
    },
}

impl MessageError {
    /// What the error means.
    pub fn kind(&self) -> ErrorKind {
        match self {
            MessageError::Unsupported { .. } => ErrorKind::Unsupported,
            MessageError::Invalid { .. } => ErrorKind::Invalid,
        }
    }
}

impl From<WireError> for MessageError {
    fn from(error: WireError) -> Self {
        MessageError::Invalid { field: error.field }
    }
}

/// What one member of a group asks of another.
#[derive(Clone, Debug)]
pub struct RaftRequest {
    /// The sender's cluster.
    pub cluster: ClusterId,
    /// For whom it is.
    pub target: NodeId,
    pub(crate) body: Request,
}

/// The answer.
#[derive(Debug)]
pub struct RaftReply {
    pub(crate) body: Reply,
}

#[derive(Clone, Debug)]
pub(crate) enum Request {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<u64>),
    /// One piece of a checkpoint.
    Snapshot(InstallSnapshotRequest<Types>),
    /// What has to be applied before a read that begins now may be answered.
    ReadIndex,
}

#[derive(Debug)]
pub(crate) enum Reply {
    Append(AppendEntriesResponse<u64>),
    Vote(VoteResponse<u64>),
    Snapshot(Vote),
    /// The pieces before this one are not here: begin again.
    SnapshotMismatch,
    ReadIndex(Option<u64>),
    NotLeader(Option<Member>),
    /// Not handled; the text says why.
    Refused(String),
}

impl RaftRequest {
    /// The request as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, self.body.kind()];
        put_u64(&mut out, self.cluster.0);
        put_u64(&mut out, self.target.0);
        self.body.put(&mut out);
        seal(out)
    }

    /// Reads what [`RaftRequest::encode`] wrote.
    ///
    /// # Errors
    /// Where the bytes are not a request, or one of an unknown version.
    pub fn decode(bytes: impl Into<Bytes>) -> Result<Self, MessageError> {
        let (kind, mut reader) = open(bytes.into())?;
        let cluster = ClusterId(reader.u64("cluster")?);
        let target = NodeId(reader.u64("target")?);
        let body = match kind {
            APPEND => Request::Append(read_append(&mut reader)?),
            VOTE => {
                let (vote, last_log_id) = (reader.vote()?, reader.maybe_log_id()?);
                Request::Vote(VoteRequest { vote, last_log_id })
            }
            SNAPSHOT => Request::Snapshot(read_snapshot(&mut reader)?),
            READ_INDEX => Request::ReadIndex,
            _ => return Err(MessageError::Invalid { field: "kind" }),
        };
        reader.end()?;
        Ok(RaftRequest { cluster, target, body })
    }
}

impl RaftReply {
    /// A refusal that says why.
    pub fn refused(reason: impl ToString) -> Self {
        RaftReply { body: Reply::Refused(reason.to_string()) }
    }

    /// The reply as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, self.body.kind()];
        self.body.put(&mut out);
        seal(out)
    }

    /// Reads what [`RaftReply::encode`] wrote.
    ///
    /// # Errors
    /// Where the bytes are not a reply, or one of an unknown version.
    pub fn decode(bytes: impl Into<Bytes>) -> Result<Self, MessageError> {
        let (kind, mut reader) = open(bytes.into())?;
        let body = match kind {
            APPEND => Reply::Append(read_append_reply(&mut reader)?),
            VOTE => Reply::Vote(VoteResponse {
                vote: reader.vote()?,
                vote_granted: reader.flag("granted")?,
                last_log_id: reader.maybe_log_id()?,
            }),
            SNAPSHOT => Reply::Snapshot(reader.vote()?),
            MISMATCH => Reply::SnapshotMismatch,
            READ_INDEX => Reply::ReadIndex(reader.option("index", |r| r.u64("index"))?),
            NOT_LEADER => Reply::NotLeader(reader.members()?.into_iter().next()),
            REFUSED => Reply::Refused(reader.text("reason")?),
            _ => return Err(MessageError::Invalid { field: "kind" }),
        };
        reader.end()?;
        Ok(RaftReply { body })
    }
}

impl Request {
    fn kind(&self) -> u8 {
        match self {
            Request::Append(_) => APPEND,
            Request::Vote(_) => VOTE,
            Request::Snapshot(_) => SNAPSHOT,
            Request::ReadIndex => READ_INDEX,
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Request::Append(append) => {
                put_vote(out, &append.vote);
                put_maybe_log_id(out, append.prev_log_id.as_ref());
                put_maybe_log_id(out, append.leader_commit.as_ref());
                put_u32(out, append.entries.len() as u32);
                append.entries.iter().for_each(|entry| put_entry(out, entry));
            }
            Request::Vote(vote) => {
                put_vote(out, &vote.vote);
                put_maybe_log_id(out, vote.last_log_id.as_ref());
            }
            Request::Snapshot(piece) => {
                put_vote(out, &piece.vote);
                put_maybe_log_id(out, piece.meta.last_log_id.as_ref());
                put_stored_membership(out, &piece.meta.last_membership);
                put_bytes(out, piece.meta.snapshot_id.as_bytes());
                put_u64(out, piece.offset);
                out.push(u8::from(piece.done));
                put_bytes(out, &piece.data);
            }
            Request::ReadIndex => {}
        }
    }
}

impl Reply {
    fn kind(&self) -> u8 {
        match self {
            Reply::Append(_) => APPEND,
            Reply::Vote(_) => VOTE,
            Reply::Snapshot(_) => SNAPSHOT,
            Reply::SnapshotMismatch => MISMATCH,
            Reply::ReadIndex(_) => READ_INDEX,
            Reply::NotLeader(_) => NOT_LEADER,
            Reply::Refused(_) => REFUSED,
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Reply::Append(AppendEntriesResponse::Success) => out.push(0),
            Reply::Append(AppendEntriesResponse::PartialSuccess(last)) => {
                out.push(1);
                put_maybe_log_id(out, last.as_ref());
            }
            Reply::Append(AppendEntriesResponse::Conflict) => out.push(2),
            Reply::Append(AppendEntriesResponse::HigherVote(vote)) => {
                out.push(3);
                put_vote(out, vote);
            }
            Reply::Vote(reply) => {
                put_vote(out, &reply.vote);
                out.push(u8::from(reply.vote_granted));
                put_maybe_log_id(out, reply.last_log_id.as_ref());
            }
            Reply::Snapshot(vote) => put_vote(out, vote),
            Reply::SnapshotMismatch => {}
            Reply::ReadIndex(index) => put_option(out, *index, put_u64),
            Reply::NotLeader(leader) => put_members(out, leader.as_slice()),
            Reply::Refused(reason) => put_bytes(out, reason.as_bytes()),
        }
    }
}

fn seal(mut out: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&out);
    put_u32(&mut out, crc);
    out
}

/// Verifies version and checksum; returns the kind and what follows it.
fn open(mut bytes: Bytes) -> Result<(u8, Reader), MessageError> {
    match bytes.first() {
        None => return Err(MessageError::Invalid { field: "version" }),
        Some(&VERSION) => {}
        Some(&version) => return Err(MessageError::Unsupported { version, known: VERSION }),
    }
    let end = bytes.len().checked_sub(4).ok_or(MessageError::Invalid { field: "checksum" })?;
    let crc = bytes.split_off(end);
    if crc32c::crc32c(&bytes).to_le_bytes() != crc[..] {
        return Err(MessageError::Invalid { field: "checksum" });
    }
    let mut reader = Reader::new(bytes);
    reader.u8("version")?;
    Ok((reader.u8("kind")?, reader))
}

fn read_append(reader: &mut Reader) -> Result<AppendEntriesRequest<Types>, WireError> {
    let vote = reader.vote()?;
    let (prev_log_id, leader_commit) = (reader.maybe_log_id()?, reader.maybe_log_id()?);
    let count = reader.count(25, "entries")?;
    let entries: Result<Vec<Entry>, _> = (0..count).map(|_| reader.entry()).collect();
    Ok(AppendEntriesRequest { vote, prev_log_id, entries: entries?, leader_commit })
}

fn read_snapshot(reader: &mut Reader) -> Result<InstallSnapshotRequest<Types>, WireError> {
    Ok(InstallSnapshotRequest {
        vote: reader.vote()?,
        meta: SnapshotMeta {
            last_log_id: reader.maybe_log_id()?,
            last_membership: reader.stored_membership()?,
            snapshot_id: reader.text("snapshot id")?,
        },
        offset: reader.u64("offset")?,
        done: reader.flag("done")?,
        data: reader.bytes("data")?.to_vec(),
    })
}

fn read_append_reply(reader: &mut Reader) -> Result<AppendEntriesResponse<u64>, WireError> {
    match reader.u8("result")? {
        0 => Ok(AppendEntriesResponse::Success),
        1 => Ok(AppendEntriesResponse::PartialSuccess(reader.maybe_log_id()?)),
        2 => Ok(AppendEntriesResponse::Conflict),
        3 => Ok(AppendEntriesResponse::HigherVote(reader.vote()?)),
        _ => Err(WireError { field: "result" }),
    }
}

#[cfg(test)]
mod tests {
    use openraft::{CommittedLeaderId, EntryPayload};

    use super::*;
    use crate::types::{LogId, Payload, StoredMembership};

    fn requests() -> Vec<RaftRequest> {
        let log_id = LogId::new(CommittedLeaderId::new(2, 3), 4);
        let entry =
            Entry { log_id, payload: EntryPayload::Normal(Payload(Bytes::from_static(b"x"))) };
        let bodies = [
            Request::Append(AppendEntriesRequest {
                vote: Vote::new_committed(2, 3),
                prev_log_id: Some(log_id),
                entries: vec![entry.clone(), entry],
                leader_commit: None,
            }),
            Request::Vote(VoteRequest { vote: Vote::new(5, 6), last_log_id: Some(log_id) }),
            Request::Snapshot(InstallSnapshotRequest {
                vote: Vote::new(5, 6),
                meta: SnapshotMeta {
                    last_log_id: Some(log_id),
                    last_membership: StoredMembership::default(),
                    snapshot_id: "id".to_string(),
                },
                offset: 9,
                data: vec![1, 2, 3],
                done: true,
            }),
            Request::ReadIndex,
        ];
        bodies.map(|body| RaftRequest { cluster: ClusterId(1), target: NodeId(2), body }).to_vec()
    }

    fn replies() -> Vec<RaftReply> {
        let log_id = LogId::new(CommittedLeaderId::new(2, 3), 4);
        let leader = Member { node: NodeId(1), address: "a:1".to_string() };
        let bodies = [
            Reply::Append(AppendEntriesResponse::Success),
            Reply::Append(AppendEntriesResponse::PartialSuccess(Some(log_id))),
            Reply::Append(AppendEntriesResponse::Conflict),
            Reply::Append(AppendEntriesResponse::HigherVote(Vote::new(5, 6))),
            Reply::Vote(VoteResponse::new(Vote::new(5, 6), Some(log_id), true)),
            Reply::Snapshot(Vote::new(5, 6)),
            Reply::SnapshotMismatch,
            Reply::ReadIndex(Some(7)),
            Reply::NotLeader(Some(leader)),
            Reply::NotLeader(None),
            Reply::Refused("because".to_string()),
        ];
        bodies.into_iter().map(|body| RaftReply { body }).collect()
    }

    #[test]
    fn messages_come_back() {
        for request in requests() {
            let back = RaftRequest::decode(request.encode()).expect("round trip");
            assert_eq!(format!("{back:?}"), format!("{request:?}"));
        }
        for reply in replies() {
            let back = RaftReply::decode(reply.encode()).expect("round trip");
            assert_eq!(format!("{back:?}"), format!("{reply:?}"));
        }
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        for request in requests() {
            let good = request.encode();
            for bit in 0..good.len() * 8 {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(RaftRequest::decode(bad).is_err(), "bit={bit} {request:?}");
            }
            for len in 0..good.len() {
                assert!(RaftRequest::decode(good[..len].to_vec()).is_err());
            }
        }
    }

    #[test]
    fn both_versions_are_named() {
        let mut bytes = RaftReply::refused("x").encode();
        bytes[0] = 9;
        let error = RaftReply::decode(bytes).expect_err("unknown version");
        assert_eq!(error, MessageError::Unsupported { version: 9, known: 1 });
    }

    /// Bytes between members of different releases: a change here is a new version.
    #[test]
    fn version_one_is_pinned() {
        let hex: Vec<String> = requests()
            .iter()
            .map(|request| request.encode().iter().map(|b| format!("{b:02x}")).collect())
            .collect();
        assert_eq!(
            hex,
            [
                "010101000000000000000200000000000000020000000000000003000000000000000101\
                 020000000000000003000000000000000400000000000000000200000002000000000000\
                 000300000000000000040000000000000001010000007802000000000000000300000000\
                 00000004000000000000000101000000781c0ec21c",
                "010201000000000000000200000000000000050000000000000006000000000000000001\
                 020000000000000003000000000000000400000000000000af6d9b68",
                "010301000000000000000200000000000000050000000000000006000000000000000001\
                 020000000000000003000000000000000400000000000000000000000000000000020000\
                 00696409000000000000000103000000010203ae9bd6e8",
                "010401000000000000000200000000000000323f47dc",
            ]
        );
    }
}
