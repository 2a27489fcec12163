//! Random expressions, data and times of queries, all made of one seed: what the property tests of this crate and the
//! differential tests of whole clusters ask. Behind the feature `testing`; no part of a server.
#![allow(clippy::print_stdout, reason = "tests say how to run again what failed")]

mod chance;
pub mod data;
mod expressions;
mod faults;
mod order;
mod params;
mod parts;
mod seeds;

pub use chance::Chance;
#[cfg(test)]
pub(crate) use expressions::operations;
pub use expressions::{Expressions, FEATURES, SYNTAX};
pub use faults::FAULTS;
pub use order::is_ordered;
pub use params::params;
pub use parts::parts;
pub use seeds::{all_cases, each_seed, seeds};
