//! The bucket under stores that are honest, and under one that is not.

use std::fmt;
use std::sync::Mutex;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    PutMultipartOptions, PutResult, Result as StoreResult,
};
use pando_model::{ClusterId, ErrorKind, NodeId};

use super::*;
use crate::cluster_file::Voter;

const QUICK: PutRetry = PutRetry { attempts: 3, pause: Duration::ZERO };

/// What the next creation does.
#[derive(Clone, Copy, Debug)]
enum Lie {
    /// Stores, and says that it failed.
    FailedAfterStore,
    /// Stores, and says that the object was there.
    ExistsAfterStore,
    /// Stores nothing, and says that the object is there.
    ConflictWithoutStore,
    /// Stores nothing, and fails.
    Fails,
    /// Stores nothing, and says that it did.
    OkWithoutStore,
    /// Overwrites.
    IgnoresCreate,
}

/// A store that lies as told, then tells the truth.
#[derive(Debug)]
struct Liar {
    inner: InMemory,
    lies: Mutex<Vec<Lie>>,
}

impl Liar {
    fn new(lies: &[Lie]) -> Self {
        let lies = Mutex::new(lies.iter().rev().copied().collect());
        Liar { inner: InMemory::new(), lies }
    }
}

impl fmt::Display for Liar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("liar")
    }
}

fn generic() -> Error {
    Error::Generic { store: "liar", source: "timeout".into() }
}

fn exists(path: &Path) -> Error {
    Error::AlreadyExists { path: path.to_string(), source: "409".into() }
}

#[async_trait]
impl ObjectStore for Liar {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> StoreResult<PutResult> {
        let lie = self.lies.lock().expect("no panic inside").pop();
        let nothing = PutResult { e_tag: None, version: None, extensions: Default::default() };
        match lie {
            None => self.inner.put_opts(path, payload, options).await,
            Some(Lie::FailedAfterStore) => {
                self.inner.put_opts(path, payload, options).await?;
                Err(generic())
            }
            Some(Lie::ExistsAfterStore) => {
                self.inner.put_opts(path, payload, options).await?;
                Err(exists(path))
            }
            Some(Lie::ConflictWithoutStore) => Err(exists(path)),
            Some(Lie::Fails) => Err(generic()),
            Some(Lie::OkWithoutStore) => Ok(nothing),
            Some(Lie::IgnoresCreate) => {
                self.inner.put_opts(path, payload, PutOptions::from(PutMode::Overwrite)).await
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, StoreResult<Path>>,
    ) -> BoxStream<'static, StoreResult<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

async fn put(store: &dyn ObjectStore, bytes: &'static [u8]) -> Result<PutOutcome, CatalogError> {
    put_once(store, &Path::from("x"), Bytes::from_static(bytes), QUICK).await
}

#[tokio::test]
async fn the_first_write_wins_and_its_repeat_knows_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let local = LocalFileSystem::new_with_prefix(folder.path()).expect("a folder");
    for store in [&InMemory::new() as &dyn ObjectStore, &local] {
        assert_eq!(put(store, b"mine").await.expect("clear"), PutOutcome::Won);
        assert_eq!(put(store, b"mine").await.expect("clear"), PutOutcome::Won);
        let lost = PutOutcome::Lost(Bytes::from_static(b"mine"));
        assert_eq!(put(store, b"other").await.expect("clear"), lost);
        probe(store, 7).await.expect("an honest store");
        assert!(read(store, &probe_path(7)).await.is_err(), "the probe is removed");
    }
}

#[tokio::test]
async fn ambiguous_outcomes_are_resolved_by_reading_back() {
    for lie in [Lie::FailedAfterStore, Lie::ExistsAfterStore, Lie::ConflictWithoutStore, Lie::Fails]
    {
        let store = Liar::new(&[lie]);
        assert_eq!(put(&store, b"mine").await.expect("clear"), PutOutcome::Won, "{lie:?}");
        let found = read(&store, &Path::from("x")).await.expect("stored");
        assert_eq!(found, Bytes::from_static(b"mine"), "{lie:?}");
    }
}

#[tokio::test]
async fn what_stays_unknown_is_said_to_be() {
    let store = Liar::new(&[Lie::Fails; 3]);
    let error = put(&store, b"mine").await.expect_err("nothing is known");
    assert!(matches!(error, CatalogError::UnknownOutcome { attempts: 3, .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(put(&store, b"mine").await.expect("the store is back"), PutOutcome::Won);
}

#[tokio::test]
async fn a_store_that_cannot_be_trusted_is_found_out() {
    let store = Liar::new(&[Lie::OkWithoutStore]);
    assert!(probe(&store, 1).await.is_err(), "the second creation must not win");
    let store = Liar::new(&[Lie::IgnoresCreate, Lie::IgnoresCreate]);
    let error = probe(&store, 1).await.expect_err("create-if-absent is ignored");
    assert!(matches!(error, CatalogError::BadStore { .. }), "{error}");
}

fn file(cluster: u64) -> ClusterFile {
    let voters = vec![Voter { node: NodeId(cluster), address: format!("n{cluster}:1") }];
    ClusterFile { cluster: ClusterId(cluster), created_ms: 1, voters }
}

#[tokio::test]
async fn all_founders_get_the_same_cluster() {
    let store = InMemory::new();
    assert_eq!(read_cluster(&store).await.expect("readable"), None);
    let (a, b, c) = (file(1), file(2), file(3));
    let (a, b, c) = tokio::join!(
        create_or_read_cluster(&store, &a, QUICK),
        create_or_read_cluster(&store, &b, QUICK),
        create_or_read_cluster(&store, &c, QUICK),
    );
    let (a, b, c) = (a.expect("clear"), b.expect("clear"), c.expect("clear"));
    assert!(a == b && b == c);
    assert_eq!(read_cluster(&store).await.expect("readable"), Some(a));
    let liar = Liar::new(&[Lie::OkWithoutStore]);
    assert!(create_or_read_cluster(&liar, &file(1), QUICK).await.is_err());
}
