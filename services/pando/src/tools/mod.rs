//! The command line tools: they print to standard output and end.
#![allow(clippy::print_stdout, reason = "a command line tool talks to its user")]

pub(crate) mod admin;
pub(crate) mod block;
pub(crate) mod check;
pub(crate) mod query;
