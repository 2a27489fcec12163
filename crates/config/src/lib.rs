//! crates/config
