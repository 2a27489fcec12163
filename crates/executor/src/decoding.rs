//! `Decoding`: where requests are read.

use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::sync::Semaphore;

use crate::error::ExecuteError;
use crate::lanes::blocking;

/// Reads requests on threads that serve no socket, as many at once as there are cores: the patterns of one may take a
/// second. Each service has its own turns.
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
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ExecuteError> + Send + 'static,
    ) -> Result<T, ExecuteError> {
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

    #[tokio::test]
    async fn work_that_nobody_waits_for_has_its_turn_until_it_ends() {
        let (decoding, mut ends) = (Decoding::new(), Vec::new());
        for _ in 0..available_parallelism().map_or(1, usize::from) {
            let (end, ended) = sync_channel::<()>(1);
            let work = decoding.run(move || Ok(ended.recv().is_ok()));
            assert!(timeout(MOMENT, work).await.is_err(), "it runs");
            ends.push(end);
        }
        assert!(timeout(MOMENT, decoding.run(|| Ok(()))).await.is_err(), "no turn is free");
        drop(ends.pop());
        decoding.run(|| Ok(())).await.expect("a turn");
    }
}
