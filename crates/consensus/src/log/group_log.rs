//! `GroupLog`: the index of one group's entries in the shared log: where each of them is, and the newest of them
//! themselves. It does no I/O.

use std::collections::VecDeque;

use super::format::GroupState;
use crate::types::{Entry, LogId};

/// Where a record is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    /// Of the whole record.
    pub(crate) len: u32,
}

/// An entry of a group.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) log_id: LogId,
    pub(crate) place: Place,
    /// The frame that makes it durable; until then the entry itself stays here.
    pub(crate) frame: u64,
    pub(crate) entry: Option<Entry>,
}

/// The index of a group.
#[derive(Debug, Default)]
pub(crate) struct GroupLog {
    pub(crate) state: GroupState,
    /// The segment that holds the newest record with the group's members.
    pub(crate) state_in: u64,
    /// A truncation that is not in the log yet: it is written with the group's next entries, or after the
    /// checkpoint that replaces what it takes, never before.
    pub(crate) unwritten_truncate: Option<u64>,
    slots: VecDeque<Slot>,
    cached_bytes: usize,
    /// Entries below this index are not cached.
    cached_from: u64,
}

impl GroupLog {
    /// An index of consecutive `slots`.
    pub(crate) fn new(state: GroupState, state_in: u64, slots: VecDeque<Slot>) -> Self {
        let cached_from = slots.back().map_or(0, |slot| slot.log_id.index + 1);
        GroupLog { state, state_in, slots, cached_from, ..GroupLog::default() }
    }

    pub(crate) fn last_log_id(&self) -> Option<LogId> {
        self.slots.back().map(|slot| slot.log_id).or(self.state.purged)
    }

    /// The index that the next entry must have; `None`: any, the log has never had one.
    pub(crate) fn next_index(&self) -> Option<u64> {
        self.last_log_id().map(|last| last.index + 1)
    }

    fn first_index(&self) -> u64 {
        self.slots.front().map_or(0, |slot| slot.log_id.index)
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter()
    }

    pub(crate) fn slot(&self, index: u64) -> Option<&Slot> {
        let at = usize::try_from(index.checked_sub(self.first_index())?).ok()?;
        self.slots.get(at)
    }

    fn slot_mut(&mut self, index: u64) -> Option<&mut Slot> {
        let at = usize::try_from(index.checked_sub(self.first_index())?).ok()?;
        self.slots.get_mut(at)
    }

    /// The slots in `[start, end)` that exist.
    pub(crate) fn range(&self, start: u64, end: u64) -> impl Iterator<Item = &Slot> {
        let first = self.first_index();
        let from = usize::try_from(start.saturating_sub(first))
            .unwrap_or(usize::MAX)
            .min(self.slots.len());
        let to =
            usize::try_from(end.saturating_sub(first)).unwrap_or(usize::MAX).min(self.slots.len());
        self.slots.range(from..to.max(from))
    }

    /// Appends a slot whose entry is cached; `flushed`: frames up to it are durable.
    pub(crate) fn push(&mut self, slot: Slot, flushed: u64, cache_bytes_max: usize) {
        if self.slots.is_empty() {
            self.cached_from = slot.log_id.index;
        }
        self.cached_bytes += slot.place.len as usize;
        self.slots.push_back(slot);
        while self.cached_bytes > cache_bytes_max {
            let from = self.cached_from;
            let Some(slot) = self.slot_mut(from).filter(|slot| slot.frame <= flushed) else {
                break;
            };
            if slot.entry.take().is_some() {
                let len = slot.place.len as usize;
                self.cached_bytes -= len;
            }
            self.cached_from += 1;
        }
    }

    /// Drops entries from `since` on; returns where they were.
    pub(crate) fn truncate(&mut self, since: u64) -> Vec<Place> {
        let mut gone = Vec::new();
        while let Some(slot) = self.slots.pop_back_if(|slot| slot.log_id.index >= since) {
            self.forget(&slot);
            gone.push(slot.place);
        }
        self.cached_from = self.cached_from.min(since);
        gone
    }

    /// Drops entries up to `upto`; returns where they were.
    pub(crate) fn purge(&mut self, upto: LogId) -> Vec<Place> {
        let mut gone = Vec::new();
        while let Some(slot) = self.slots.pop_front_if(|slot| slot.log_id.index <= upto.index) {
            self.forget(&slot);
            gone.push(slot.place);
        }
        if self.state.purged.is_none_or(|purged| purged.index < upto.index) {
            self.state.purged = Some(upto);
        }
        self.cached_from = self.cached_from.max(upto.index + 1);
        gone
    }

    /// An entry that is still where `from` says is at `to` from now on, durably; false where it is not.
    pub(crate) fn relocate(&mut self, index: u64, from: Place, to: Place) -> bool {
        match self.slot_mut(index).filter(|slot| slot.place == from) {
            Some(slot) => {
                slot.place = to;
                true
            }
            None => false,
        }
    }

    fn forget(&mut self, slot: &Slot) {
        if slot.entry.is_some() {
            self.cached_bytes -= slot.place.len as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use openraft::{CommittedLeaderId, EntryPayload};

    use super::*;

    fn log_id(index: u64) -> LogId {
        LogId::new(CommittedLeaderId::new(1, 1), index)
    }

    fn slot(index: u64) -> Slot {
        let entry = Entry { log_id: log_id(index), payload: EntryPayload::Blank };
        let place = Place { segment: 1, offset: index * 10, len: 10 };
        Slot { log_id: log_id(index), place, frame: index, entry: Some(entry) }
    }

    fn cached(log: &GroupLog) -> Vec<u64> {
        log.slots().filter(|s| s.entry.is_some()).map(|s| s.log_id.index).collect()
    }

    #[test]
    fn the_cache_keeps_the_newest_and_what_is_not_durable() {
        let mut log = GroupLog::default();
        for index in 0..6 {
            log.push(slot(index), 100, 30);
        }
        assert_eq!(cached(&log), [3, 4, 5]);
        for index in 6..10 {
            log.push(slot(index), 4, 30);
        }
        assert_eq!(cached(&log), [5, 6, 7, 8, 9], "frames 5 and later are not durable");
        log.push(slot(10), 9, 30);
        assert_eq!(cached(&log), [8, 9, 10]);
        log.truncate(9);
        log.push(slot(9), 100, 30);
        assert_eq!(cached(&log), [8, 9]);
        log.purge(log_id(8));
        assert_eq!(cached(&log), [9]);
        assert_eq!(log.range(0, 100).count(), 1);
        log.purge(log_id(20));
        assert_eq!(log.cached_bytes, 0);
        assert_eq!(log.next_index(), Some(21));
    }
}
