//! crates/cluster
