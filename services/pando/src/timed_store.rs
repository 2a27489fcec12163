//! `TimedStore`: an object store whose requests end in time: a fixed time for an answer to begin, and for
//! uploads more for each MiB. One time for whole requests would either cut large uploads off or let a dead
//! connection hold small ones for minutes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// How long requests may take, retries included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreTimes {
    /// Until the answer, and between two pieces of it.
    pub(crate) answer: Duration,
    /// As much more for each MiB that is uploaded: 1 MiB/s is the slowest store that is good enough.
    pub(crate) upload_per_mib: Duration,
}

impl Default for StoreTimes {
    fn default() -> Self {
        StoreTimes { answer: Duration::from_secs(30), upload_per_mib: Duration::from_secs(1) }
    }
}

impl StoreTimes {
    fn upload(self, bytes: usize) -> Duration {
        let mib = u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX);
        self.answer.saturating_add(self.upload_per_mib.saturating_mul(mib))
    }
}

/// A store whose requests end in time, and which goes by the name that people know it by.
#[derive(Debug)]
pub(crate) struct TimedStore {
    below: Arc<dyn ObjectStore>,
    name: String,
    times: StoreTimes,
}

impl TimedStore {
    pub(crate) fn new(below: Arc<dyn ObjectStore>, name: &str, times: StoreTimes) -> Self {
        TimedStore { below, name: name.to_string(), times }
    }

    async fn answer<T>(&self, what: &Path, request: impl Future<Output = Result<T>>) -> Result<T> {
        within(self.times.answer, what.as_ref(), request).await
    }
}

impl std::fmt::Display for TimedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

async fn within<T>(
    time: Duration,
    what: &str,
    request: impl Future<Output = Result<T>>,
) -> Result<T> {
    let answer = tokio::time::timeout(time, request).await;
    answer.unwrap_or_else(|_| Err(late(time, what))).map_err(explained)
}

/// The error with all of its causes in words: what others print of it ends before the one that says why (a refused
/// connection, an unknown host, a certificate).
fn explained(error: Error) -> Error {
    let Error::Generic { store, source } = error else { return error };
    let mut text = source.to_string();
    let mut cause = source.source();
    while let Some(next) = cause {
        let words = next.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = next.source();
    }
    Error::Generic { store, source: text.into() }
}

fn late(time: Duration, what: &str) -> Error {
    let seconds = time.as_secs_f64();
    let source = format!("object store did not answer in time: path={what} seconds={seconds}");
    Error::Generic { store: "timed", source: source.into() }
}

/// `stream`, which ends with an error where the next item takes longer than `time`.
fn paced<T: Send + 'static>(
    stream: BoxStream<'static, Result<T>>,
    time: Duration,
    what: String,
) -> BoxStream<'static, Result<T>> {
    let next = move |rest: Option<BoxStream<'static, Result<T>>>| {
        let what = what.clone();
        async move {
            let mut rest = rest?;
            match tokio::time::timeout(time, rest.next()).await {
                Ok(item) => Some((item?.map_err(explained), Some(rest))),
                Err(_) => Some((Err(late(time, &what)), None)),
            }
        }
    };
    stream::unfold(Some(stream), next).boxed()
}

#[async_trait]
impl ObjectStore for TimedStore {
    async fn put_opts(&self, at: &Path, payload: PutPayload, how: PutOptions) -> Result<PutResult> {
        let time = self.times.upload(payload.content_length());
        within(time, at.as_ref(), self.below.put_opts(at, payload, how)).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.answer(at, self.below.put_multipart_opts(at, how)).await
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        let got = self.answer(at, self.below.get_opts(at, how)).await?;
        let payload = match got.payload {
            GetResultPayload::Stream(body) => {
                GetResultPayload::Stream(paced(body, self.times.answer, at.to_string()))
            }
            file @ GetResultPayload::File(..) => file,
        };
        Ok(GetResult { payload, ..got })
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        paced(self.below.delete_stream(locations), self.times.answer, "(deletes)".to_string())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let what = prefix.map(ToString::to_string).unwrap_or_default();
        paced(self.below.list(prefix), self.times.answer, what)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let what = prefix.cloned().unwrap_or_default();
        self.answer(&what, self.below.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.answer(from, self.below.copy_opts(from, to, how)).await
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use object_store::ObjectStoreExt as _;
    use object_store::memory::InMemory;
    use object_store::throttle::{ThrottleConfig, ThrottledStore};

    use super::*;

    /// A store that takes an hour for each request.
    fn stuck() -> TimedStore {
        let wait = Duration::from_secs(3_600);
        let config = ThrottleConfig {
            wait_put_per_call: wait,
            wait_get_per_call: wait,
            wait_delete_per_call: wait,
            wait_list_per_call: wait,
            wait_list_with_delimiter_per_call: wait,
            ..ThrottleConfig::default()
        };
        let below = Arc::new(ThrottledStore::new(InMemory::new(), config));
        let moment = Duration::from_millis(5);
        TimedStore::new(below, "stuck", StoreTimes { answer: moment, upload_per_mib: moment })
    }

    #[test]
    fn large_uploads_may_take_longer_than_small_ones() {
        let times = StoreTimes::default();
        assert_eq!(times.upload(0), Duration::from_secs(30));
        assert_eq!(times.upload(1), Duration::from_secs(31));
        assert_eq!(times.upload(512 << 20), Duration::from_secs(30 + 512));
    }

    #[tokio::test]
    async fn requests_that_are_not_answered_end() {
        let (store, path) = (stuck(), Path::from("a"));
        let put = store.put(&path, Bytes::from_static(b"x").into()).await.expect_err("too late");
        assert!(put.to_string().contains("did not answer in time: path=a seconds=0.01"), "{put}");
        let get = store.get(&path).await.expect_err("too late").to_string();
        assert!(get.contains("did not answer in time: path=a seconds=0.005"), "{get}");
        assert!(store.delete(&path).await.is_err());
        assert!(store.list_with_delimiter(None).await.is_err());
        let listed: Vec<_> = store.list(None).collect().await;
        assert!(listed.len() == 1 && listed[0].is_err());
    }

    #[tokio::test]
    async fn what_is_in_time_is_passed_on() {
        let store = TimedStore::new(Arc::new(InMemory::new()), "s3://b/p", StoreTimes::default());
        assert_eq!(store.to_string(), "s3://b/p");
        let path = Path::from("a");
        store.put(&path, Bytes::from_static(b"xyz").into()).await.expect("stored");
        let whole = store.get(&path).await.expect("found").bytes().await.expect("whole");
        assert_eq!(whole, Bytes::from_static(b"xyz"));
        assert_eq!(store.get_range(&path, 1..2).await.expect("found"), Bytes::from_static(b"y"));
        assert_eq!(store.list(None).count().await, 1);
        store.delete(&path).await.expect("deleted");
        assert!(matches!(store.get(&path).await, Err(Error::NotFound { .. })));
    }

    #[tokio::test]
    async fn an_answer_that_stops_in_the_middle_ends() {
        let second = stream::pending::<Result<Bytes>>();
        let body = stream::iter([Ok(Bytes::from_static(b"x"))]).chain(second).boxed();
        let items: Vec<_> = paced(body, Duration::from_millis(5), "a".to_string()).collect().await;
        assert_eq!(items.len(), 2);
        assert!(items[0].is_ok() && items[1].is_err());
    }

    #[test]
    fn an_error_says_its_cause_once() {
        let refused = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "refused");
        let middle =
            anyhow::Error::new(refused).context("tcp connect").context("error: tcp connect");
        let below = Error::Generic { store: "S3", source: middle.into() };
        let text = explained(below).to_string();
        assert_eq!(text, "Generic S3 error: error: tcp connect: refused");
        let missing = Error::NotFound { path: "a".into(), source: "gone".into() };
        assert!(matches!(explained(missing), Error::NotFound { .. }));
    }
}
