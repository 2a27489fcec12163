//! The block: one immutable Parquet file that holds the samples of a generation, or of several
//! merged (layout: docs/formats/block.md).
//!
//! - [`BlockWriter`] takes series in order and builds the file with its record.
//! - [`BlockReader`] opens a file from one range, and says which ranges a scan needs;
//!   [`RangeReader`] is who fetches them. Nothing is decoded before its hash has been compared.
//! - [`merge_blocks`] makes one block of several and proves that no sample was lost or invented.
//! - [`verify_block`] and [`inspect_block`] are what the command line tools print.
//!
//! The crate knows no object store, no cache, no catalog and no clock.

mod axes;
mod batch;
mod decode;
mod envelope;
pub mod error;
mod file;
mod group;
mod inspect;
pub mod io;
mod labels_scan;
mod merge;
mod order;
mod pages;
mod part;
mod prune;
mod reader;
mod rows;
mod scan;
mod schema;
mod select;
mod series;
mod symbols;
mod verify;
mod view;
mod writer;

pub use envelope::{FooterAt, locate_footer};
pub use error::{BlockError, ReadError};
pub use inspect::inspect_block;
pub use io::{LocalFile, MemoryObject, RangeReader};
pub use merge::{MergeInput, MergedSeries, merge_blocks};
pub use part::SeriesPart;
pub use reader::BlockReader;
pub use rows::{BlockRows, TenantSeries};
pub use scan::{GroupSeries, SeriesScan, SharedLabels};
pub use select::{ScanPlan, Selection};
pub use verify::{VerifyReport, verify_block};
pub use writer::{BlockOptions, BlockWriter, BuiltBlock};

/// The version of the block format that this build writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

#[cfg(test)]
mod tests;
