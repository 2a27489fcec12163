//! `HeadState`: a shard's head as the replicated state of its Raft group.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use pando_codec::entry::Entry;
use pando_consensus::StateMachine;
use pando_head::{Applied, Shard, ShardConfig};
use pando_model::{BlockId, Cut, ShardId};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

/// The block that a "committed" entry names for a generation without samples: none has this id.
pub(crate) const NO_BLOCK: BlockId = BlockId(0);

/// Outcomes that wait for their proposer. A leader has one proposal in flight, so that more than a
/// few belong to nobody: entries of other leaders.
const OUTCOMES_MAX: usize = 16;
/// Blocks that [`Progress::committed`] remembers.
const COMMITTED_MAX: usize = 64;

/// What the outside has to know of a shard's generations.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Progress {
    /// Cuts that have ended here and are not committed, oldest first. Those that differ from the
    /// block that the catalog has are not among them: nobody can commit them.
    pub(crate) uncommitted: Vec<Cut>,
    /// Committed cuts whose samples are still in memory.
    pub(crate) droppable: Vec<Cut>,
    /// Committed blocks since the start of this process, newest last: members keep them in their
    /// caches.
    pub(crate) committed: VecDeque<(Cut, BlockId)>,
    /// Generations whose samples here are not those of the block: an alarm, and they stay.
    pub(crate) differing: BTreeSet<Cut>,
    /// Whether the shard is sealed.
    pub(crate) sealed: bool,
}

impl Progress {
    /// Whether `cut` waits for its commit.
    pub(crate) fn waits(&self, cut: Cut) -> bool {
        self.uncommitted.contains(&cut)
    }
}

/// A shard's head, replicated.
pub(crate) struct HeadState {
    id: ShardId,
    shard: RwLock<Shard>,
    outcomes: Mutex<VecDeque<(u64, Applied)>>,
    /// How often a checkpoint was read. What was selected from the head before stands in no relation to it then.
    restores: AtomicU64,
    progress: watch::Sender<Progress>,
    /// Held from a look at the head until it is published, so that no older look follows a newer one.
    publishing: Mutex<()>,
}

impl HeadState {
    /// An empty shard.
    pub(crate) fn new(config: ShardConfig) -> Self {
        let state = HeadState {
            id: config.shard,
            shard: RwLock::new(Shard::new(config)),
            outcomes: Mutex::default(),
            restores: AtomicU64::new(0),
            progress: watch::Sender::default(),
            publishing: Mutex::default(),
        };
        state.publish(|_| {});
        state
    }

    /// Reads the head. Do not await inside.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Shard) -> T) -> T {
        look(&self.shard.read())
    }

    /// Whether a checkpoint was read, here or from another member: what it began with counts for nothing then.
    pub(crate) fn was_restored(&self) -> bool {
        self.restores() > 0
    }

    /// How often a checkpoint was read; does not change inside of [`HeadState::read`].
    pub(crate) fn restores(&self) -> u64 {
        self.restores.load(Ordering::SeqCst)
    }

    /// What the entry at `index` came to, if it was applied lately. Each outcome is handed out
    /// once.
    pub(crate) fn outcome(&self, index: u64) -> Option<Applied> {
        let mut outcomes = self.outcomes.lock();
        let at = outcomes.iter().position(|(i, _)| *i == index)?;
        outcomes.remove(at).map(|(_, applied)| applied)
    }

    /// Follows generations.
    pub(crate) fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// The generations now.
    pub(crate) fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Drops the samples of committed generations up to `cut` from memory.
    pub(crate) fn drop_committed(&self, cut: Cut) {
        self.shard.write().drop_committed(cut);
        self.publish(|_| {});
    }

    fn publish(&self, change: impl FnOnce(&mut Progress)) {
        let _one = self.publishing.lock();
        let (ended, sealed) = self.read(|shard| {
            let ended: Vec<_> = shard.generations().filter(|g| !g.open).collect();
            (ended, shard.is_sealed())
        });
        self.progress.send_modify(|progress| {
            change(progress);
            let here: BTreeSet<Cut> = ended.iter().map(|g| g.cut).collect();
            progress.differing.retain(|cut| here.contains(cut));
            let differing = &progress.differing;
            let waiting = ended.iter().filter(|g| !g.committed && !differing.contains(&g.cut));
            progress.uncommitted = waiting.map(|g| g.cut).collect();
            progress.droppable = ended.iter().filter(|g| g.committed).map(|g| g.cut).collect();
            progress.sealed = sealed;
        });
    }

    fn committed(&self, cut: Cut, block: BlockId, matches: bool) {
        if !matches {
            let shard = self.id;
            tracing::error!(%shard, %cut, %block, "samples here differ from those of the block");
        }
        self.publish(|progress| {
            if !matches {
                progress.differing.insert(cut);
            }
            if block != NO_BLOCK {
                progress.committed.push_back((cut, block));
            }
            while progress.committed.len() > COMMITTED_MAX {
                progress.committed.pop_front();
            }
        });
    }
}

impl StateMachine for HeadState {
    fn apply(&self, index: u64, entry: &[u8]) -> Result<Vec<u8>, String> {
        // A replica that skipped what a newer one wrote would hold other samples than the others.
        let entry = Entry::decode(&Bytes::copy_from_slice(entry))
            .map_err(|error| format!("log entry cannot be read: index={index}: {error}"))?;
        let applied = self.shard.write().apply(index, &entry);
        match (&entry, &applied) {
            (Entry::Committed { cut, block, .. }, Applied::Committed { matches, .. }) => {
                self.committed(*cut, *block, *matches);
            }
            (_, Applied::Cut(_) | Applied::Sealed { .. }) => self.publish(|_| {}),
            _ => {}
        }
        let mut outcomes = self.outcomes.lock();
        outcomes.push_back((index, applied));
        while outcomes.len() > OUTCOMES_MAX {
            outcomes.pop_front();
        }
        Ok(Vec::new())
    }

    fn snapshot(&self) -> Vec<u8> {
        self.read(Shard::checkpoint)
    }

    fn restore(&self, bytes: &[u8]) -> Result<(), String> {
        let restored = Shard::restore(self.id, bytes).map_err(|error| error.to_string())?;
        {
            let mut shard = self.shard.write();
            *shard = restored;
            self.restores.fetch_add(1, Ordering::SeqCst);
        }
        self.publish(|progress| progress.differing.clear());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use pando_codec::entry::{CutReason, ShardRules};

    use super::*;

    fn empty() -> HeadState {
        let (shard, rules) = (ShardId(1), ShardRules::default());
        HeadState::new(ShardConfig { shard, rules, inherited: Vec::new() })
    }

    #[test]
    fn a_cut_is_not_hidden_by_an_older_look_at_the_head() {
        let (state, done) = (empty(), AtomicBool::new(false));
        std::thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    while !done.load(Ordering::SeqCst) {
                        state.publish(|_| {});
                    }
                });
            }
            for cut in 1..=400 {
                let entry = Entry::Cut { cut: Cut(cut), reason: CutReason::Demand };
                state.apply(cut, &entry.encode()).expect("it is read");
                for _ in 0..20 {
                    if state.progress().uncommitted.last() != Some(&Cut(cut)) {
                        done.store(true, Ordering::SeqCst);
                        panic!("cut {cut} is hidden");
                    }
                    std::thread::yield_now();
                }
            }
            done.store(true, Ordering::SeqCst);
        });
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_not_skipped() {
        let state = empty();
        let cut = Entry::Cut { cut: Cut(1), reason: CutReason::Demand }.encode();
        let why = state.apply(7, &cut[..cut.len() - 1]).expect_err("it is cut short");
        assert!(why.contains("index=7"), "{why}");
        assert_eq!(state.read(Shard::open_cut), Cut(1));
    }
}
