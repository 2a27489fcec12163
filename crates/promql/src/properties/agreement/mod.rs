//! The distributed plan, the plain plan and the unoptimised plan agree.
//!
//! ```text
//! unoptimised   raw samples are read, everything runs in one engine
//! plain         what can be pushed down is, to one source in the same process
//! distributed   the same, to executors that have parts of the series, over the wire
//! ```

mod cluster;
mod compare;
mod plans;
mod regressions;

pub(crate) use cluster::Whole;
