//! Controllers with a real Raft group, in one process.

pub(crate) mod fixture;
mod housekeeping;
mod leadership;
mod sealing;
pub(crate) mod store;
