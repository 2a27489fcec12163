//! `CatalogState`: the catalog as the replicated state of the controllers' Raft group.

use pando_catalog::{Catalog, wire};
use pando_consensus::StateMachine;
use pando_model::CatalogVersion;
use parking_lot::RwLock;
use tokio::sync::watch;

/// The catalog, and a notice of every new version.
pub struct CatalogState {
    catalog: RwLock<Catalog>,
    version: watch::Sender<CatalogVersion>,
}

impl Default for CatalogState {
    fn default() -> Self {
        Self::new()
    }
}

impl CatalogState {
    /// An empty catalog.
    pub fn new() -> Self {
        let version = watch::Sender::new(CatalogVersion(0));
        CatalogState { catalog: RwLock::new(Catalog::new()), version }
    }

    /// Reads the catalog. Do not await inside.
    pub fn read<T>(&self, look: impl FnOnce(&Catalog) -> T) -> T {
        look(&self.catalog.read())
    }

    /// Notices of new versions.
    pub fn watch(&self) -> watch::Receiver<CatalogVersion> {
        self.version.subscribe()
    }

    fn announce(&self) {
        let version = self.catalog.read().version();
        self.version.send_if_modified(|known| std::mem::replace(known, version) != version);
    }
}

impl StateMachine for CatalogState {
    fn apply(&self, index: u64, entry: &[u8]) -> Result<Vec<u8>, String> {
        // A controller that skipped what a newer one wrote would go on with another catalog than the others.
        let command = wire::decode_command(entry)
            .map_err(|error| format!("catalog command cannot be read: index={index}: {error}"))?;
        let reply = self.catalog.write().apply(index, &command);
        self.announce();
        Ok(wire::encode_reply(&reply))
    }

    fn snapshot(&self) -> Vec<u8> {
        self.catalog.read().snapshot().to_vec()
    }

    fn restore(&self, bytes: &[u8]) -> Result<(), String> {
        let restored = Catalog::restore(bytes).map_err(|error| error.to_string())?;
        *self.catalog.write() = restored;
        self.announce();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use pando_catalog::Command;
    use pando_model::ClusterId;

    use super::*;

    #[test]
    fn a_command_that_cannot_be_read_is_not_skipped() {
        let state = CatalogState::new();
        let command = Command::InitCluster { cluster: ClusterId(7), feature_level: 1 };
        let mut bytes = wire::encode_command(&command);
        state.apply(1, &bytes).expect("it is read");
        bytes[0] ^= 0xff;
        let why = state.apply(2, &bytes).expect_err("it is of another version");
        assert!(why.contains("index=2"), "{why}");
        assert_eq!(state.read(Catalog::applied), 1);
    }
}
