//! `Contact`: whether this controller reaches a majority. A leader that is cut off still believes that it
//! leads, and a follower that is cut off knows nothing new: members who listen to such a one had better ask
//! another.

use std::time::Duration;

use parking_lot::Mutex;

/// Without a confirmed read for this time a controller sends its watchers away; a leader's election takes
/// about one second.
const LOST_AFTER: Duration = Duration::from_secs(6);

/// When a majority was last heard of, in monotonic time.
#[derive(Default)]
pub(crate) struct Contact {
    last: Mutex<Option<Duration>>,
}

impl Contact {
    /// A majority answered a question that was asked at `asked`.
    pub(crate) fn confirmed(&self, asked: Duration) {
        *self.last.lock() = Some(asked);
    }

    /// Whether a majority is there, as of `now`.
    pub(crate) fn is_there(&self, now: Duration) -> bool {
        self.last.lock().is_some_and(|last| now.saturating_sub(last) < LOST_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contact_is_lost_after_a_while_and_not_there_at_first() {
        let (contact, second) = (Contact::default(), Duration::from_secs(1));
        assert!(!contact.is_there(second));
        contact.confirmed(2 * second);
        assert!(contact.is_there(7 * second));
        assert!(!contact.is_there(8 * second));
    }
}
