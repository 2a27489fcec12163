//! crates/promql
