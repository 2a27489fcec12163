//! crates/exposition
