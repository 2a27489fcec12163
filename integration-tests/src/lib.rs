//! The harness of the whole-cluster tests: real processes on loopback, each with ports and directories of its
//! own, ended by process id when their test ends.
#![allow(clippy::print_stdout, reason = "tests say what they skip")]

pub mod answers;
pub mod catalog;
pub mod cluster;
pub mod door;
pub mod exporter;
pub mod http;
pub mod load;
pub mod peers;
pub mod pods;
pub mod process;
pub mod writer;

use std::future::Future;
use std::time::Duration;

use anyhow::{Result, bail};

/// How long a condition may take to come true on a busy machine with two cores.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Asks until `condition` answers `Some`, and fails with `what` and its last trouble when patience ends.
///
/// # Errors
/// Patience ended.
#[expect(clippy::disallowed_methods, reason = "the harness measures its own patience")]
pub async fn eventually<T, F, Fut>(what: &str, mut condition: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Option<T>>>,
{
    let begun = std::time::Instant::now();
    let mut trouble = String::from("not yet");
    while begun.elapsed() < PATIENCE {
        match condition().await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => {}
            Err(error) => trouble = format!("{error:#}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("{what} did not come true within {PATIENCE:?}: {trouble}")
}

/// Whether the long versions of tests are asked for.
pub fn long() -> bool {
    std::env::var_os("PANDO_TEST_LONG").is_some()
}

/// Wall time, ms.
#[expect(clippy::disallowed_methods, reason = "tests write samples of now")]
pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| d.as_millis() as i64)
}
