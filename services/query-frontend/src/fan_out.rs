//! Fan-out: asks the members that a plan names, notices answers that are not whole, and plans
//! again.
//!
//! ```text
//! piece of the key space --> its members, one after the other --> a whole answer
//!          ^                     | stale, or nobody answers
//!          +-- pin a newer catalog, plan the piece again: it may be several pieces now
//! ```
//!
//! A piece's answer counts only when it is whole, so that nothing of a failed try is ever merged
//! (INV-5, INV-6).

use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use pando_catalog::CatalogView;
use pando_executor::Sources;
use pando_model::{CatalogVersion, ErrorKind, KeyRange, TenantId, TimeRange};
use pando_rpc::Peer;
use tokio::sync::SemaphorePermit;
use tonic::Status;

use crate::error::FrontendError;
use crate::frontend::Frontend;
use crate::planner::{self, PlacedFragment, Placement, Wanted};

/// How often one piece is planned again because its sources were gone.
const STALE_TRIES_MAX: u32 = 5;
/// How long a newer version of the catalog is waited for before the same one is tried again.
const NEWER_PATIENCE: Duration = Duration::from_secs(1);
/// The pause before members are asked again, while leaders change.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Refusals of one piece that are remembered, the first ones.
const REFUSALS_MAX: usize = 16;

/// What a member is asked about some sources.
pub(crate) trait Question: Sync {
    /// A whole answer.
    type Answer: Send;

    /// Waits until a member may be asked. Where one request has several questions, all of them share its turns.
    fn turn(&self) -> impl Future<Output = Option<SemaphorePermit<'_>>> + Send {
        async { None }
    }

    /// Asks one member. An answer that is cut short is an error of kind `Unavailable`.
    fn ask(
        &self,
        peer: Peer,
        sources: &Sources,
    ) -> impl Future<Output = Result<Self::Answer, Status>> + Send;
}

/// Whose samples of what time are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) time: TimeRange,
    /// Whether an answer may lack what nobody answers for.
    pub(crate) partial: bool,
}

/// What the members answered.
#[derive(Debug)]
pub(crate) struct Answers<T> {
    /// Whole answers, in the order of their keys.
    pub(crate) answers: Vec<Answered<T>>,
    /// What is missing, where a partial answer is allowed.
    pub(crate) missing: Vec<String>,
}

/// A whole answer, and how it came to be.
#[derive(Debug)]
pub(crate) struct Answered<T> {
    pub(crate) answer: T,
    /// What was asked for: as it was planned last.
    pub(crate) piece: PlacedFragment,
    /// Who answered.
    pub(crate) member: Placement,
    /// Who was asked before, for this piece or the one that it is a part of, and said what.
    pub(crate) refusals: Vec<String>,
    /// From the question to the end of the answer.
    pub(crate) took: Duration,
}

/// What to do after a member's refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    /// Another member may do better.
    OtherMember,
    /// The sources have moved.
    PlanAgain,
    /// Everybody would say the same.
    GiveUp,
}

fn next_after(kind: ErrorKind) -> Next {
    match kind {
        ErrorKind::Stale => Next::PlanAgain,
        // A member that shuts down cancels; one that lost its disk is another node at the same
        // address; a damaged copy in one cache is whole in another's.
        ErrorKind::Unavailable
        | ErrorKind::RateLimited
        | ErrorKind::Timeout
        | ErrorKind::Canceled
        | ErrorKind::Forbidden
        | ErrorKind::NotFound
        | ErrorKind::Unsupported
        | ErrorKind::Corrupt
        | ErrorKind::Internal => Next::OtherMember,
        ErrorKind::Invalid | ErrorKind::Execution | ErrorKind::LimitExceeded => Next::GiveUp,
    }
}

/// Whether time may heal what the last of all members said.
fn heals(kind: ErrorKind) -> bool {
    kind.surface().retry || matches!(kind, ErrorKind::Canceled | ErrorKind::Forbidden)
}

/// How often and how long one piece was tried.
struct Tries {
    stale: u32,
    since: Duration,
    /// How long of that it waited for its turns.
    queued: Duration,
    /// What members said that did not answer.
    refusals: Vec<String>,
}

impl Frontend {
    /// Asks `question` about everything in `scope` at the version of `view`, or a later one where
    /// that is gone.
    pub(crate) async fn fan_out<Q: Question>(
        &self,
        view: &CatalogView,
        scope: Scope<'_>,
        question: &Q,
    ) -> Result<Answers<Q::Answer>, FrontendError> {
        let pieces = self.plan(view, scope, KeyRange::ALL)?;
        let asked = pieces.into_iter().map(|piece| async move {
            let keys = piece.sources.keys;
            (keys, self.piece(scope, question, piece).await)
        });
        let mut asked = stream::iter(asked).buffered(self.config().fragments_in_flight_max);
        let mut all = Answers { answers: Vec::new(), missing: Vec::new() };
        while let Some((keys, result)) = asked.next().await {
            match result {
                Ok(answers) => all.answers.extend(answers),
                Err(error) if scope.partial && error.is_absence() => {
                    let (first, last) = (keys.first.0, keys.last.0);
                    let (from, upto) = (scope.time.min_ms, scope.time.max_ms);
                    all.missing.push(format!(
                        "partial response: keys {first:016x}..{last:016x} are missing, \
                         from {from} to {upto} ms: {error}"
                    ));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// Who is asked for everything in `scope` at the version of `view`, and about what.
    pub(crate) fn plan(
        &self,
        view: &CatalogView,
        scope: Scope<'_>,
        keys: KeyRange,
    ) -> Result<Vec<PlacedFragment>, FrontendError> {
        let gateways = self.gateways(&view.routing);
        let wanted = Wanted {
            tenant: scope.tenant,
            keys,
            time: scope.time,
            now_ms: self.clock().now_ms(),
            turn: self.next_turn(),
            interval_ms: self.config().split_interval_ms(),
        };
        Ok(planner::plan(view, &gateways, wanted)?)
    }

    /// Whole answers for the keys of `piece`.
    async fn piece<Q: Question>(
        &self,
        scope: Scope<'_>,
        question: &Q,
        piece: PlacedFragment,
    ) -> Result<Vec<Answered<Q::Answer>>, FrontendError> {
        let since = self.clock().monotonic();
        let queued = Duration::ZERO;
        let mut tries = Tries { stale: 0, since, queued, refusals: Vec::new() };
        let mut answers = Vec::new();
        let mut left = VecDeque::from([piece]);
        while let Some(piece) = left.pop_front() {
            match self.at_members(question, &piece, &mut tries).await {
                Ok((member, answer, took)) => {
                    let refusals = std::mem::take(&mut tries.refusals);
                    answers.push(Answered { answer, piece, member, refusals, took });
                }
                Err(error) => {
                    let view = self.after(error, &piece, &mut tries).await?;
                    let again = self.plan(&view, scope, piece.sources.keys)?;
                    again.into_iter().rev().for_each(|piece| left.push_front(piece));
                }
            }
        }
        Ok(answers)
    }

    /// The members of one piece in the order in which they are asked.
    pub(crate) fn in_order<'p>(&self, piece: &'p PlacedFragment) -> Vec<&'p Placement> {
        let now = self.clock().monotonic();
        self.suspects().last(&piece.members, |member| member.node, now)
    }

    /// Asks the members of one piece, one after the other: who answered what, and how long that took.
    async fn at_members<Q: Question>(
        &self,
        question: &Q,
        piece: &PlacedFragment,
        tries: &mut Tries,
    ) -> Result<(Placement, Q::Answer, Duration), FrontendError> {
        let queued = self.clock().monotonic();
        let _turn = question.turn().await;
        tries.queued += self.clock().monotonic().saturating_sub(queued);
        let mut last = None;
        for member in self.in_order(piece) {
            let began = self.clock().monotonic();
            let who = format!("member={} address={}", member.node, member.address);
            let asked = match self.channels().peer(&member.address, Some(member.node)) {
                Ok(peer) => question.ask(peer, &piece.sources).await,
                // An address that is none is as good as a member that is away.
                Err(status) => Err(Status::unavailable(status.message())),
            };
            let status = match asked {
                Ok(answer) => {
                    self.suspects().clear(member.node);
                    let took = self.clock().monotonic().saturating_sub(began);
                    return Ok((member.clone(), answer, took));
                }
                Err(status) => status,
            };
            let error = FrontendError::from_member(&status, &who);
            if error.kind() == ErrorKind::Unavailable {
                self.suspects().add(member.node, self.clock().monotonic());
            }
            tracing::debug!(%who, %error, "member did not answer a fragment");
            if tries.refusals.len() < REFUSALS_MAX {
                tries.refusals.push(format!("{who}: {}", status.message()));
            }
            match next_after(error.kind()) {
                Next::OtherMember => last = Some(error),
                Next::PlanAgain | Next::GiveUp => return Err(error),
            }
        }
        Err(last.unwrap_or(FrontendError::Plan(planner::PlanError::NoMember {
            version: piece.sources.version.0,
        })))
    }

    /// Waits until it is worth to plan `piece` again, and pins the catalog for it.
    async fn after(
        &self,
        error: FrontendError,
        piece: &PlacedFragment,
        tries: &mut Tries,
    ) -> Result<CatalogView, FrontendError> {
        let version = piece.sources.version;
        if error.kind() == ErrorKind::Stale {
            self.metrics().stale.inc();
            tries.stale += 1;
            if tries.stale > STALE_TRIES_MAX {
                let why = "a block that is gone each time has lost its object in the bucket";
                let message = format!("{error}; planned {STALE_TRIES_MAX} times again: {why}");
                return Err(FrontendError::Member { kind: ErrorKind::Unavailable, message });
            }
            // Usually the newer version is on its way. Where none comes, the member may have meant
            // itself.
            let newer = CatalogVersion(version.0.saturating_add(1));
            if let Some(view) = self.catalog().pin(newer, NEWER_PATIENCE).await {
                return Ok(view);
            }
        } else {
            let since = tries.since + tries.queued;
            let waited = self.clock().monotonic().saturating_sub(since);
            if !heals(error.kind()) || waited >= self.config().members_patience {
                return Err(if heals(error.kind()) { unavailable(error) } else { error });
            }
            self.metrics().retries.inc();
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        self.pin(version).await
    }
}

/// What a caller is told when the cluster did not come to rest: 503, whatever the last member said.
fn unavailable(error: FrontendError) -> FrontendError {
    FrontendError::Member { kind: ErrorKind::Unavailable, message: error.to_string() }
}
