//! crates/consensus
