//! crates/codec
