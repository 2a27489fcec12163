//! Snapshots of the catalog in the bucket: what a rebuilt catalog starts from, and the proof that a
//! replaced object is named no more.

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pando_model::{CatalogVersion, ErrorKind};

use crate::bucket::{PutOutcome, PutRetry, put_once, read, store_error};
use crate::catalog::Catalog;
use crate::error::CatalogError;
use crate::layout::{SNAPSHOTS_PREFIX, parse_snapshot_path, snapshot_path};

/// The newest snapshot that could be read.
#[derive(Debug, Default)]
pub struct Newest {
    /// The catalog; `None` where the bucket has no readable snapshot.
    pub catalog: Option<Catalog>,
    /// Newer snapshots that are damaged: worth an alarm.
    pub problems: Vec<CatalogError>,
}

/// Writes the catalog as it is and reads it back; answers with its version. Objects that this
/// version does not name may be deleted from here on, after their grace.
pub async fn write(
    store: &dyn ObjectStore,
    catalog: &Catalog,
    retry: PutRetry,
) -> Result<CatalogVersion, CatalogError> {
    let version = catalog.version();
    let path = snapshot_path(version);
    let bytes = catalog.snapshot();
    let found = match put_once(store, &path, bytes.clone(), retry).await? {
        PutOutcome::Won => read(store, &path).await?,
        PutOutcome::Lost(found) => found,
    };
    // Another build may write the same version in other bytes: what counts is that it reads as this
    // version.
    if found != bytes {
        decode(version, &found)?;
    }
    Ok(version)
}

/// Versions of the snapshots in the bucket, oldest first.
pub async fn list(store: &dyn ObjectStore) -> Result<Vec<CatalogVersion>, CatalogError> {
    let folder = Path::from(SNAPSHOTS_PREFIX);
    let objects: Vec<_> =
        store.list(Some(&folder)).try_collect().await.map_err(|e| store_error(&folder, e))?;
    let mut versions: Vec<CatalogVersion> =
        objects.iter().filter_map(|object| parse_snapshot_path(&object.location)).collect();
    versions.sort_unstable();
    Ok(versions)
}

/// Reads the newest snapshot that is whole. One of a later format is an error: going back behind it
/// would lose what it says.
pub async fn newest(store: &dyn ObjectStore) -> Result<Newest, CatalogError> {
    let mut newest = Newest::default();
    for version in list(store).await?.into_iter().rev() {
        let bytes = read(store, &snapshot_path(version)).await?;
        match decode(version, &bytes) {
            Ok(catalog) => {
                newest.catalog = Some(catalog);
                break;
            }
            Err(error) if error.kind() == ErrorKind::Corrupt => newest.problems.push(error),
            Err(error) => return Err(error),
        }
    }
    Ok(newest)
}

/// Deletes all but the newest `keep` snapshots (at least 1 stays); answers with the number of
/// deleted ones.
pub async fn prune(store: &dyn ObjectStore, keep: usize) -> Result<usize, CatalogError> {
    let versions = list(store).await?;
    let old = &versions[..versions.len().saturating_sub(keep.max(1))];
    for version in old {
        let path = snapshot_path(*version);
        match store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(store_error(&path, error)),
        }
    }
    Ok(old.len())
}

fn decode(version: CatalogVersion, bytes: &[u8]) -> Result<Catalog, CatalogError> {
    let catalog = Catalog::restore(bytes)?;
    if catalog.version() != version {
        let inside = catalog.version();
        let detail = format!("another version inside: name={version} inside={inside}");
        return Err(CatalogError::corrupt("snapshot", detail));
    }
    Ok(catalog)
}

#[cfg(test)]
mod tests {
    use object_store::PutPayload;
    use object_store::memory::InMemory;

    use super::*;
    use crate::testdata::Bench;

    #[tokio::test]
    async fn the_newest_whole_snapshot_is_found() {
        let store = InMemory::new();
        let retry = PutRetry::default();
        assert!(newest(&store).await.expect("empty").catalog.is_none());
        let mut bench = Bench::with_tenant();
        let old = write(&store, &bench.catalog, retry).await.expect("written");
        bench.commit(1, 1, 1, "a");
        let new = write(&store, &bench.catalog, retry).await.expect("written");
        assert_eq!(write(&store, &bench.catalog, retry).await.expect("a repeat"), new);
        let found = newest(&store).await.expect("readable");
        assert_eq!(found.catalog.expect("there").snapshot(), bench.catalog.snapshot());

        let path = snapshot_path(new);
        store.put(&path, PutPayload::from_static(b"PCAT damaged")).await.expect("put");
        let found = newest(&store).await.expect("readable");
        assert_eq!(found.problems.len(), 1);
        assert_eq!(found.catalog.expect("there").version(), old);
        assert_eq!(prune(&store, 1).await.expect("pruned"), 1);
        assert_eq!(list(&store).await.expect("listed"), [new]);
    }
}
