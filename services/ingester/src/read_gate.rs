//! `ReadGate`: one confirmation of the leader for all reads of a moment.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;

/// The outcome of a round: that it failed, in words.
type Outcome = Result<(), String>;
type Round = Shared<BoxFuture<'static, Outcome>>;

/// Confirms reads in rounds: whoever comes while one is under way waits for the next one, together
/// with all others that came meanwhile. A round that began before a read came says nothing about
/// it.
pub(crate) struct ReadGate {
    confirm: Arc<dyn Fn() -> BoxFuture<'static, Outcome> + Send + Sync>,
    rounds: Arc<Rounds>,
}

#[derive(Default)]
struct Rounds {
    /// The round that has not begun yet.
    next: Mutex<Option<Round>>,
    /// Held by the round that is under way.
    running: tokio::sync::Mutex<()>,
}

impl ReadGate {
    /// A gate whose rounds are calls of `confirm`.
    pub(crate) fn new(
        confirm: impl Fn() -> BoxFuture<'static, Outcome> + Send + Sync + 'static,
    ) -> Self {
        ReadGate { confirm: Arc::new(confirm), rounds: Arc::default() }
    }

    /// Waits for a round that begins after this call.
    pub(crate) async fn pass(&self) -> Outcome {
        let round = {
            let mut next = self.rounds.next.lock();
            match &*next {
                Some(round) => round.clone(),
                None => next.insert(self.round()).clone(),
            }
        };
        round.await
    }

    fn round(&self) -> Round {
        let (confirm, rounds) = (self.confirm.clone(), self.rounds.clone());
        let round = async move {
            let _running = rounds.running.lock().await;
            // From here on the round has begun: later reads need another one.
            rounds.next.lock().take();
            confirm().await
        };
        round.boxed().shared()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn reads_that_come_during_a_round_share_the_next_one() {
        let (count, permits) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let gate = ReadGate::new({
            let (count, permits) = (count.clone(), permits.clone());
            move || {
                let (count, permits) = (count.clone(), permits.clone());
                async move {
                    count.fetch_add(1, Ordering::SeqCst);
                    permits.acquire().await.expect("never closed").forget();
                    Ok(())
                }
                .boxed()
            }
        });
        let mut first = Box::pin(gate.pass());
        assert!(futures::poll!(&mut first).is_pending());
        let mut later: Vec<_> = (0..5).map(|_| Box::pin(gate.pass())).collect();
        for read in &mut later {
            assert!(futures::poll!(read).is_pending());
        }
        assert_eq!(count.load(Ordering::SeqCst), 1, "the second round waits for the first");
        permits.add_permits(1);
        assert_eq!(first.await, Ok(()));
        permits.add_permits(1);
        for read in later {
            assert_eq!(read.await, Ok(()));
        }
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }
}
