//! crates/catalog
