//! The wire form of plans and batches: protobuf, versioned in itself.
//!
//! ```text
//! plan   version, matchers, steps (start, step, count), what is read, aggregation
//! batch  version, symbols, axes, groups, raw series, label hashes, notes
//! group  label set (pairs of symbol numbers), kind, presence (1 bit a step), columns
//! ```
//!
//! Columns are `f64`, little endian, in one `bytes` field; only steps whose presence bit is set have a value,
//! so that a sparse column costs its bits. Presence is always written in full: what a decoder allocates for columns is
//! at most 129 times what it was sent (a sum has one presence bit a step, which stays, and two columns), and
//! [`DECODED_VALUES_MAX`] values. A message of a newer version, or with a node that this process does not know, is
//! `Unsupported`: of a plan, the caller asks again for raw series; of a batch, which answers a plan that both know, the
//! query fails. What changes the
//! meaning of a node is a node of its own, then, never a field that an older process would overlook.
//!
//! Version 2 computes with native histograms, which version 1 refuses to, and has the reads 5 to 8: ranges by
//! rules, smoothed values, start timestamps, times of samples. Messages are written in the lowest version that has
//! all that they say: a plan that version 1 cannot read, or whose answer over histograms it does not know, is of
//! version 2, and so is a batch with such an answer. Version 3 has the aggregations from 9 on, and several over one
//! scan. Raw series are the same in all.

mod batch;
mod histograms;
mod messages;
mod notes;
mod plan;
#[cfg(test)]
mod tests;

/// The newest version of both messages. All older ones are read.
pub const WIRE_VERSION: u32 = 3;

/// The most step values that one batch may decode to.
const DECODED_VALUES_MAX: usize = 1 << 26;

/// The most bytes of names and values of labels that one batch may decode to: a few bytes name a text of any length,
/// again and again. Executors end a batch when its groups hold a mebibyte, but for one group that holds more.
const DECODED_LABEL_BYTES_MAX: usize = 1 << 26;
