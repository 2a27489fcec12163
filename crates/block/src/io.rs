//! Where a block's bytes come from: [`RangeReader`], two simple ones, and how ranges are gathered.
//!
//! It does not know of object stores and caches; those implement the trait elsewhere.

use std::ops::Range;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use pando_model::ErrorKind;

use crate::error::ReadError;

/// Ranges with a gap of at most this many bytes between them are read as one: at 100 MB/s a
/// request's latency (some 10 ms) is worth far more than the bytes in between.
pub(crate) const GAP_BYTES_MAX: u64 = 64 << 10;

/// Reads ranges of one immutable object.
#[async_trait]
pub trait RangeReader: Send + Sync {
    /// The bytes of each of `ranges` (sorted, disjoint), in their order. A range that the object
    /// does not have is an error.
    async fn read(&self, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>, ReadError>;

    /// Told that bytes it has read are not what was written: it drops its copies of the object, so
    /// that the next read is answered by the object itself. Says whether another read may do better.
    async fn distrust(&self) -> bool {
        false
    }
}

/// An object in memory.
#[derive(Clone, Debug)]
pub struct MemoryObject(pub Bytes);

#[async_trait]
impl RangeReader for MemoryObject {
    async fn read(&self, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>, ReadError> {
        ranges.into_iter().map(|range| slice(&self.0, &range)).collect()
    }
}

fn slice(bytes: &Bytes, range: &Range<u64>) -> Result<Bytes, ReadError> {
    let inside = range.start <= range.end && range.end <= bytes.len() as u64;
    if !inside {
        let (start, end, len) = (range.start, range.end, bytes.len());
        let message = format!("range outside of the object: start={start} end={end} bytes={len}");
        return Err(ReadError { kind: ErrorKind::Corrupt, message });
    }
    Ok(bytes.slice(range.start as usize..range.end as usize))
}

/// An object that is a local file, for tools: reads block the calling thread. Who serves others
/// calls [`LocalFile::read_blocking`] where blocking is allowed.
#[derive(Clone, Debug)]
pub struct LocalFile {
    path: PathBuf,
}

impl LocalFile {
    /// The file at `path`; it is opened at each read.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        LocalFile { path: path.into() }
    }

    /// The file's size, bytes.
    pub fn object_bytes(&self) -> Result<u64, ReadError> {
        std::fs::metadata(&self.path).map(|m| m.len()).map_err(|e| read_error(&self.path, &e))
    }

    /// [`RangeReader::read`] on the calling thread, which it blocks.
    ///
    /// # Errors
    /// As there.
    pub fn read_blocking(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, ReadError> {
        let fail = |e: std::io::Error| read_error(&self.path, &e);
        let mut file = std::fs::File::open(&self.path).map_err(fail)?;
        ranges.iter().map(|range| self.read_one(&mut file, range).map_err(fail)).collect()
    }

    fn read_one(&self, file: &mut std::fs::File, range: &Range<u64>) -> std::io::Result<Bytes> {
        use std::io::{Read, Seek, SeekFrom};
        file.seek(SeekFrom::Start(range.start))?;
        let wanted = range.end.saturating_sub(range.start);
        let mut bytes = Vec::new();
        // At once: growing would copy, and touch twice the memory.
        bytes.try_reserve_exact(usize::try_from(wanted).unwrap_or(usize::MAX))?;
        let got = file.take(wanted).read_to_end(&mut bytes)? as u64;
        if got != wanted {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes.into())
    }
}

#[async_trait]
impl RangeReader for LocalFile {
    async fn read(&self, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>, ReadError> {
        self.read_blocking(&ranges)
    }
}

fn read_error(path: &Path, e: &std::io::Error) -> ReadError {
    let kind = match e.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        std::io::ErrorKind::UnexpectedEof => ErrorKind::Corrupt,
        _ => ErrorKind::Unavailable,
    };
    ReadError { kind, message: format!("file cannot be read: path={} {e}", path.display()) }
}

/// Sorts `ranges` and joins those that touch or nearly touch.
pub(crate) fn coalesce(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|r| (r.start, r.end));
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(GAP_BYTES_MAX) => {
                last.end = last.end.max(range.end);
            }
            _ => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_ranges_become_one_and_far_ones_stay_apart() {
        let far = GAP_BYTES_MAX + 21;
        assert_eq!(coalesce(vec![15..20, 0..10, far..far + 1]), [0..20, far..far + 1]);
        assert_eq!(coalesce(Vec::new()), Vec::<Range<u64>>::new());
    }

    #[test]
    fn a_range_outside_of_the_object_is_an_error() {
        let object = MemoryObject(Bytes::from_static(b"0123"));
        let read = |range| futures::executor::block_on(object.read(vec![range]));
        assert_eq!(read(1..3).expect("inside"), [Bytes::from_static(b"12")]);
        assert!(read(3..5).is_err());
        let reversed = Range { start: 3, end: 1 };
        assert!(read(reversed).is_err());
    }
}
