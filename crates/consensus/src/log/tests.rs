//! The log under crashes, damage, failing disks and growth.

use std::collections::BTreeMap;
use std::path::Path;

use openraft::storage::{RaftLogStorage as _, RaftLogStorageExt as _};
use openraft::{CommittedLeaderId, EntryPayload, RaftLogReader as _};
use pando_runtime::disk::{DiskFault, DiskOp, SimDisk, Tear};
use pando_runtime::{Rng, Tasks};

use super::*;
use crate::log_store::LogStore;
use crate::types::Payload;

const DIR: &str = "/data/log";
const NODE: u64 = 77;

fn config(segment_bytes: u64) -> LogConfig {
    LogConfig {
        dir: PathBuf::from(DIR),
        cluster: ClusterId(9),
        node: NodeId(NODE),
        segment_bytes,
        cache_bytes_max: 200,
    }
}

/// A log whose writer runs.
pub(crate) struct Running {
    pub(crate) log: Arc<SharedLog>,
    tasks: Tasks,
}

impl Running {
    pub(crate) fn open(config: LogConfig, disk: Arc<dyn Disk>) -> Result<Self, ConsensusError> {
        let log = SharedLog::open(config, disk)?;
        let tasks = Tasks::new();
        let writer = log.clone();
        tasks.spawn_thread("raft log", move || writer.run_writer());
        Ok(Running { log, tasks })
    }

    fn small(disk: &SimDisk) -> Self {
        Running::open(config(2_000), disk.shared()).expect("log opens")
    }

    pub(crate) fn store(&self, group: u64) -> LogStore {
        LogStore::new(self.log.clone(), group, NODE, None)
    }

    async fn create(&self, group: u64) -> LogStore {
        let member = Member { node: NodeId(NODE), address: "a:1".to_string() };
        self.log.create_group(group, &[member]).await.expect("created");
        self.store(group)
    }

    async fn close(self) {
        self.log.close();
        self.log.ended().await;
        assert!(self.tasks.shutdown(std::time::Duration::from_secs(5)).await.is_empty());
    }
}

fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term, NODE), index)
}

fn entry(term: u64, index: u64, text: &str) -> Entry {
    let payload = EntryPayload::Normal(Payload(Bytes::copy_from_slice(text.as_bytes())));
    Entry { log_id: log_id(term, index), payload }
}

async fn append(store: &mut LogStore, term: u64, range: std::ops::Range<u64>) {
    for index in range {
        let entry = entry(term, index, &format!("{term}/{index}"));
        store.blocking_append([entry]).await.expect("appended");
    }
}

fn segments(disk: &SimDisk) -> Vec<String> {
    disk.list(Path::new(DIR)).expect("list")
}

/// What a group must still have after any crash.
#[derive(Clone, Default, Debug)]
struct Model {
    vote: Option<Vote>,
    purged: Option<u64>,
    entries: BTreeMap<u64, Entry>,
}

async fn check(store: &mut LogStore, model: &Model, seed: u64) {
    let state = store.get_log_state().await.expect("state");
    let last = model.entries.keys().next_back().copied().or(model.purged);
    assert_eq!(state.last_log_id.map(|id| id.index), last, "seed={seed}");
    // A purge is not waited for.
    assert!(state.last_purged_log_id.map(|id| id.index) <= model.purged, "seed={seed}");
    assert_eq!(store.read_vote().await.expect("vote"), model.vote, "seed={seed}");
    let first = model.purged.map_or(0, |purged| purged + 1);
    let entries = store.try_get_log_entries(first..).await.expect("entries");
    assert!(entries.iter().eq(model.entries.values()), "seed={seed}");
}

/// One random act, durable on return but for purges.
async fn act(store: &mut LogStore, model: &mut Model, rng: &Rng, term: &mut u64) {
    let next =
        model.entries.keys().next_back().copied().or(model.purged).map_or(0, |last| last + 1);
    match rng.range(0, 10) {
        0 => {
            *term += 1;
            let vote = Vote::new(*term, rng.range(1, 4));
            store.save_vote(&vote).await.expect("saved");
            model.vote = Some(vote);
        }
        1 if !model.entries.is_empty() => {
            let first = *model.entries.keys().next().expect("not empty");
            let since = rng.range(first, next);
            store.truncate(log_id(0, since)).await.expect("truncated");
            model.entries.split_off(&since);
            *term += 1;
            // openraft truncates for what it appends next.
            let entry = entry(*term, since, "instead");
            store.blocking_append([entry.clone()]).await.expect("appended");
            model.entries.insert(since, entry);
        }
        2 if !model.entries.is_empty() => {
            let first = *model.entries.keys().next().expect("not empty");
            let upto = model.entries[&rng.range(first, next)].log_id;
            store.purge(upto).await.expect("purged");
            model.entries = model.entries.split_off(&(upto.index + 1));
            model.purged = Some(upto.index);
        }
        3 => {
            let committed = model.entries.values().next_back().map(|e| e.log_id);
            store.save_committed(committed).await.expect("noted");
        }
        _ => {
            let count = rng.range(1, 4);
            let text = "x".repeat(rng.range(0, 300) as usize);
            let entries: Vec<Entry> =
                (next..next + count).map(|i| entry(*term, i, &format!("{i}{text}"))).collect();
            store.blocking_append(entries.clone()).await.expect("appended");
            model.entries.extend(entries.into_iter().map(|e| (e.log_id.index, e)));
        }
    }
}

/// Small segments, so that copying forward and removing happen all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_durable_survives_any_sequence_of_acts_and_crashes() {
    for seed in 0..25 {
        let rng = Rng::seeded(seed);
        let mut disk = SimDisk::new();
        let mut models: BTreeMap<u64, Model> = BTreeMap::new();
        let mut term = 1;
        let mut log = Running::small(&disk);
        for group in 1..=3 {
            log.create(group).await;
            models.insert(group, Model::default());
        }
        for _ in 0..6 {
            for _ in 0..rng.range(5, 60) {
                // Group 3 is the slow one.
                let group = if rng.range(0, 12) == 0 { 3 } else { rng.range(1, 3) };
                let model = models.get_mut(&group).expect("created");
                act(&mut log.store(group), model, &rng, &mut term).await;
            }
            for (group, model) in &models {
                check(&mut log.store(*group), model, seed).await;
            }
            if rng.range(0, 3) == 0 {
                log.close().await;
            } else {
                disk = disk.crash(&rng, Tear::Part);
                log.close().await;
            }
            log = Running::small(&disk);
            assert_eq!(log.log.groups().len(), 3, "seed={seed}");
            for (group, model) in &models {
                check(&mut log.store(*group), model, seed).await;
            }
        }
        log.close().await;
    }
}

#[tokio::test]
async fn a_slow_group_does_not_hold_back_old_segments() {
    let disk = SimDisk::new();
    let log = Running::small(&disk);
    let (mut slow, mut fast) = (log.create(1).await, log.create(2).await);
    slow.save_vote(&Vote::new(3, 1)).await.expect("saved");
    append(&mut slow, 3, 0..5).await;
    for round in 0..100 {
        append(&mut fast, 1, round * 10..round * 10 + 10).await;
        fast.purge(log_id(1, round * 10 + 9)).await.expect("purged");
    }
    // The purge of the last round may still be on its way.
    append(&mut slow, 3, 5..6).await;
    let names = segments(&disk);
    assert!(names.len() < 8 && names[0] != "0000000000000001.log", "{names:?}");
    assert!(log.log.bytes() < 20_000, "bytes={}", log.log.bytes());
    let texts =
        |entries: Vec<Entry>| -> Vec<u64> { entries.iter().map(|e| e.log_id.index).collect() };
    assert_eq!(texts(slow.try_get_log_entries(0..).await.expect("read")), [0, 1, 2, 3, 4, 5]);
    log.close().await;

    let log = Running::small(&disk);
    let mut slow = log.store(1);
    assert_eq!(slow.read_vote().await.expect("vote"), Some(Vote::new(3, 1)));
    assert_eq!(texts(slow.try_get_log_entries(0..).await.expect("read")), [0, 1, 2, 3, 4, 5]);
    let state = log.store(2).get_log_state().await.expect("state");
    assert_eq!(state.last_purged_log_id, Some(log_id(1, 999)));
    log.close().await;
}

#[tokio::test]
async fn all_that_queued_up_costs_one_sync() {
    let disk = SimDisk::new();
    let log = Running::small(&disk);
    for group in 1..=16 {
        append(&mut log.create(group).await, 1, 0..1).await;
    }
    log.close().await;
    let log = SharedLog::open(config(1 << 20), disk.shared()).expect("opens");
    let appended = (1..=16).map(|group| {
        let mut store = LogStore::new(log.clone(), group, NODE, None);
        async move { store.blocking_append([entry(1, 1, "x")]).await }
    });
    let mut appended = Box::pin(futures::future::join_all(appended));
    assert!(futures::poll!(&mut appended).is_pending(), "nothing is durable without the writer");
    let before = disk.syncs();
    let tasks = Tasks::new();
    let writer = log.clone();
    tasks.spawn_thread("raft log", move || writer.run_writer());
    assert!(appended.await.into_iter().all(|result| result.is_ok()));
    assert_eq!(disk.syncs() - before, 1);
    log.close();
    log.ended().await;
}

#[tokio::test]
async fn after_a_failed_disk_the_log_is_over() {
    for (op, fault) in [
        (DiskOp::Sync, DiskFault::Io),
        (DiskOp::Append, DiskFault::NoSpace),
        (DiskOp::SyncDir, DiskFault::Io),
    ] {
        let disk = SimDisk::new();
        let log = Running::open(config(100), disk.shared()).expect("opens");
        let mut store = log.create(1).await;
        append(&mut store, 1, 0..3).await;
        let mut failure = log.log.failure();
        disk.fail(op, fault, 0);
        assert!(store.blocking_append([entry(1, 3, "lost")]).await.is_err(), "{op:?}");
        failure.wait_for(Option::is_some).await.expect("log is there");
        // The disk would work again: nothing is tried a second time.
        assert!(store.save_vote(&Vote::new(9, 9)).await.is_err(), "{op:?}");
        assert!(store.try_get_log_entries(0..).await.is_err(), "{op:?}");
        log.close().await;
        let disk = disk.crash(&Rng::seeded(1), Tear::Nothing);
        let log = Running::small(&disk);
        let entries = log.store(1).try_get_log_entries(0..).await.expect("read");
        assert_eq!(entries.len(), 3, "{op:?}: what was acknowledged is there");
        assert_eq!(log.store(1).read_vote().await.expect("vote"), None);
        log.close().await;
    }
}

async fn filled() -> SimDisk {
    let disk = SimDisk::new();
    let log = Running::open(config(1_000), disk.shared()).expect("opens");
    let mut store = log.create(1).await;
    append(&mut store, 1, 0..20).await;
    log.close().await;
    disk
}

#[tokio::test]
async fn damage_in_the_middle_refuses_the_log_and_changes_nothing() {
    let disk = filled().await;
    let names = segments(&disk);
    assert!(names.len() >= 2, "{names:?}");
    let last = Path::new(DIR).join(names.last().expect("some"));
    let first = Path::new(DIR).join(&names[0]);
    let cases = [(&first, 0), (&first, 12), (&first, 60), (&first, 300), (&last, 20), (&last, 60)];
    for (path, offset) in cases {
        disk.damage(path, offset).expect("damage");
        let before = disk.read_all(path).expect("read");
        let error =
            SharedLog::open(config(1_000), disk.shared()).err().expect("refused").to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        assert!(error.contains("offset="), "{error}");
        assert_eq!(disk.read_all(path).expect("read"), before, "nothing is touched");
        disk.damage(path, offset).expect("undo");
    }
    let middle = Path::new(DIR).join(&names[1]);
    if names.len() > 2 {
        disk.remove(&middle).expect("remove");
        let error = SharedLog::open(config(1_000), disk.shared()).err().expect("refused");
        assert!(error.to_string().contains("segment is missing"), "{error}");
    }
}

#[tokio::test]
async fn a_torn_tail_is_cut_and_never_appended_to() {
    let disk = filled().await;
    let names = segments(&disk);
    let last = Path::new(DIR).join(names.last().expect("some"));
    let len = disk.len(&last).expect("len");
    // The last frame holds one entry: wherever it is torn, it alone is lost.
    for torn in [1, 5, 30] {
        disk.truncate(&last, len - torn).expect("tear");
        let log = Running::open(config(1_000), disk.shared()).expect("opens");
        let mut store = log.store(1);
        let count = store.try_get_log_entries(0..).await.expect("read").len() as u64;
        assert_eq!(count, 19, "torn={torn}");
        let before = disk.len(&last).expect("len");
        append(&mut store, 1, count..20).await;
        log.close().await;
        assert_eq!(disk.len(&last).expect("len"), before);
        // Back to where it was.
        for name in segments(&disk).into_iter().filter(|name| !names.contains(name)) {
            disk.remove(&Path::new(DIR).join(name)).expect("remove");
        }
        let file = disk.open(&last).expect("open");
        file.append(&filled_tail(&last, before, len).await).expect("append");
    }
}

/// The same bytes are written for the same acts.
async fn filled_tail(path: &Path, from: u64, to: u64) -> Vec<u8> {
    let whole = filled().await.read_all(path).expect("read");
    whole[from as usize..to as usize].to_vec()
}

#[tokio::test]
async fn a_segment_that_never_held_anything_is_no_damage() {
    let disk = filled().await;
    let next = segments(&disk).len() as u64 + 1;
    let torn = disk.create(&segment_path(Path::new(DIR), next)).expect("create");
    torn.append(&[0; 17]).expect("append");
    let log = Running::open(config(1_000), disk.shared()).expect("opens");
    append(&mut log.store(1), 1, 20..21).await;
    log.close().await;
    let log = Running::open(config(1_000), disk.shared()).expect("opens again");
    assert_eq!(log.store(1).try_get_log_entries(0..).await.expect("read").len(), 21);
    log.close().await;
}

#[tokio::test]
async fn another_nodes_log_is_refused_naming_both() {
    let disk = filled().await;
    let stranger = LogConfig { node: NodeId(5), ..config(1_000) };
    let error = SharedLog::open(stranger, disk.shared()).err().expect("refused").to_string();
    assert!(error.contains("000000000000004d") && error.contains("0000000000000005"), "{error}");
}

#[tokio::test]
async fn a_removed_group_leaves_nothing() {
    let disk = filled().await;
    let log = Running::small(&disk);
    log.create(2).await;
    log.log.remove_group(1).await.expect("removed");
    assert_eq!(log.log.groups().len(), 1);
    append(&mut log.store(2), 1, 0..1).await;
    let disk_after = disk.crash(&Rng::seeded(1), Tear::Part);
    log.close().await;
    let log = Running::small(&disk_after);
    assert_eq!(log.log.groups().iter().map(|(id, _)| *id).collect::<Vec<_>>(), [2]);
    log.close().await;
}

/// What was led before a restart is not led on: see [`LogStore::read_vote`].
#[tokio::test]
async fn an_own_committed_vote_comes_back_uncommitted() {
    let disk = SimDisk::new();
    let log = Running::small(&disk);
    let mut store = log.create(1).await;
    store.save_vote(&Vote::new_committed(4, NODE)).await.expect("saved");
    assert_eq!(store.read_vote().await.expect("vote"), Some(Vote::new(4, NODE)));
    store.save_vote(&Vote::new_committed(4, 78)).await.expect("saved");
    assert_eq!(store.read_vote().await.expect("vote"), Some(Vote::new_committed(4, 78)));
    log.close().await;
}

/// A truncation must not be durable before what replaces it: a checkpoint that is being installed truncates
/// first.
#[tokio::test]
async fn a_truncation_alone_is_not_written() {
    let disk = SimDisk::new();
    let log = Running::small(&disk);
    let (mut store, mut other) = (log.create(1).await, log.create(2).await);
    append(&mut store, 1, 0..10).await;
    store.truncate(log_id(1, 4)).await.expect("truncated");
    assert_eq!(store.try_get_log_entries(0..).await.expect("read").len(), 4);
    append(&mut other, 1, 0..1).await;
    let disk = disk.crash(&Rng::seeded(1), Tear::Nothing);
    log.close().await;
    let log = Running::small(&disk);
    assert_eq!(log.store(1).try_get_log_entries(0..).await.expect("read").len(), 10);
    log.close().await;
}

/// openraft purges while a checkpoint is still being installed: see [`LogStore::purge`].
#[tokio::test]
async fn a_purge_waits_for_the_checkpoint_that_covers_it() {
    let disk = SimDisk::new();
    let log = Running::small(&disk);
    append(&mut log.create(1).await, 1, 0..10).await;
    let checkpointed = watch::Sender::new(Some(3));
    let mut store = LogStore::new(log.log.clone(), 1, NODE, Some(checkpointed.subscribe()));
    store.purge(log_id(1, 3)).await.expect("covered");
    {
        let mut purged = std::pin::pin!(store.purge(log_id(1, 7)));
        assert!(futures::poll!(&mut purged).is_pending());
        assert_eq!(log.log.bounds(1).expect("bounds").0, Some(log_id(1, 3)));
        checkpointed.send_replace(Some(8));
        purged.await.expect("covered now");
    }
    assert_eq!(log.log.bounds(1).expect("bounds").0, Some(log_id(1, 7)));
    drop(checkpointed);
    assert!(store.purge(log_id(1, 9)).await.is_err(), "no checkpoint will ever cover it");
    log.close().await;
}
