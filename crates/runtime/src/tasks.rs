//! `Tasks`: every task has an owner, a name and an end. One that panics is named in the log; one that the process
//! cannot do without ends the process ([`Tasks::failed`]).

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks and threads of one owner. Cloning shares them.
#[derive(Clone, Default)]
pub struct Tasks {
    token: CancellationToken,
    tracker: TaskTracker,
    names: Arc<Mutex<BTreeMap<u64, &'static str>>>,
    next: Arc<std::sync::atomic::AtomicU64>,
    /// Why the process cannot go on; shared with the owners above and below.
    failure: Failure,
}

type Failure = Arc<watch::Sender<Option<String>>>;

impl Tasks {
    /// An owner without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another owner, whose tasks end on their own; what fails them fails this one's process, too.
    pub fn child(&self) -> Self {
        Tasks { failure: self.failure.clone(), ..Self::default() }
    }

    /// Says why the process cannot go on. The first reason counts.
    pub fn fail(&self, reason: String) {
        fail(&self.failure, reason);
    }

    /// Why the process cannot go on, where that is so.
    pub fn failure(&self) -> Option<String> {
        self.failure.borrow().clone()
    }

    /// Waits until the process cannot go on, and returns why: it had better end then.
    pub async fn failed(&self) -> String {
        let mut failure = self.failure.subscribe();
        match failure.wait_for(Option::is_some).await.map(|reason| reason.clone()) {
            Ok(Some(reason)) => reason,
            _ => std::future::pending().await,
        }
    }

    /// Asks every task to end. Tasks watch it in their loops.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Whether the tasks have been asked to end.
    pub fn is_stopping(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Runs `future` until it ends by itself. It has to watch [`Tasks::token`] where it loops.
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        self.run(self.enter(name, false), future);
    }

    #[expect(clippy::disallowed_methods, reason = "this is the owner that everything else uses")]
    fn run(&self, entry: Entry, future: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(self.tracker.track_future(async move {
            let _entry = entry;
            future.await;
        }));
    }

    /// Runs `future` until it ends or the tasks are asked to end: for work that may stop at any await.
    pub fn spawn_until_stopped(
        &self,
        name: &'static str,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        let token = self.token.clone();
        self.spawn(name, async move {
            let _ = token.run_until_cancelled(future).await;
        });
    }

    /// [`Tasks::spawn_until_stopped`] for work that the process cannot do without: its panic fails the process.
    pub fn spawn_vital(
        &self,
        name: &'static str,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        let token = self.token.clone();
        self.run(self.enter(name, true), async move {
            let _ = token.run_until_cancelled(future).await;
        });
    }

    /// Runs `work`, which may block, on a thread of its own. Its panic fails the process: threads are for work that
    /// others wait for.
    pub fn spawn_thread(&self, name: &'static str, work: impl FnOnce() + Send + 'static) {
        let entry = self.enter(name, true);
        let tracked = self.tracker.token();
        let spawned = std::thread::Builder::new().name(name.to_string()).spawn(move || {
            let _held = (entry, tracked);
            work();
        });
        if let Err(error) = spawned {
            self.fail(format!("thread cannot be started: name={name:?}: {error}"));
        }
    }

    /// Asks all tasks to end and waits at most `grace`; returns the names of those that still run.
    pub async fn shutdown(&self, grace: Duration) -> Vec<&'static str> {
        self.token.cancel();
        self.tracker.close();
        let _ = tokio::time::timeout(grace, self.tracker.wait()).await;
        self.names.lock().values().copied().collect()
    }

    fn enter(&self, name: &'static str, vital: bool) -> Entry {
        let id = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.names.lock().insert(id, name);
        let failure = vital.then(|| self.failure.clone());
        Entry { id, name, names: self.names.clone(), failure }
    }
}

fn fail(failure: &Failure, reason: String) {
    failure.send_if_modified(|known| {
        let first = known.is_none();
        if first {
            tracing::error!(reason, "the process cannot go on");
            *known = Some(reason);
        }
        first
    });
}

/// A running task's line in the owner's list.
struct Entry {
    id: u64,
    name: &'static str,
    names: Arc<Mutex<BTreeMap<u64, &'static str>>>,
    /// Of a task that the process cannot do without.
    failure: Option<Failure>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.names.lock().remove(&self.id);
        // What a task owns is dropped while its panic unwinds; the panic's own words are on stderr.
        if std::thread::panicking() {
            let name = self.name;
            tracing::error!(name, "task has ended with a fault of its own");
            if let Some(failure) = &self.failure {
                fail(failure, format!("a task has ended with a fault of its own: name={name:?}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_the_laggards() {
        let tasks = Tasks::new();
        tasks.spawn_until_stopped("polite", std::future::pending());
        tasks.spawn("stubborn", std::future::pending());
        assert_eq!(tasks.shutdown(Duration::from_millis(50)).await, ["stubborn"]);
    }

    #[tokio::test]
    async fn a_panic_is_remembered_where_the_task_is_vital() {
        let tasks = Tasks::new();
        let panicking = |what: &'static str| async move { panic!("{what}") };
        tasks.spawn("any", panicking("by intent: any"));
        let shard = tasks.child();
        assert_eq!(tasks.shutdown(Duration::from_secs(20)).await, [] as [&str; 0]);
        assert_eq!(shard.failure(), None);
        assert!(!shard.is_stopping(), "its tasks end on their own");

        shard.spawn_vital("committer", panicking("by intent: vital"));
        assert!(tasks.failed().await.contains("committer"));
        tasks.fail("another reason".to_string());
        assert!(tasks.failed().await.contains("committer"), "the first reason counts");
    }

    #[tokio::test]
    async fn a_thread_is_vital() {
        let tasks = Tasks::new();
        tasks.spawn_thread("raft log", || panic!("by intent"));
        assert!(tasks.failed().await.contains("raft log"));
        assert_eq!(tasks.shutdown(Duration::from_secs(20)).await, [] as [&str; 0]);
    }
}
