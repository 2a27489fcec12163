//! crates/shipper
