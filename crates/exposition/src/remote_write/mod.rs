//! Prometheus remote write, 1.0 and 2.0: requests decoded for a receiver, encoded for tests and load.
//!
//! ```text
//! body -> snappy block (length checked first) -> protobuf -> flat vectors that borrow their strings
//! ```
//!
//! The decoder is written by hand: a request is many thousands of tiny messages, and what a receiver wants
//! are four vectors, not a tree. A request that is no protobuf, or larger than the limits, is refused as a
//! whole. A series that is wrong in itself is a [`SeriesProblem`] of that series, a histogram a
//! [`HistogramProblem`] of that histogram; Prometheus decides about them one by one, and so must the caller.

mod body;
mod encode;
mod error;
mod histogram;
mod request;
mod v1;
mod v2;
mod wire;

pub use body::{Body, Limits, Version};
pub use encode::{HistogramToWrite, SeriesToWrite, encode_v1, encode_v2};
pub use error::{HistogramProblem, RemoteWriteError, SeriesProblem};
pub use histogram::check as check_histogram;
pub use request::{
    FamilyMetadata, FloatSample, HistogramSample, MetadataRef, TimeSeries, WriteRequest,
};

/// `Content-Type` of a 1.0 request.
pub const CONTENT_TYPE_V1: &str = "application/x-protobuf";
/// `Content-Type` of a 2.0 request.
pub const CONTENT_TYPE_V2: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
/// `Content-Encoding` of both.
pub const CONTENT_ENCODING: &str = "snappy";
/// The header that names the version, `0.1.0` or `2.0.0`.
pub const VERSION_HEADER: &str = "X-Prometheus-Remote-Write-Version";

#[cfg(test)]
mod tests;
