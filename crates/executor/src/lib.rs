//! crates/executor
