//! When a member stands for election. openraft draws its timeout once for a process' life, so that two members
//! that drew alike can split votes for ever; here it is drawn afresh for each round.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openraft::ServerState;
use openraft::raft::{VoteRequest, VoteResponse};
use pando_runtime::{Rng, SharedClock};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::member::{Member, to_nodes};
use crate::types::{LogId, Raft};

/// When a member last heard of its leader, or promised its vote; and what it learned from refused votes.
pub(crate) struct Contact {
    clock: SharedClock,
    heard: Mutex<Duration>,
    hint: Mutex<Option<Hint>>,
    hinted: Notify,
    /// Whether this member had better not lead: see [`Group::set_unfit`](crate::Group::set_unfit).
    unfit: AtomicBool,
    /// Which lead this member gives up, by its term, and until when it says nothing.
    silent: Mutex<(u64, Duration)>,
}

/// What a refused vote says about the next attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hint {
    /// Another member has more entries: let it go first. Were this one to stand again and again, it would always be
    /// one term ahead of whoever can win.
    StandBack,
    /// This member has as many entries as who refused it, or more than whom it refused: it can win, with a
    /// higher term, and the sooner the better.
    GoAhead,
}

impl Contact {
    pub(crate) fn new(clock: SharedClock) -> Self {
        let heard = Mutex::new(clock.monotonic());
        Contact {
            clock,
            heard,
            hint: Mutex::new(None),
            hinted: Notify::new(),
            unfit: AtomicBool::new(false),
            silent: Mutex::default(),
        }
    }

    pub(crate) fn set_unfit(&self, unfit: bool) {
        self.unfit.store(unfit, Ordering::Relaxed);
    }

    /// Says nothing for `time` as the leader of `term`. A later lead is not given up: others had their time then.
    pub(crate) fn be_silent(&self, term: u64, time: Duration) {
        *self.silent.lock() = (term, self.clock.monotonic() + time);
    }

    pub(crate) fn is_silent(&self, term: u64) -> bool {
        let (given_up, until) = *self.silent.lock();
        term == given_up && self.clock.monotonic() < until
    }

    /// A leader was heard, or a vote promised, now.
    pub(crate) fn touch(&self) {
        *self.heard.lock() = self.clock.monotonic();
        *self.hint.lock() = None;
    }

    /// This member stood and was answered.
    pub(crate) fn was_answered(&self, asked: &VoteRequest<u64>, answer: &VoteResponse<u64>) {
        if answer.vote_granted {
            return;
        }
        if answer.last_log_id > asked.last_log_id {
            self.give(Hint::StandBack);
        } else if answer.vote > asked.vote && !answer.vote.committed {
            self.give(Hint::GoAhead);
        }
    }

    /// Another member stood and this one answered. Within `timeout` of hearing from a leader a refusal says
    /// nothing but that.
    pub(crate) fn answered(
        &self,
        last_log_id: Option<LogId>,
        answer: &VoteResponse<u64>,
        timeout: Duration,
    ) {
        if answer.vote_granted {
            self.touch();
        } else if answer.last_log_id > last_log_id && self.quiet() >= timeout {
            self.give(Hint::GoAhead);
        }
    }

    fn give(&self, hint: Hint) {
        let mut known = self.hint.lock();
        if *known != Some(Hint::StandBack) {
            *known = Some(hint);
        }
        self.hinted.notify_one();
    }

    fn quiet(&self) -> Duration {
        self.clock.monotonic().saturating_sub(*self.heard.lock())
    }
}

/// What to do now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// It has not been quiet for long enough.
    Wait(Duration),
    /// Stand for election.
    Elect,
    /// Nobody has brought the group's first entry: begin with it, and stand.
    Begin,
    /// It leads.
    Rest,
}

fn decide(state: ServerState, quiet: Duration, patience: Duration) -> Verdict {
    match state {
        ServerState::Leader | ServerState::Shutdown => Verdict::Rest,
        _ if quiet < patience => Verdict::Wait(patience - quiet),
        ServerState::Follower | ServerState::Candidate => Verdict::Elect,
        // All members are voters: one that is not has not heard of the group's members yet.
        ServerState::Learner => Verdict::Begin,
    }
}

/// A member's election timer. It also begins a new group, which is like an election that nobody has won yet.
pub(crate) struct Elections {
    pub(crate) raft: Raft,
    pub(crate) rng: Rng,
    /// Voters refuse candidates for that long after they heard of a leader.
    pub(crate) timeout: Duration,
    /// All members.
    pub(crate) members: Vec<Member>,
    /// Whether this member need not wait for another to begin: it is alone, or the first one of a new group.
    pub(crate) first: bool,
}

impl Elections {
    /// Runs until the group stops.
    pub(crate) async fn run(self, contact: Arc<Contact>) {
        let mut patience = if self.first { Duration::ZERO } else { self.draw() };
        loop {
            if self.raft.metrics().borrow().running_state.is_err() {
                return;
            }
            match contact.hint.lock().take() {
                Some(Hint::StandBack) => patience = self.draw() + self.timeout,
                Some(Hint::GoAhead) => patience = contact.quiet() + self.draw_short(),
                None => {}
            }
            // Others come first, and whoever is left leads all the same.
            let handicap = match contact.unfit.load(Ordering::Relaxed) && self.members.len() > 1 {
                true => self.timeout * 2,
                false => Duration::ZERO,
            };
            let state = self.raft.server_metrics().borrow().state;
            match decide(state, contact.quiet(), patience + handicap) {
                Verdict::Wait(time) => {
                    let _ = tokio::time::timeout(time, contact.hinted.notified()).await;
                }
                Verdict::Rest => {
                    contact.touch();
                    tokio::time::sleep(self.timeout / 2).await;
                }
                Verdict::Elect => {
                    contact.touch();
                    patience = self.draw();
                    if self.raft.trigger().elect().await.is_err() {
                        return;
                    }
                }
                Verdict::Begin => {
                    contact.touch();
                    patience = self.draw();
                    // Every member begins with the same first entry, so that it does not matter who does. An
                    // error says that another one was faster.
                    let _ = self.raft.initialize(to_nodes(&self.members)).await;
                }
            }
        }
    }

    /// Long enough for an answer, and for two that duel to miss each other.
    fn draw_short(&self) -> Duration {
        let timeout_us = self.timeout.as_micros() as u64;
        Duration::from_micros(self.rng.range(timeout_us / 10, timeout_us / 2))
    }

    fn draw(&self) -> Duration {
        let timeout_us = self.timeout.as_micros() as u64;
        Duration::from_micros(timeout_us + self.rng.range(0, timeout_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_may_and_has_waited_stands() {
        let ms = Duration::from_millis;
        assert_eq!(decide(ServerState::Leader, ms(9), ms(1)), Verdict::Rest);
        assert_eq!(decide(ServerState::Learner, ms(9), ms(1)), Verdict::Begin);
        assert_eq!(decide(ServerState::Learner, ms(3), ms(10)), Verdict::Wait(ms(7)));
        assert_eq!(decide(ServerState::Follower, ms(3), ms(10)), Verdict::Wait(ms(7)));
        assert_eq!(decide(ServerState::Follower, ms(10), ms(10)), Verdict::Elect);
        assert_eq!(decide(ServerState::Candidate, ms(10), ms(10)), Verdict::Elect);
    }

    #[test]
    fn a_refusal_says_who_can_win() {
        use openraft::CommittedLeaderId;
        use pando_runtime::ManualClock;

        let clock = ManualClock::at(0);
        let contact = Contact::new(clock.clone());
        let id = |index| Some(LogId::new(CommittedLeaderId::new(1, 1), index));
        let hint = |contact: &Contact| contact.hint.lock().take();
        let asked = VoteRequest { vote: openraft::Vote::new(3, 1), last_log_id: id(5) };
        let refuse =
            |term, index| VoteResponse::new(openraft::Vote::new(term, 2), id(index), false);
        contact.was_answered(&asked, &refuse(4, 5));
        assert_eq!(hint(&contact), Some(Hint::GoAhead));
        contact.was_answered(&asked, &refuse(2, 6));
        contact.was_answered(&asked, &refuse(4, 5));
        assert_eq!(hint(&contact), Some(Hint::StandBack), "one with more entries is enough");
        contact.was_answered(&asked, &refuse(2, 5));
        assert_eq!(hint(&contact), None, "a leader's lease refuses too");

        let second = Duration::from_secs(1);
        contact.answered(id(4), &refuse(2, 5), second);
        assert_eq!(hint(&contact), None, "a leader lives");
        clock.advance(second);
        contact.answered(id(4), &refuse(2, 5), second);
        assert_eq!(hint(&contact), Some(Hint::GoAhead));
        contact.answered(id(5), &VoteResponse::new(openraft::Vote::new(9, 2), id(5), true), second);
        assert_eq!(contact.quiet(), Duration::ZERO, "a promised vote is kept for a while");
    }
}
