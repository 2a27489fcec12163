//! Arithmetic of native histograms: what PromQL does with them, one histogram at a time.
//!
//! ```text
//! Histogram --cells--> (bucket index, count)*      spans unrolled, sorted, each index once
//!     |                     |
//!     |                HistogramSum                addition with compensation, layouts reconciled
//!     |                     |                      (schema, zero bucket, custom bounds)
//!     |                HistogramMean               the same, divided; never overflows
//!     |
//!     +--bounds--> Bucket* --> quantile, fraction, variance, trim, text
//! ```
//!
//! Rules are those of Prometheus' `model/histogram` and `promql/quantile.go` as of 3.14. Histograms come from
//! users, so that nothing here trusts them: spans that overlap or overflow, counts without a span, NaN and
//! infinities, unknown schemas give some answer, in work and memory bounded by the number of buckets, and
//! never a panic. A schema other than [`CUSTOM_BUCKETS_SCHEMA`](pando_model::histogram::CUSTOM_BUCKETS_SCHEMA)
//! is taken as exponential, whatever its number.

mod bare;
pub mod bounds;
mod buckets;
mod cells;
mod equality;
mod fraction;
mod interpolate;
mod mean;
mod quantile;
mod reconcile;
mod resets;
mod scale;
mod statistics;
mod sum;
mod text;
mod trim;

#[cfg(test)]
pub(crate) mod testdata;
#[cfg(test)]
mod tests;

pub(crate) use bare::drop_buckets;
pub(crate) use buckets::Bucket;
pub(crate) use cells::cells;
pub(crate) use equality::same;
pub(crate) use fraction::fraction;
pub(crate) use interpolate::interpolated;
pub(crate) use mean::HistogramMean;
pub(crate) use quantile::{NanObservations, quantile};
pub(crate) use resets::is_reset;
pub(crate) use scale::{divided, multiplied};
pub(crate) use statistics::{mean, variance};
pub(crate) use sum::{Added, HistogramSum, Incompatible, difference, total};
pub(crate) use text::{text, text_of};
pub(crate) use trim::{Keep, trimmed};
