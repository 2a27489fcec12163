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
    fn apply(&self, index: u64, entry: &[u8]) -> Vec<u8> {
        // What does not decode here decoded on the leader, or came from a newer one: every replica of one
        // version answers alike, and the feature level keeps versions apart.
        let reply = match wire::decode_command(entry) {
            Ok(command) => self.catalog.write().apply(index, &command),
            Err(error) => {
                tracing::error!(%error, index, "catalog command cannot be read");
                return Vec::new();
            }
        };
        self.announce();
        wire::encode_reply(&reply)
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
