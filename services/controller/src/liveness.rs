//! `Liveness`: who was heard of lately. Known to the leading controller alone; a new leader gives everyone the
//! time of one timeout to be heard.

use std::collections::BTreeMap;
use std::time::Duration;

use pando_cluster::Presence;
use pando_model::NodeId;
use parking_lot::Mutex;

/// When members were last heard of, in monotonic time.
pub(crate) struct Liveness {
    timeout: Duration,
    heard: Mutex<BTreeMap<NodeId, Duration>>,
    since: Mutex<Option<Duration>>,
}

impl Liveness {
    /// Nobody was heard of yet; a member is alive for `timeout` after a heartbeat.
    pub(crate) fn new(timeout: Duration) -> Self {
        Liveness { timeout, heard: Mutex::default(), since: Mutex::default() }
    }

    /// This controller leads since `now`.
    pub(crate) fn begin(&self, now: Duration) {
        self.heard.lock().clear();
        *self.since.lock() = Some(now);
    }

    /// `node` was heard of.
    pub(crate) fn beat(&self, node: NodeId, now: Duration) {
        self.heard.lock().insert(node, now);
    }

    /// `node` said good-bye.
    pub(crate) fn leave(&self, node: NodeId) {
        // A time that has run out for everyone, kept so that the grace of a new leader does not revive it.
        self.heard.lock().insert(node, Duration::ZERO);
    }

    /// Whether `node` counts as alive.
    pub(crate) fn is_alive(&self, node: NodeId, now: Duration) -> bool {
        let last = match self.heard.lock().get(&node) {
            Some(last) => *last,
            None => match *self.since.lock() {
                Some(since) => since,
                None => return false,
            },
        };
        last != Duration::ZERO && now.saturating_sub(last) < self.timeout
    }

    /// What the deciders ask: who is alive, and for how long others have been silent.
    pub(crate) fn presence(&self, now: Duration) -> Presence {
        let ago = |last: &Duration| now.saturating_sub(*last).as_millis() as u64;
        let heard = self.heard.lock().iter().map(|(node, last)| (*node, ago(last))).collect();
        let leading = self.since.lock().map_or(0, |since| ago(&since));
        Presence::new(heard, leading, self.timeout.as_millis() as u64)
    }

    /// Forgets a node that is not a member any more.
    pub(crate) fn forget(&self, node: NodeId) {
        self.heard.lock().remove(&node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_leader_waits_one_timeout_before_it_calls_anyone_dead() {
        let second = Duration::from_secs(1);
        let liveness = Liveness::new(10 * second);
        let (silent, heard, left) = (NodeId(1), NodeId(2), NodeId(3));
        assert!(!liveness.is_alive(silent, second));
        liveness.begin(5 * second);
        liveness.beat(heard, 12 * second);
        liveness.leave(left);
        assert!(liveness.is_alive(silent, 14 * second));
        assert!(!liveness.is_alive(silent, 15 * second));
        assert!(liveness.is_alive(heard, 21 * second));
        assert!(!liveness.is_alive(left, 6 * second));
    }
}
