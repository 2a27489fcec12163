//! Properties of the whole crate over random queries, data and bytes.
//!
//! Every case is made of one seed, so that a failure is run again with what it prints:
//!
//! ```text
//! PANDO_TEST_SEED=1234 cargo test -p pando-promql properties:: <the test's name>
//! ```
//!
//! `PANDO_TEST_LONG=1` runs many more cases, `PANDO_TEST_LONG=20` twenty times as many as that.
#![allow(
    clippy::print_stdout,
    reason = "tests say what they skip and how to run again what failed"
)]

mod agreement;
mod deep;
mod fuzz;
mod printing;
mod second_opinion;
