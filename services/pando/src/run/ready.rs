//! When a process is ready: once all of its roles are. After that it stays so until it is told to end.

use std::sync::Arc;
use std::time::Duration;

use pando_runtime::{Lifecycle, Phase, Tasks};

const PAUSE: Duration = Duration::from_millis(50);

/// A named condition of readiness.
pub(crate) type Condition = (&'static str, Arc<dyn Fn() -> bool + Send + Sync>);

/// Makes the process ready when all `conditions` hold.
pub(crate) fn when(conditions: Vec<Condition>, lifecycle: Lifecycle, tasks: &Tasks) {
    tasks.spawn_until_stopped("readiness", async move {
        let mut rounds = 0u32;
        loop {
            let open: Vec<&str> =
                conditions.iter().filter(|(_, holds)| !holds()).map(|(name, _)| *name).collect();
            if open.is_empty() {
                break;
            }
            rounds += 1;
            if rounds.is_multiple_of(200) {
                tracing::info!(waiting_for = ?open, "not ready yet");
            }
            tokio::time::sleep(PAUSE).await;
        }
        tracing::info!("pando is ready");
        lifecycle.advance(Phase::Ready);
    });
}
