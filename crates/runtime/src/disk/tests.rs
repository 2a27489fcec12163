//! What holds of every disk, and what a crash takes.

use std::path::Path;

use super::*;
use crate::Rng;

fn scenario(disk: &dyn Disk, root: &Path) {
    let dir = root.join("a/b");
    assert_eq!(disk.list(&dir).expect("absent is empty"), Vec::<String>::new());
    disk.create_dir(&dir).expect("create_dir");
    disk.create_dir(&dir).expect("again");
    let path = dir.join("one");
    assert_eq!(disk.open(&path).err().map(|e| e.kind()), Some(io::ErrorKind::NotFound));
    let file = disk.create(&path).expect("create");
    assert_eq!(disk.create(&path).err().map(|e| e.kind()), Some(io::ErrorKind::AlreadyExists));
    file.append(b"hello ").expect("append");
    file.append(b"world").expect("append");
    assert_eq!(file.len().expect("len"), 11);
    let mut buffer = [0; 5];
    file.read_at(4, &mut buffer).expect("unsynced bytes can be read");
    assert_eq!(&buffer, b"o wor");
    file.sync().expect("sync");
    disk.open(&path).expect("open").append(b"!").expect("append");
    assert_eq!(disk.read_all(&path).expect("read"), b"hello world!");
    let past = file.read_at(8, &mut buffer).expect_err("past the end");
    assert_eq!(past.kind(), io::ErrorKind::UnexpectedEof);
    disk.truncate(&path, 5).expect("truncate");
    assert_eq!(disk.read_all(&path).expect("read"), b"hello");
    assert!(disk.truncate(&path, 6).is_err());
    disk.replace(&dir.join("two"), b"first").expect("replace");
    disk.replace(&dir.join("two"), b"second").expect("replace");
    assert_eq!(disk.read_all(&dir.join("two")).expect("read"), b"second");
    disk.rename(&path, &dir.join("three")).expect("rename");
    assert_eq!(disk.list(&dir).expect("list"), ["three", "two"]);
    assert_eq!(disk.used_bytes(&dir).expect("used"), 11);
    assert_eq!(disk.used_bytes(root).expect("directories do not count"), 0);
    disk.remove(&dir.join("three")).expect("remove");
    disk.sync_dir(&dir).expect("sync_dir");
    assert_eq!(disk.list(&dir).expect("list"), ["two"]);
}

#[test]
fn every_disk_behaves_alike() {
    scenario(&SimDisk::new(), Path::new("/sim"));
    let root = tempfile::tempdir().expect("tempdir");
    scenario(&OsDisk, &root.path().join("os"));
    scenario(&LossyDisk::new(OsDisk::shared()), &root.path().join("lossy"));
    scenario(&LossyDisk::new(SimDisk::new().shared()), Path::new("/lossy"));
    scenario(&LossyDisk::lying(SimDisk::new().shared()), Path::new("/lying"));
}

#[test]
fn a_crash_takes_what_was_not_synced() {
    let rng = Rng::seeded(1);
    let disk = SimDisk::new();
    let dir = Path::new("/d");
    disk.create_dir(dir).expect("create_dir");
    let kept = disk.create(&dir.join("kept")).expect("create");
    kept.append(b"durable").expect("append");
    kept.sync().expect("sync");
    disk.sync_dir(dir).expect("sync_dir");
    kept.append(b" and not").expect("append");
    let unnamed = disk.create(&dir.join("unnamed")).expect("create");
    unnamed.append(b"x").expect("append");
    unnamed.sync().expect("bytes are durable, the name is not");

    let after = disk.crash(&rng, Tear::Nothing);
    assert_eq!(after.list(dir).expect("list"), ["kept"]);
    assert_eq!(after.read_all(&dir.join("kept")).expect("read"), b"durable");
    assert!(kept.append(b"ghost").is_err(), "a crashed process writes nothing");
    assert!(disk.create(&dir.join("ghost")).is_err());
}

#[test]
fn a_torn_tail_is_a_part_of_what_was_appended() {
    let mut longest = 0;
    for seed in 0..20 {
        let disk = SimDisk::new();
        disk.create_dir(Path::new("/")).expect("create_dir");
        let file = disk.create(Path::new("/f")).expect("create");
        disk.sync_dir(Path::new("/")).expect("sync_dir");
        file.append(b"0123456789").expect("append");
        let after = disk.crash(&Rng::seeded(seed), Tear::Part);
        longest = longest.max(after.len(Path::new("/f")).expect("len"));
    }
    assert!((1..=10).contains(&longest), "longest={longest}");
}

#[test]
fn a_failed_sync_is_not_healed_by_the_next() {
    let disk = SimDisk::new();
    disk.create_dir(Path::new("/")).expect("create_dir");
    let file = disk.create(Path::new("/f")).expect("create");
    disk.sync_dir(Path::new("/")).expect("sync_dir");
    file.append(b"lost").expect("append");
    disk.fail(DiskOp::Sync, DiskFault::Io, 0);
    assert_eq!(file.sync().expect_err("injected").raw_os_error(), Some(5));
    file.sync().expect("the kernel has forgotten");
    let after = disk.crash(&Rng::seeded(1), Tear::Nothing);
    assert_eq!(after.len(Path::new("/f")).expect("len"), 0);
}

#[test]
fn a_full_disk_writes_what_fits() {
    let disk = SimDisk::new();
    disk.create_dir(Path::new("/")).expect("create_dir");
    let file = disk.create(Path::new("/f")).expect("create");
    disk.set_capacity_bytes(Some(6));
    file.append(b"1234").expect("fits");
    assert_eq!(file.append(b"5678").expect_err("full").raw_os_error(), Some(28));
    assert_eq!(file.len().expect("len"), 6);
    disk.set_capacity_bytes(None);
    file.append(b"90").expect("space again");
}

#[test]
fn a_lossy_disk_has_below_only_what_was_synced() {
    let below = SimDisk::new();
    let disk = LossyDisk::new(below.shared());
    disk.create_dir(Path::new("/")).expect("create_dir");
    let file = disk.create(Path::new("/f")).expect("create");
    file.append(b"synced").expect("append");
    file.sync().expect("sync");
    file.append(b"lost").expect("append");
    disk.rename(Path::new("/f"), Path::new("/g")).expect("rename");
    assert_eq!(disk.read_all(Path::new("/g")).expect("read"), b"syncedlost");
    assert_eq!(below.read_all(Path::new("/g")).expect("read"), b"synced");
}

#[test]
fn a_lying_disk_has_below_only_what_was_renamed() {
    let below = SimDisk::new();
    let disk = LossyDisk::lying(below.shared());
    disk.create_dir(Path::new("/")).expect("create_dir");
    let file = disk.create(Path::new("/f")).expect("create");
    file.append(b"synced").expect("append");
    file.sync().expect("sync");
    disk.replace(Path::new("/g"), b"replaced").expect("replace");
    assert_eq!(disk.read_all(Path::new("/f")).expect("read"), b"synced");
    assert_eq!(below.read_all(Path::new("/f")).expect("read"), b"");
    assert_eq!(below.read_all(Path::new("/g")).expect("read"), b"replaced");
}
