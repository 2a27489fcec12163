//! Messages between members of a group.
//!
//! ```text
//! u8 version = 1, u64 cluster, u64 target node, u8 kind, body
//! kind 0 append, 1 vote, 2 install (a part of a checkpoint), 3 read index; answers have the same kinds
//! ```

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use pando_codec::CodecError;
use pando_codec::varint::{Reader, put_bytes, put_varint};
use pando_model::{ClusterId, NodeId};

use crate::record::{
    entry, log_id, option, put_entry, put_log_id, put_option, put_snapshot_meta, put_vote,
    snapshot_meta, vote,
};
use crate::types::Config;

const VERSION: u8 = 1;
const ENTRIES_MAX: usize = 1 << 16;
const PART_BYTES_MAX: usize = 48 << 20;

/// A request of one member to another.
#[derive(Debug)]
pub(crate) enum RaftRequest {
    Append(AppendEntriesRequest<Config>),
    Vote(VoteRequest<u64>),
    Install(InstallSnapshotRequest<Config>),
    ReadIndex,
}

/// The answer to it.
#[derive(Debug)]
pub(crate) enum RaftReply {
    Append(AppendEntriesResponse<u64>),
    Vote(VoteResponse<u64>),
    Install(InstallSnapshotResponse<u64>),
    ReadIndex(u64),
}

pub(crate) fn encode_request(cluster: ClusterId, to: NodeId, request: &RaftRequest) -> Bytes {
    let mut out = vec![VERSION];
    out.extend(cluster.0.to_le_bytes());
    out.extend(to.0.to_le_bytes());
    match request {
        RaftRequest::Append(append) => {
            out.push(0);
            put_vote(&mut out, &append.vote);
            put_option(&mut out, &append.prev_log_id, put_log_id);
            put_option(&mut out, &append.leader_commit, put_log_id);
            put_varint(&mut out, append.entries.len() as u64);
            append.entries.iter().for_each(|entry| put_entry(&mut out, entry));
        }
        RaftRequest::Vote(request) => {
            out.push(1);
            put_vote(&mut out, &request.vote);
            put_option(&mut out, &request.last_log_id, put_log_id);
        }
        RaftRequest::Install(part) => {
            out.push(2);
            put_vote(&mut out, &part.vote);
            put_snapshot_meta(&mut out, &part.meta);
            put_varint(&mut out, part.offset);
            out.push(u8::from(part.done));
            put_bytes(&mut out, &part.data);
        }
        RaftRequest::ReadIndex => out.push(3),
    }
    out.into()
}

/// The request, with the cluster and the node that it is meant for.
pub(crate) fn decode_request(bytes: &[u8]) -> Result<(ClusterId, NodeId, RaftRequest), CodecError> {
    let mut reader = Reader::new("raft message", bytes);
    reader.version(VERSION)?;
    let (cluster, to) = (ClusterId(reader.u64()?), NodeId(reader.u64()?));
    let request = match reader.u8()? {
        0 => {
            let vote = vote(&mut reader)?;
            let prev_log_id = option(&mut reader, log_id)?;
            let leader_commit = option(&mut reader, log_id)?;
            let count = reader.count("entries", ENTRIES_MAX)?;
            let mut entries = Vec::with_capacity(count.min(1 << 10));
            for _ in 0..count {
                entries.push(entry(&mut reader)?);
            }
            RaftRequest::Append(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit })
        }
        1 => {
            let vote = vote(&mut reader)?;
            let last_log_id = option(&mut reader, log_id)?;
            RaftRequest::Vote(VoteRequest { vote, last_log_id })
        }
        2 => {
            let vote = vote(&mut reader)?;
            let meta = snapshot_meta(&mut reader)?;
            let (offset, done) = (reader.varint()?, reader.u8()? == 1);
            let data = reader.blob("part bytes", PART_BYTES_MAX)?.to_vec();
            RaftRequest::Install(InstallSnapshotRequest { vote, meta, offset, data, done })
        }
        3 => RaftRequest::ReadIndex,
        _ => return Err(reader.malformed("unknown kind of message")),
    };
    reader.finish()?;
    Ok((cluster, to, request))
}

pub(crate) fn encode_reply(reply: &RaftReply) -> Bytes {
    let mut out = vec![VERSION];
    match reply {
        RaftReply::Append(append) => {
            out.push(0);
            match append {
                AppendEntriesResponse::Success => out.push(0),
                AppendEntriesResponse::PartialSuccess(matching) => {
                    out.push(1);
                    put_option(&mut out, matching, put_log_id);
                }
                AppendEntriesResponse::Conflict => out.push(2),
                AppendEntriesResponse::HigherVote(vote) => {
                    out.push(3);
                    put_vote(&mut out, vote);
                }
            }
        }
        RaftReply::Vote(answer) => {
            out.push(1);
            put_vote(&mut out, &answer.vote);
            out.push(u8::from(answer.vote_granted));
            put_option(&mut out, &answer.last_log_id, put_log_id);
        }
        RaftReply::Install(answer) => {
            out.push(2);
            put_vote(&mut out, &answer.vote);
        }
        RaftReply::ReadIndex(index) => {
            out.push(3);
            put_varint(&mut out, *index);
        }
    }
    out.into()
}

pub(crate) fn decode_reply(bytes: &[u8]) -> Result<RaftReply, CodecError> {
    let mut reader = Reader::new("raft answer", bytes);
    reader.version(VERSION)?;
    let reply = match reader.u8()? {
        0 => RaftReply::Append(match reader.u8()? {
            0 => AppendEntriesResponse::Success,
            1 => AppendEntriesResponse::PartialSuccess(option(&mut reader, log_id)?),
            2 => AppendEntriesResponse::Conflict,
            3 => AppendEntriesResponse::HigherVote(vote(&mut reader)?),
            _ => return Err(reader.malformed("unknown outcome of append")),
        }),
        1 => {
            let (vote, granted) = (vote(&mut reader)?, reader.u8()? == 1);
            let last_log_id = option(&mut reader, log_id)?;
            RaftReply::Vote(VoteResponse { vote, vote_granted: granted, last_log_id })
        }
        2 => RaftReply::Install(InstallSnapshotResponse { vote: vote(&mut reader)? }),
        3 => RaftReply::ReadIndex(reader.varint()?),
        _ => return Err(reader.malformed("unknown kind of answer")),
    };
    reader.finish()?;
    Ok(reply)
}
