//! Handles what other members ask of a group.

use std::time::Duration;

use openraft::error::{InstallSnapshotError, RaftError};
use openraft::raft::AppendEntriesResponse;

use crate::group::{Group, NotConfirmed};
use crate::message::{Reply, Request};

impl Group {
    /// Handles one request. What cannot be handled is refused with a text: the sender tries again later.
    pub(crate) async fn serve(&self, request: Request) -> Reply {
        let raft = &self.inner.raft;
        let contact = &self.inner.contact;
        match request {
            Request::Append(append) => match raft.append_entries(append).await {
                Ok(reply) => {
                    if !matches!(reply, AppendEntriesResponse::HigherVote(_)) {
                        contact.touch();
                    }
                    Reply::Append(reply)
                }
                Err(error) => Reply::Refused(error.to_string()),
            },
            Request::Vote(vote) => {
                let last_log_id = vote.last_log_id;
                match raft.vote(vote).await {
                    Ok(reply) => {
                        let timeout = self.inner.config.election_timeout_ms;
                        contact.answered(last_log_id, &reply, Duration::from_millis(timeout));
                        Reply::Vote(reply)
                    }
                    Err(error) => Reply::Refused(error.to_string()),
                }
            }
            Request::Snapshot(piece) => {
                let max = self.inner.config.snapshot_bytes_max;
                if piece.offset.saturating_add(piece.data.len() as u64) > max {
                    return Reply::Refused(format!(
                        "checkpoint is too large: limit=snapshot_bytes_max max={max}"
                    ));
                }
                contact.touch();
                match raft.install_snapshot(piece).await {
                    Ok(reply) => Reply::Snapshot(reply.vote),
                    Err(RaftError::APIError(InstallSnapshotError::SnapshotMismatch(_))) => {
                        Reply::SnapshotMismatch
                    }
                    Err(error) => Reply::Refused(error.to_string()),
                }
            }
            Request::ReadIndex => match self.inner.confirm.ask().await {
                Some(Ok(index)) => Reply::ReadIndex(index),
                Some(Err(NotConfirmed::NotLeader(leader))) => Reply::NotLeader(leader),
                Some(Err(NotConfirmed::Unavailable(reason) | NotConfirmed::Fatal(reason))) => {
                    Reply::Refused(reason)
                }
                None => Reply::Refused("group is shut down".to_string()),
            },
        }
    }
}
