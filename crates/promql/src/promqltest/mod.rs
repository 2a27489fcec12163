//! Runs Prometheus' PromQL test scripts (`load`, `eval`, `expect`) against a [`Subject`]: the engine in this process
//! over samples in memory ([`InProcess`]), or whatever else takes samples and answers.
//!
//! Every eval runs as it is written and, where that must not change the answer, also as the middle step of a
//! range query and with `@` on every selector at other evaluation times; exactly where Prometheus' runner does so.

mod compare;
mod hints;
mod histogram;
mod in_process;
mod nhcb;
mod points;
mod runner;
mod script;
mod shown;
mod storage;
mod subject;
mod variants;

pub use in_process::{Engine, InProcess};
pub use runner::{Failure, Report};
pub use script::{Script, ScriptError};
pub use shown::{ShownBucket, ShownHistogram};
pub use storage::MemorySource;
pub use subject::{
    Answer, AnswerValue, EvalTimes, LoadedSample, LoadedSeries, Rows, Seen, Subject, SubjectError,
};

#[cfg(test)]
mod tests;
