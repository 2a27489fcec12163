//! crates/head
