//! `Batched`: one question for all who ask at the same moment. Who asks while an answer is under way waits for the
//! next one: an answer is never older than the question.

use std::future::Future;

use pando_runtime::Tasks;
use tokio::sync::{mpsc, oneshot};

/// Callers that wait for one round; more wait for a place.
const CALLERS_MAX: usize = 4096;

/// Answers many callers at once.
pub(crate) struct Batched<T> {
    ask: mpsc::Sender<oneshot::Sender<T>>,
}

impl<T: Clone + Send + 'static> Batched<T> {
    /// Asks by `round`.
    pub(crate) fn new<F, R>(tasks: &Tasks, name: &'static str, round: F) -> Self
    where
        F: Fn() -> R + Send + 'static,
        R: Future<Output = T> + Send,
    {
        let (ask, mut asked) = mpsc::channel::<oneshot::Sender<T>>(CALLERS_MAX);
        tasks.spawn_until_stopped(name, async move {
            while let Some(first) = asked.recv().await {
                let mut callers = vec![first];
                while let Ok(caller) = asked.try_recv() {
                    callers.push(caller);
                }
                let answer = round().await;
                for caller in callers {
                    // Who no longer waits does not want to know.
                    let _ = caller.send(answer.clone());
                }
            }
        });
        Batched { ask }
    }

    /// The answer of a round that begins after this call; `None` where the task has ended.
    pub(crate) async fn ask(&self) -> Option<T> {
        let (caller, answer) = oneshot::channel();
        self.ask.send(caller).await.ok()?;
        answer.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn a_late_caller_gets_a_later_round() {
        let rounds = Arc::new(AtomicU64::new(0));
        let (started, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let tasks = Tasks::new();
        let batched = {
            let (rounds, started, gate) = (rounds.clone(), started.clone(), gate.clone());
            Arc::new(Batched::new(&tasks, "test", move || {
                let (rounds, started, gate) = (rounds.clone(), started.clone(), gate.clone());
                async move {
                    let round = rounds.fetch_add(1, Ordering::SeqCst) + 1;
                    started.add_permits(1);
                    gate.acquire().await.expect("open").forget();
                    round
                }
            }))
        };
        let first = batched.ask();
        let others = async {
            started.acquire().await.expect("open").forget();
            let late = (0..10).map(|_| batched.ask());
            let late = futures::future::join_all(late);
            gate.add_permits(2);
            late.await
        };
        let (first, others) = tokio::join!(first, others);
        assert_eq!(first, Some(1));
        assert_eq!(others, vec![Some(2); 10]);
        assert_eq!(rounds.load(Ordering::SeqCst), 2);
        tasks.shutdown(std::time::Duration::from_secs(1)).await;
    }
}
