//! Runs Prometheus' PromQL test scripts (`load`, `eval`, `expect`) in process, over samples in memory.
//!
//! Every eval runs as it is written and, where that must not change the answer, also as the middle step of a
//! range query and with `@` on every selector at other evaluation times; exactly where Prometheus' runner does so.

mod compare;
mod hints;
mod histogram;
mod nhcb;
mod points;
mod runner;
mod script;
mod storage;
mod variants;

pub use runner::{Engine, Failure, Report, run_script, run_script_with};
pub use storage::MemorySource;

#[cfg(test)]
mod tests;
