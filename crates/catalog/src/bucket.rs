//! Writing to the bucket so that nobody is deceived: an object is created once, an ambiguous
//! outcome is resolved by reading back, and nothing is ever deleted to make up for a failed write.
//!
//! Needed of a store: create-if-absent, and that a read and a list see what was written. [`probe`]
//! checks it.

use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use crate::cluster_file::ClusterFile;
use crate::error::CatalogError;
use crate::layout::{cluster_path, probe_path};

/// How often a write is tried.
#[derive(Clone, Copy, Debug)]
pub struct PutRetry {
    /// Tries in all, at least 1.
    pub attempts: u32,
    /// The wait after the first ambiguous outcome; it doubles each time.
    pub pause: Duration,
}

impl Default for PutRetry {
    /// Four tries within about 2 s: beyond that the caller keeps what it has and comes again.
    fn default() -> Self {
        PutRetry { attempts: 4, pause: Duration::from_millis(250) }
    }
}

/// How a write ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PutOutcome {
    /// The object holds our bytes.
    Won,
    /// The object was there before, with these bytes.
    Lost(Bytes),
}

/// Creates an object with `bytes`, which must differ from what anybody else writes there (a random
/// id, a hash).
///
/// Fails with `UnknownOutcome` where no attempt gave a clear answer: the write may still appear, so
/// that the caller keeps its data and asks again with the same bytes.
pub async fn put_once(
    store: &dyn ObjectStore,
    path: &Path,
    bytes: Bytes,
    retry: PutRetry,
) -> Result<PutOutcome, CatalogError> {
    let mut pause = retry.pause;
    let attempts = retry.attempts.max(1);
    let mut last = String::new();
    for _ in 0..attempts {
        let options = PutOptions::from(PutMode::Create);
        match store.put_opts(path, PutPayload::from_bytes(bytes.clone()), options).await {
            Ok(_) => return Ok(PutOutcome::Won),
            Err(error) if is_final(&error) => return Err(store_error(path, error)),
            // Said to exist: by another, by our own write whose answer was lost, or by a conflict
            // that stored nothing.
            Err(error @ (Error::AlreadyExists { .. } | Error::Precondition { .. })) => {
                last = error.to_string();
            }
            Err(error) => {
                last = error.to_string();
                tokio::time::sleep(pause).await;
            }
        }
        match read(store, path).await {
            Ok(found) if found == bytes => return Ok(PutOutcome::Won),
            Ok(found) => return Ok(PutOutcome::Lost(found)),
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause = pause.saturating_mul(2);
    }
    Err(CatalogError::UnknownOutcome { path: path.to_string(), attempts, last })
}

/// Reads a whole object.
pub async fn read(store: &dyn ObjectStore, path: &Path) -> Result<Bytes, CatalogError> {
    let object = store.get(path).await.map_err(|e| store_error(path, e))?;
    object.bytes().await.map_err(|e| store_error(path, e))
}

/// Founds the cluster in the bucket as `proposal`, or learns who has founded it before. Of any
/// number of founders at once all get the same answer.
pub async fn create_or_read_cluster(
    store: &dyn ObjectStore,
    proposal: &ClusterFile,
    retry: PutRetry,
) -> Result<ClusterFile, CatalogError> {
    let path = cluster_path();
    match put_once(store, &path, proposal.encode(), retry).await? {
        PutOutcome::Lost(found) => ClusterFile::decode(&found),
        // A store that says yes and keeps nothing must not found two clusters: what counts is what
        // is read.
        PutOutcome::Won => ClusterFile::decode(&read(store, &path).await?),
    }
}

/// The cluster of the bucket; `None` where it has none yet.
pub async fn read_cluster(store: &dyn ObjectStore) -> Result<Option<ClusterFile>, CatalogError> {
    match read(store, &cluster_path()).await {
        Ok(bytes) => ClusterFile::decode(&bytes).map(Some),
        Err(CatalogError::Store { source: Error::NotFound { .. }, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Checks at start that the store keeps what correctness rests on: of two creations one succeeds,
/// and reading and listing see it. `random` makes the name. A fault is `BadStore`: do not start.
pub async fn probe(store: &dyn ObjectStore, random: u128) -> Result<(), CatalogError> {
    let path = probe_path(random);
    let (first, second) = (Bytes::from_static(b"first"), Bytes::from_static(b"second"));
    let bad = |what: &str| CatalogError::BadStore { what: format!("{what}: path={path}") };
    let retry = PutRetry::default();
    if put_once(store, &path, first.clone(), retry).await? != PutOutcome::Won {
        return Err(bad("a fresh name is taken"));
    }
    if put_once(store, &path, second, retry).await? != PutOutcome::Lost(first.clone()) {
        return Err(bad("create-if-absent is ignored"));
    }
    if read(store, &path).await? != first {
        return Err(bad("a read does not see what was written"));
    }
    let folder = Path::from("probe");
    let listed: Vec<_> =
        store.list(Some(&folder)).try_collect().await.map_err(|e| store_error(&folder, e))?;
    if !listed.iter().any(|object| object.location == path) {
        return Err(bad("a list does not see what was written"));
    }
    store.delete(&path).await.map_err(|e| store_error(&path, e))
}

/// What no repetition heals, and what certainly stored nothing.
fn is_final(error: &Error) -> bool {
    matches!(
        error,
        Error::NotSupported { .. }
            | Error::NotImplemented { .. }
            | Error::PermissionDenied { .. }
            | Error::Unauthenticated { .. }
            | Error::InvalidPath { .. }
            // There is no such bucket.
            | Error::NotFound { .. }
    )
}

pub(crate) fn store_error(path: &Path, source: Error) -> CatalogError {
    CatalogError::Store { path: path.to_string(), source }
}

#[cfg(test)]
mod tests;
