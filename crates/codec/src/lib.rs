//! The stored and shipped encodings of Pando: bytes in, values out. Every encoding is one file with
//! its layout in the head, begins with a version byte, is deterministic (equal values give equal
//! bytes) and has a page in docs/formats.
//!
//! Nothing here does I/O, reads a clock or knows of shards. Decoders never panic and never allocate
//! beyond [`limits`], whatever the bytes are; damage that leaves bytes well-formed is for checksums
//! further out.

pub mod axis;
pub mod bits;
pub mod entry;
pub mod error;
pub mod exemplars;
pub mod floats;
pub mod histograms;
pub mod ints;
pub mod limits;
pub mod metadata;
pub mod series_chunk;
pub mod starts;
pub mod varint;
pub mod write_block;

#[cfg(test)]
mod fuzz;

pub use error::CodecError;
pub use varint::Reader;
