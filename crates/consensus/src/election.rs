//! When a member stands for election. openraft draws its timeout once for a process' life, so that two members
//! that drew alike can split votes for ever; here it is drawn afresh for each round.

use std::time::Duration;

use openraft::ServerState;
use pando_runtime::{Rng, SharedClock};
use parking_lot::Mutex;

use crate::member::{Member, to_nodes};
use crate::types::Raft;

/// When a member last heard of its leader, or promised its vote.
pub(crate) struct Contact {
    clock: SharedClock,
    heard: Mutex<Duration>,
}

impl Contact {
    pub(crate) fn new(clock: SharedClock) -> Self {
        let heard = Mutex::new(clock.monotonic());
        Contact { clock, heard }
    }

    /// Now.
    pub(crate) fn touch(&self) {
        *self.heard.lock() = self.clock.monotonic();
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
    pub(crate) async fn run(self, contact: std::sync::Arc<Contact>) {
        let mut patience = if self.first { Duration::ZERO } else { self.draw() };
        loop {
            if self.raft.metrics().borrow().running_state.is_err() {
                return;
            }
            let state = self.raft.server_metrics().borrow().state;
            match decide(state, contact.quiet(), patience) {
                Verdict::Wait(time) => tokio::time::sleep(time).await,
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
}
