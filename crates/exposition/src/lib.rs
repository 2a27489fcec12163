//! What the outside world sends: scrape bodies (Prometheus text, OpenMetrics) and remote write requests.
//!
//! Bytes in, values out. Nothing here does I/O, knows of targets or tenants, or decides what happens to a
//! sample. Two paths are hot and shaped for it: a steady scrape goes through [`LineCache`], which compares
//! each line with the one before and parses only what changed; a write request is decoded into flat
//! vectors that borrow their strings from the decompressed body.

pub mod line_cache;
pub mod remote_write;

mod accept;
mod created;
mod error;
mod float;
mod format;
mod lexer;
mod parser;
mod quote;
mod sample;

pub use accept::{EscapingScheme, ScrapeProtocol, accept_header};
pub use error::{ContentTypeError, LabelsProblem, ParseError};
pub use format::ScrapeFormat;
pub use line_cache::{Known, Line, LineCache, LineCacheOptions, Outcome, Scrape};
pub use parser::{CreatedLines, Event, Parser};
pub use sample::{ExemplarRef, SampleRef};
