//! `Transport`: how a request reaches another member. What carries it is not known here: bytes in, bytes out.

use std::time::Duration;

use async_trait::async_trait;

use crate::member::Member;
use crate::message::{RaftReply, RaftRequest};

/// The request was not answered; whether it was handled is unknown.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct TransportError(pub String);

/// Carries requests to members.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Has `to` handle a request for `group`, by its [`Host::handle`](crate::Host::handle). Gives up after
    /// `timeout`, or when dropped.
    ///
    /// # Errors
    /// No answer.
    async fn send(
        &self,
        to: &Member,
        group: u64,
        request: RaftRequest,
        timeout: Duration,
    ) -> Result<RaftReply, TransportError>;
}
