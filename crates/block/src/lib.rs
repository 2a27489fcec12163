//! crates/block
