//! The stored and shipped encodings of Pando: bytes in, values out. Every encoding is one file with its layout
//! in the head, begins with a version byte, is deterministic (equal values give equal bytes) and has a page in
//! docs/formats.
//!
//! Nothing here does I/O, reads a clock or knows of shards. Decoders never panic and never allocate beyond
//! [`limits`], whatever the bytes are; damage that leaves bytes well-formed is for checksums further out.

pub mod bits;
pub mod error;
pub mod floats;
pub mod ints;
pub mod limits;
pub mod varint;

pub use error::CodecError;
pub use varint::Reader;
