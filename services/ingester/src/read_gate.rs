//! `ReadGate`: one confirmation of the leader for all reads of a moment.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;

type Round<E> = Shared<BoxFuture<'static, Result<(), E>>>;

/// Confirms reads in rounds: whoever comes while one is under way waits for the next one, together with all
/// others that came meanwhile. A round that began before a read came says nothing about it.
pub(crate) struct ReadGate<E: Clone> {
    confirm: Arc<dyn Fn() -> BoxFuture<'static, Result<(), E>> + Send + Sync>,
    shared: Arc<Rounds<E>>,
}

struct Rounds<E: Clone> {
    /// The round that has not begun yet.
    next: Mutex<Option<Round<E>>>,
    /// Held by the round that is under way.
    running: Arc<tokio::sync::Mutex<()>>,
}

impl<E: Clone + Send + Sync + 'static> ReadGate<E> {
    /// A gate whose rounds are calls of `confirm`.
    pub(crate) fn new(
        confirm: impl Fn() -> BoxFuture<'static, Result<(), E>> + Send + Sync + 'static,
    ) -> Self {
        let shared = Rounds { next: Mutex::new(None), running: Arc::default() };
        ReadGate { confirm: Arc::new(confirm), shared: Arc::new(shared) }
    }

    /// Waits for a round that begins after this call.
    pub(crate) async fn pass(&self) -> Result<(), E> {
        let round = {
            let mut next = self.shared.next.lock();
            match &*next {
                Some(round) => round.clone(),
                None => next.insert(self.round()).clone(),
            }
        };
        round.await
    }

    fn round(&self) -> Round<E> {
        let (confirm, shared) = (self.confirm.clone(), self.shared.clone());
        async move {
            let _running = shared.running.clone().lock_owned().await;
            // From here on the round has begun: later reads need another one.
            shared.next.lock().take();
            confirm().await
        }
        .boxed()
        .shared()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn reads_that_come_during_a_round_share_the_next_one() {
        let (rounds, permits) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let gate: Arc<ReadGate<()>> = Arc::new(ReadGate::new({
            let (rounds, permits) = (rounds.clone(), permits.clone());
            move || {
                let (rounds, permits) = (rounds.clone(), permits.clone());
                async move {
                    rounds.fetch_add(1, Ordering::SeqCst);
                    permits.acquire().await.expect("never closed").forget();
                    Ok(())
                }
                .boxed()
            }
        }));
        let mut first = Box::pin(gate.pass());
        assert!(futures::poll!(&mut first).is_pending());
        let mut later: Vec<_> = (0..5).map(|_| Box::pin(gate.pass())).collect();
        for read in &mut later {
            assert!(futures::poll!(read).is_pending());
        }
        assert_eq!(rounds.load(Ordering::SeqCst), 1, "the second round waits for the first");
        permits.add_permits(1);
        assert_eq!(first.await, Ok(()));
        permits.add_permits(1);
        for read in later {
            assert_eq!(read.await, Ok(()));
        }
        assert_eq!(rounds.load(Ordering::SeqCst), 2);
    }
}
