//! `Decoding`: where requests and texts are read.

use std::sync::Arc;
use std::thread::available_parallelism;

use pando_promql::QueryError;
use tokio::sync::Semaphore;

use crate::lanes::blocking;

/// Reads requests and texts on threads that serve no socket, as many at once as there are cores: the patterns of one may
/// take a second. Each service has its own turns.
#[derive(Debug)]
pub struct Decoding(Arc<Semaphore>);

impl Decoding {
    /// With a turn for each core.
    pub fn new() -> Self {
        Decoding(Arc::new(Semaphore::new(available_parallelism().map_or(1, usize::from))))
    }

    /// Does `work` in its turn. Who leaves gives the turn back once the work has ended, and not before.
    ///
    /// # Errors
    /// Those of `work`, or that it panicked.
    pub async fn run<T: Send + 'static, E: From<QueryError> + Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        // Nobody closes it.
        let turn = self.0.clone().acquire_owned().await.ok();
        blocking(move || {
            let _turn = turn;
            work()
        })
        .await
    }
}

impl Default for Decoding {
    fn default() -> Self {
        Decoding::new()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const MOMENT: Duration = Duration::from_millis(50);
    const PATIENCE: Duration = Duration::from_secs(60);

    fn nothing() -> Result<(), QueryError> {
        Ok(())
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_has_its_turn_until_it_ends() {
        let (decoding, mut ends) = (Decoding::new(), Vec::new());
        for _ in 0..available_parallelism().map_or(1, usize::from) {
            let (end, ended) = sync_channel::<()>(1);
            let work = decoding.run(move || Ok::<_, QueryError>(ended.recv().is_ok()));
            assert!(timeout(MOMENT, work).await.is_err(), "it runs");
            ends.push(end);
        }
        assert!(timeout(MOMENT, decoding.run(nothing)).await.is_err(), "no turn is free");
        drop(ends.pop());
        let turn = timeout(PATIENCE, decoding.run(nothing)).await;
        assert_eq!(turn, Ok(Ok(())));
    }
}
