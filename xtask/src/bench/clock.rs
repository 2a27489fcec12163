//! Time of the bench: wall time for samples, patience for conditions. No figure is a duration.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};

/// Wall time, ms.
#[expect(clippy::disallowed_methods, reason = "samples of now need the time of now")]
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Asks every 50 ms until `condition` answers `Some`; fails with `what` and the last trouble when `patience`
/// ends.
#[expect(clippy::disallowed_methods, reason = "the bench measures its own patience")]
pub(crate) fn eventually<T>(
    what: &str,
    patience: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let begun = Instant::now();
    let mut trouble = String::from("not yet");
    while begun.elapsed() < patience {
        match condition() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => {}
            Err(error) => trouble = format!("{error:#}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("{what} did not come true within {patience:?}: {trouble}")
}
