//! services/pando
fn main() {}
