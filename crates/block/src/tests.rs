//! Tests of the crate as its users see it: write, open, scan, merge, damage.

mod corruption;
mod golden;
mod matching;
mod merging;
mod round_trip;
mod support;
mod tenants;
