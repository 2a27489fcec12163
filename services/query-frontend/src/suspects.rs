//! `Suspects`: members that did not answer a moment ago. They are asked last for a while, so that
//! one that is gone without a goodbye does not cost every query the time to find out.

use std::collections::BTreeMap;
use std::time::Duration;

use pando_model::NodeId;
use parking_lot::Mutex;

/// How long a member is asked last: about as long as the cluster takes to replace it as a leader.
const SUSPECT_FOR: Duration = Duration::from_secs(5);
/// Members that are remembered; beyond it nobody else is suspected.
const SUSPECTS_MAX: usize = 4096;

/// Members under suspicion, until when (monotonic time).
#[derive(Debug, Default)]
pub(crate) struct Suspects(Mutex<BTreeMap<NodeId, Duration>>);

impl Suspects {
    /// `node` did not answer.
    pub(crate) fn add(&self, node: NodeId, now: Duration) {
        let mut suspects = self.0.lock();
        suspects.retain(|_, until| *until > now);
        if suspects.len() < SUSPECTS_MAX {
            suspects.insert(node, now + SUSPECT_FOR);
        }
    }

    /// `node` has answered.
    pub(crate) fn clear(&self, node: NodeId) {
        self.0.lock().remove(&node);
    }

    /// `members` in their order, those under suspicion behind the others.
    pub(crate) fn last<'a, T>(
        &self,
        members: &'a [T],
        node_of: impl Fn(&T) -> NodeId,
        now: Duration,
    ) -> Vec<&'a T> {
        let suspects = self.0.lock();
        let mut order: Vec<&T> = members.iter().collect();
        order
            .sort_by_key(|member| suspects.get(&node_of(member)).is_some_and(|until| *until > now));
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspects_come_last_until_they_answer_or_time_has_passed() {
        let suspects = Suspects::default();
        let second = Duration::from_secs;
        let members = [1, 2, 3].map(NodeId);
        let order = |now: u64| -> Vec<u64> {
            suspects.last(&members, |node| *node, second(now)).iter().map(|node| node.0).collect()
        };
        assert_eq!(order(0), [1, 2, 3]);
        suspects.add(NodeId(1), second(0));
        suspects.add(NodeId(2), second(1));
        assert_eq!(order(1), [3, 1, 2]);
        assert_eq!(order(5), [1, 3, 2]);
        suspects.clear(NodeId(2));
        assert_eq!(order(4), [2, 3, 1]);
    }
}
