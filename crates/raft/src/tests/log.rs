//! The shared log: what was durable is found again, and damage is named.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::{CommittedLeaderId, EntryPayload};
use pando_runtime::Tasks;
use pando_runtime::disk::{Disk, SimDisk};

use crate::error::ConsensusError;
use crate::shared_log::{Record, SharedLog};
use crate::types::{Entry, LogId, Proposal, Vote};

fn entry(index: u64, text: &str) -> Entry {
    let proposal = Proposal(text.as_bytes().to_vec().into());
    Entry { log_id: id(index), payload: EntryPayload::Normal(proposal) }
}

fn id(index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(1, 5), index)
}

fn open(disk: &SimDisk) -> Result<SharedLog, ConsensusError> {
    SharedLog::open(Arc::new(disk.clone()), PathBuf::from("/log"), &Tasks::new())
}

async fn filled(disk: &SimDisk) -> SharedLog {
    let log = open(disk).expect("empty disk");
    let (one, two, three) = (entry(1, "one"), entry(2, "two"), entry(3, "three"));
    let vote = Vote::new(1, 5);
    let records = [Record::Vote(&vote), Record::Entry(&one), Record::Entry(&two)];
    log.write_and_wait(7, &records).await.expect("written");
    log.write_and_wait(8, &[Record::Entry(&one)]).await.expect("written");
    let records = [Record::Entry(&three), Record::Truncate(3), Record::Purge(&id(1))];
    log.write_and_wait(7, &records).await.expect("written");
    log
}

#[tokio::test]
async fn what_was_written_is_found_again() {
    let disk = SimDisk::new();
    drop(filled(&disk).await);
    for _ in 0..3 {
        let log = open(&disk).expect("whole");
        let group = log.group(7);
        let group = group.lock();
        assert_eq!(group.vote, Some(Vote::new(1, 5)));
        assert_eq!(group.purged, Some(id(1)));
        assert_eq!(group.entries.keys().copied().collect::<Vec<_>>(), [2]);
        assert_eq!(log.group(8).lock().entries.len(), 1);
    }
}

#[tokio::test]
async fn a_removed_group_stays_removed() {
    let disk = SimDisk::new();
    filled(&disk).await.remove(7).await.expect("removed");
    assert_eq!(open(&disk).expect("whole").stored(), [8]);
}

#[tokio::test]
async fn every_flipped_bit_of_what_was_durable_once_is_named() {
    let disk = SimDisk::new();
    drop(filled(&disk).await);
    let path = Path::new("/log/00000000000000000001.log");
    let whole = disk.read_all(path).expect("first segment");
    // The last batch may be a torn end; whatever lies before it may not.
    drop(open(&disk).expect("whole"));
    for at in 0..whole.len() {
        let copy = SimDisk::new();
        copy.create_dir(Path::new("/log")).expect("made");
        let mut bytes = whole.clone();
        bytes[at] ^= 0x04;
        for (name, bytes) in [(path, &bytes), (Path::new("/log/00000000000000000002.log"), &whole)]
        {
            copy.replace(name, bytes).expect("written");
        }
        assert!(open(&copy).is_err(), "offset {at}");
    }
}

#[tokio::test]
async fn a_torn_end_is_cut_and_what_was_acknowledged_stays() {
    let disk = SimDisk::new();
    drop(filled(&disk).await);
    let path = Path::new("/log/00000000000000000001.log");
    let whole = disk.read_all(path).expect("first segment");
    for length in 0..whole.len() {
        let copy = SimDisk::new();
        copy.create_dir(Path::new("/log")).expect("made");
        copy.replace(path, &whole[..length]).expect("written");
        let log = open(&copy).expect("a torn end is no damage");
        let group = log.group(7);
        let last = group.lock().entries.last_key_value().map_or(0, |(index, _)| *index);
        assert!(last <= 3, "length {length}");
        if length + 1 == whole.len() {
            // Only the last batch may be torn: the entries before it were acknowledged.
            assert_eq!(group.lock().entries.len(), 2);
        }
    }
}
