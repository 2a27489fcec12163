//! Gives the oldest segments back. What groups still need of the oldest one is copied forward and synced before it
//! goes; a copy never truncates. Segments go oldest first, so that a record that ends something (a removal, a
//! truncation) outlives what it ends.

use std::io;

use super::format::Kind;
use super::group_log::Place;
use super::replay::segment_path;
use super::{LogState, OpenSegments, SharedLog};

/// Bytes of entries copied between two frames: appends wait for no more than this.
const COPY_STEP_BYTES: u64 = 4 << 20;

/// More segments than this are copied together, however small: each restart begins a new one.
const SEGMENTS_MAX: usize = 64;

/// An entry that keeps the oldest segment.
struct Survivor {
    group: u64,
    index: u64,
    place: Place,
}

/// An entry of which a durable copy is at `to`, once the frame with it is.
pub(super) struct Move {
    group: u64,
    index: u64,
    from: Place,
    to: Place,
}

enum Step {
    /// Nothing to do, or not now.
    Rest,
    /// Copy these first.
    Copy(Vec<Survivor>),
    /// Nobody needs this one.
    Remove(u64),
}

impl SharedLog {
    /// One step. Runs on the writer's thread, between frames.
    pub(super) fn collect(&self) -> io::Result<()> {
        loop {
            let step = {
                let mut state = self.state.lock();
                state.collect_step(self.config.segment_bytes)
            };
            match step {
                Step::Rest => return Ok(()),
                Step::Copy(survivors) => return self.copy(&survivors),
                Step::Remove(segment) => {
                    self.disk.remove(&segment_path(&self.config.dir, segment))?;
                    self.disk.sync_dir(&self.config.dir)?;
                    self.state.lock().segments.remove(&segment);
                }
            }
        }
    }

    fn copy(&self, survivors: &[Survivor]) -> io::Result<()> {
        let mut segments = OpenSegments { log: self, open: None };
        for survivor in survivors {
            let record = segments.record(survivor.place)?;
            let mut state = self.state.lock();
            let still = state.groups.get(&survivor.group).and_then(|log| log.slot(survivor.index));
            if still.is_none_or(|slot| slot.place != survivor.place) {
                continue;
            }
            // Append and copy have the same body.
            let to =
                state.push(Kind::Copy, survivor.group, |out| out.extend_from_slice(&record.body));
            let Survivor { group, index, place: from } = *survivor;
            state.moves.push(Move { group, index, from, to });
        }
        let mut state = self.state.lock();
        state.copied_in = state.frame_number;
        state.wanted = true;
        Ok(())
    }
}

impl LogState {
    fn collect_step(&mut self, segment_bytes: u64) -> Step {
        if self.copied_in > self.flushed {
            return Step::Rest;
        }
        self.apply_moves();
        let Some((&oldest, segment)) = self.segments.first_key_value() else {
            return Step::Rest;
        };
        // A truncation that is not written yet must not lose the records that it is about.
        let truncating = self.groups.values().any(|log| log.unwritten_truncate.is_some());
        if oldest >= self.segment || truncating {
            return Step::Rest;
        }
        if segment.live_bytes == 0 {
            return if self.copy_states(oldest) { Step::Rest } else { Step::Remove(oldest) };
        }
        let sealed = self.segments.range(..self.segment);
        let (count, total_bytes, live_bytes) =
            sealed.fold((0, 0, 0), |(n, b, l), (_, s)| (n + 1, b + s.bytes, l + s.live_bytes));
        let wasteful = total_bytes > 2 * live_bytes + segment_bytes;
        if wasteful || count > SEGMENTS_MAX {
            Step::Copy(self.survivors(oldest))
        } else {
            Step::Rest
        }
    }

    fn apply_moves(&mut self) {
        for Move { group, index, from, to } in std::mem::take(&mut self.moves) {
            // What was truncated or purged meanwhile stays gone: the record that says so is behind the copy.
            if self.groups.get_mut(&group).is_some_and(|log| log.relocate(index, from, to)) {
                self.release(&[from]);
                self.occupy(to);
            }
        }
    }

    /// Writes the state of groups that is only in the oldest segment; false where there is none.
    fn copy_states(&mut self, oldest: u64) -> bool {
        let held: Vec<u64> = self
            .groups
            .iter()
            .filter(|(_, log)| log.state_in <= oldest)
            .map(|(id, _)| *id)
            .collect();
        for group in &held {
            let Some(log) = self.groups.get(group) else { continue };
            let state = log.state.clone();
            let place = self.push(Kind::State, *group, |out| state.put(out));
            if let Some(log) = self.groups.get_mut(group) {
                log.state_in = place.segment;
            }
        }
        if !held.is_empty() {
            self.copied_in = self.frame_number;
            self.wanted = true;
        }
        !held.is_empty()
    }

    fn survivors(&self, oldest: u64) -> Vec<Survivor> {
        let mut survivors = Vec::new();
        let mut bytes = 0;
        for (&group, log) in &self.groups {
            for slot in log.slots().filter(|slot| slot.place.segment == oldest) {
                if bytes >= COPY_STEP_BYTES {
                    return survivors;
                }
                bytes += u64::from(slot.place.len);
                let (index, place) = (slot.log_id.index, slot.place);
                survivors.push(Survivor { group, index, place });
            }
        }
        survivors
    }
}
