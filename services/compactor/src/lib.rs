//! The compactor: leased work on blocks. It merges blocks into longer ones, leaves out what deletes
//! and retention take, and has the catalog replace the inputs by the output in one step.
//!
//! ```text
//! lease -> pin the catalog -> losses -> merge -> upload, read back, verify -> replace -> lease ...
//!            (a keeper renews the lease beside it, and ends the work when it is lost)
//! ```
//!
//! Any number of compactors may run. What they must not do twice is fenced by the catalog (INV-8);
//! what they leave behind when they die is an object that no catalog names. It does not plan: the
//! controllers do. It does not delete what it replaced: the controllers do, after a grace period.

mod commit;
mod compactor;
mod config;
mod error;
mod lease;
mod losses;
mod merge;
mod metrics;
mod work;

pub use compactor::Compactor;
pub use config::CompactorConfig;
pub use error::CompactError;
pub use metrics::CompactorMetrics;

#[cfg(test)]
mod tests;
