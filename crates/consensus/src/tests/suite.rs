//! openraft's own conformance tests, on the real log and checkpoint files.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openraft::testing::{StoreBuilder, Suite};
use pando_model::{ClusterId, NodeId};
use pando_runtime::disk::{Disk, OsDisk, SimDisk};

use super::cluster::Journal;
use crate::checkpoint::CheckpointFile;
use crate::log::LogConfig;
use crate::log::tests::Running;
use crate::log_store::LogStore;
use crate::machine::Machine;
use crate::member::Member;
use crate::types::{StorageError, Types};

struct Builder {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    next: AtomicU64,
}

impl StoreBuilder<Types, LogStore, Machine, Running> for Builder {
    async fn build(&self) -> Result<(Running, LogStore, Machine), StorageError> {
        let root = self.root.join(self.next.fetch_add(1, Ordering::SeqCst).to_string());
        self.disk.create_dir(&root).expect("create_dir");
        let config = LogConfig {
            dir: root.join("log"),
            cluster: ClusterId(1),
            node: NodeId(99),
            segment_bytes: 300,
            cache_bytes_max: 100,
        };
        let log = Running::open(config, self.disk.clone()).expect("opens");
        let member = Member { node: NodeId(99), address: String::new() };
        log.log.create_group(1, &[member]).await.expect("created");
        let file = CheckpointFile::new(self.disk.clone(), root.join("checkpoint"), 1);
        let machine = Machine::open(Arc::new(Journal::default()), file).expect("opens");
        let store = log.store(1);
        Ok((log, store, machine))
    }
}

fn run(disk: Arc<dyn Disk>, root: PathBuf) {
    let builder = Builder { disk, root, next: AtomicU64::new(0) };
    Suite::test_all(builder).expect("conforms");
}

/// Both at once: the suite sleeps most of its time.
#[test]
fn openrafts_suite_on_a_simulated_and_on_a_real_disk() {
    let simulated = std::thread::spawn(|| run(SimDisk::new().shared(), PathBuf::from("/suite")));
    let root = tempfile::tempdir().expect("tempdir");
    run(OsDisk::shared(), root.path().to_path_buf());
    simulated.join().expect("conforms on a simulated disk");
}
