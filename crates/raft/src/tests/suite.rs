//! openraft's own conformance tests of log and state, over the real log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::{StoreBuilder, Suite};
use pando_runtime::Tasks;
use pando_runtime::disk::{Disk as _, SimDisk};
use tokio::sync::watch;

use crate::StateMachine;
use crate::checkpoint::CheckpointFile;
use crate::log_store::LogStore;
use crate::shared_log::SharedLog;
use crate::state_store::StateStore;
use crate::types::Config;

struct Nothing;

impl StateMachine for Nothing {
    fn apply(&self, _: u64, _: &[u8]) -> Vec<u8> {
        Vec::new()
    }

    fn snapshot(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

struct Fresh;

impl StoreBuilder<Config, LogStore, StateStore, Tasks> for Fresh {
    async fn build(&self) -> Result<(Tasks, LogStore, StateStore), StorageError<u64>> {
        let (disk, tasks) = (Arc::new(SimDisk::new()), Tasks::new());
        disk.create_dir(Path::new("/checkpoints")).expect("made");
        let log = SharedLog::open(disk.clone(), PathBuf::from("/log"), &tasks).expect("empty disk");
        let file = CheckpointFile::new(disk, Path::new("/checkpoints"), 1);
        let state = StateStore::open(Arc::new(Nothing), file, watch::Sender::new(0));
        Ok((tasks, LogStore::new(1, log), state.expect("empty disk")))
    }
}

#[test]
fn log_and_state_conform() {
    Suite::test_all(Fresh).expect("the suite passes");
}
