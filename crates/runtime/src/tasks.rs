//! `Tasks`: every task has an owner, a name and an end.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks and threads of one owner. Cloning shares them.
#[derive(Clone, Default)]
pub struct Tasks {
    token: CancellationToken,
    tracker: TaskTracker,
    names: Arc<Mutex<BTreeMap<u64, &'static str>>>,
    next: Arc<std::sync::atomic::AtomicU64>,
}

impl Tasks {
    /// An owner without tasks.
    pub fn new() -> Self {
        Self::default()
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
    #[expect(clippy::disallowed_methods, reason = "this is the owner that everything else uses")]
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let entry = self.enter(name);
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

    /// Runs `work`, which may block, on a thread of its own.
    pub fn spawn_thread(&self, name: &'static str, work: impl FnOnce() + Send + 'static) {
        let entry = self.enter(name);
        let tracked = self.tracker.token();
        let spawned = std::thread::Builder::new().name(name.to_string()).spawn(move || {
            let _held = (entry, tracked);
            work();
        });
        if let Err(error) = spawned {
            tracing::error!(name, %error, "thread cannot be started");
        }
    }

    /// Asks all tasks to end and waits at most `grace`; returns the names of those that still run.
    pub async fn shutdown(&self, grace: Duration) -> Vec<&'static str> {
        self.token.cancel();
        self.tracker.close();
        let _ = tokio::time::timeout(grace, self.tracker.wait()).await;
        self.names.lock().values().copied().collect()
    }

    fn enter(&self, name: &'static str) -> Entry {
        let id = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.names.lock().insert(id, name);
        Entry { id, names: self.names.clone() }
    }
}

/// A running task's line in the owner's list.
struct Entry {
    id: u64,
    names: Arc<Mutex<BTreeMap<u64, &'static str>>>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.names.lock().remove(&self.id);
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
}
