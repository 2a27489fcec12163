//! The command line tools: they print to standard output and end.

pub(crate) mod admin;
pub(crate) mod block;
pub(crate) mod check;
mod explain;
mod output;
pub(crate) mod promql_test;
pub(crate) mod query;
