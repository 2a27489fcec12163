//! Numbers of variable length, and `Reader`: the one cursor that every decoder here reads with.
//!
//! A varint is LEB128: seven bits a byte, least significant first, bit 7 says that another byte
//! follows; at most ten bytes. A zigzag is a varint of `(v << 1) ^ (v >> 63)`, so that small
//! negatives are short. A text or a blob is its length as a varint, then its bytes. Fixed numbers
//! are little endian.
//!
//! `Reader` never panics and never reads past its end, whatever the bytes are; it knows no format.

use crate::error::CodecError;

/// Appends `v` as a varint: 1 to 10 bytes.
pub fn put_varint(out: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

/// Appends `v` as a zigzag varint: 1 to 10 bytes.
pub fn put_zigzag(out: &mut Vec<u8>, v: i64) {
    put_varint(out, zigzag(v));
}

/// Appends the length of `bytes` as a varint, then `bytes`.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends the length of `text` as a varint, then its bytes.
pub fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

/// Appends the bits of `v`, 8 bytes, so that every NaN survives.
pub fn put_f64(out: &mut Vec<u8>, v: f64) {
    out.extend_from_slice(&v.to_bits().to_le_bytes());
}

/// Maps 0, -1, 1, -2 ... to 0, 1, 2, 3 ...
pub fn zigzag(v: i64) -> u64 {
    ((v << 1) ^ (v >> 63)) as u64
}

/// The inverse of [`zigzag`].
pub fn unzigzag(v: u64) -> i64 {
    (v >> 1) as i64 ^ -((v & 1) as i64)
}

/// Bytes that [`put_varint`] takes for `v`.
pub fn varint_len(v: u64) -> usize {
    (64 - (v | 1).leading_zeros() as usize).div_ceil(7)
}

/// A checked cursor over bytes. Errors name the encoding and the offset.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    what: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A cursor at the start of `bytes`; `what` names the encoding in errors.
    pub fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Reader { what, bytes, at: 0 }
    }

    /// Offset of the next byte.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Bytes that are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// The bytes that are left, without moving.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// The next byte.
    pub fn u8(&mut self) -> Result<u8, CodecError> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.truncated(1))?;
        self.at += 1;
        Ok(byte)
    }

    /// Reads the version byte and refuses every one but `known`.
    pub fn version(&mut self, known: u8) -> Result<(), CodecError> {
        match self.u8()? {
            found if found == known => Ok(()),
            found => Err(CodecError::Version { what: self.what, found, known }),
        }
    }

    /// The next `n` bytes.
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], CodecError> {
        let taken = self.rest().get(..n).ok_or_else(|| self.truncated(n))?;
        self.at += n;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let taken = *self.rest().first_chunk::<N>().ok_or_else(|| self.truncated(N))?;
        self.at += N;
        Ok(taken)
    }

    /// A little endian u32, 4 bytes.
    pub fn u32(&mut self) -> Result<u32, CodecError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// A little endian u64, 8 bytes.
    pub fn u64(&mut self) -> Result<u64, CodecError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A float's bits, 8 bytes.
    pub fn f64(&mut self) -> Result<f64, CodecError> {
        Ok(f64::from_bits(self.u64()?))
    }

    /// A varint.
    pub fn varint(&mut self) -> Result<u64, CodecError> {
        let first = self.u8()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        let (start, mut v, mut shift) = (self.at - 1, u64::from(first & 0x7f), 7u32);
        loop {
            let byte = self.u8()?;
            if shift == 63 && byte > 1 {
                self.at = start;
                return Err(self.malformed("varint is longer than 64 bits"));
            }
            v |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(v);
            }
            shift += 7;
        }
    }

    /// A varint that must fit 32 bits.
    pub fn varint_u32(&mut self) -> Result<u32, CodecError> {
        let start = self.at;
        u32::try_from(self.varint()?).map_err(|_| {
            self.at = start;
            self.malformed("number does not fit 32 bits")
        })
    }

    /// A zigzag varint.
    pub fn zigzag(&mut self) -> Result<i64, CodecError> {
        Ok(unzigzag(self.varint()?))
    }

    /// A zigzag varint that must fit 32 bits.
    pub fn zigzag_i32(&mut self) -> Result<i32, CodecError> {
        let start = self.at;
        i32::try_from(self.zigzag()?).map_err(|_| {
            self.at = start;
            self.malformed("number does not fit 32 bits")
        })
    }

    /// A varint of at most `max`, which the error calls `limit`. Does not look at the bytes left: a
    /// few bytes may stand for many values.
    pub fn count(&mut self, limit: &'static str, max: usize) -> Result<usize, CodecError> {
        let found = self.varint()?;
        match usize::try_from(found) {
            Ok(n) if n <= max => Ok(n),
            _ => Err(CodecError::Limit { what: self.what, limit, found, max: max as u64 }),
        }
    }

    /// A count of items that take at least `bytes_min` bytes each (not 0): refused where it is
    /// above `max` or where the bytes left cannot hold as many, so that it is safe to allocate for.
    pub fn count_of(
        &mut self,
        limit: &'static str,
        max: usize,
        bytes_min: usize,
    ) -> Result<usize, CodecError> {
        let n = self.count(limit, max)?;
        let needed = n.saturating_mul(bytes_min.max(1));
        if needed > self.remaining() { Err(self.truncated(needed)) } else { Ok(n) }
    }

    /// A blob behind its length, of at most `max` bytes.
    pub fn blob(&mut self, limit: &'static str, max: usize) -> Result<&'a [u8], CodecError> {
        let n = self.count(limit, max)?;
        self.bytes(n)
    }

    /// A UTF-8 text behind its length, of at most `max` bytes.
    pub fn text(&mut self, limit: &'static str, max: usize) -> Result<&'a str, CodecError> {
        let bytes = self.blob(limit, max)?;
        std::str::from_utf8(bytes).map_err(|_| self.malformed("text is not UTF-8"))
    }

    /// Says that everything was read; bytes left over are an error.
    pub fn finish(&self) -> Result<(), CodecError> {
        if self.is_empty() { Ok(()) } else { Err(self.malformed("bytes after the end")) }
    }

    /// The error that the bytes are malformed at the cursor.
    pub fn malformed(&self, reason: &'static str) -> CodecError {
        CodecError::Malformed { what: self.what, at: self.at, reason }
    }

    fn truncated(&self, needed: usize) -> CodecError {
        let (what, at) = (self.what, self.at);
        CodecError::Truncated { what, at, needed, left: self.remaining() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn varints_have_known_bytes() {
        let mut out = Vec::new();
        for v in [0, 127, 128, 300, u64::MAX] {
            put_varint(&mut out, v);
        }
        put_zigzag(&mut out, -2);
        let mut expected = vec![0, 0x7f, 0x80, 1, 0xac, 2];
        expected.extend([0xff; 9]);
        expected.extend([1, 3]);
        assert_eq!(out, expected);
    }

    #[test]
    fn garbage_is_refused_with_its_place() {
        let read = |bytes: &[u8]| Reader::new("x", bytes).varint();
        assert!(matches!(read(&[0x80]), Err(CodecError::Truncated { at: 1, needed: 1, .. })));
        assert!(matches!(read(&[0xff; 10]), Err(CodecError::Malformed { at: 0, .. })));
        assert!(matches!(read(&[]), Err(CodecError::Truncated { at: 0, .. })));
        let mut reader = Reader::new("x", &[5, b'a']);
        assert!(matches!(reader.clone().count("n", 4), Err(CodecError::Limit { found: 5, .. })));
        assert!(matches!(reader.text("t", 9), Err(CodecError::Truncated { needed: 5, .. })));
        assert!(Reader::new("x", &[1, 0xff]).text("t", 9).is_err());
        assert!(Reader::new("x", &[200, 1, 0]).count_of("n", 1000, 1).is_err());
        assert!(Reader::new("x", &[0xff, 0xff, 0xff, 0xff, 0x1f]).varint_u32().is_err());
        assert!(Reader::new("x", &[2]).version(1).is_err());
        assert!(Reader::new("x", &[2]).finish().is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn numbers_survive(v in any::<i64>(), shift in 0u32..64) {
            let v = v >> shift;
            let mut out = Vec::new();
            put_zigzag(&mut out, v);
            prop_assert_eq!(out.len(), varint_len(zigzag(v)));
            let mut reader = Reader::new("x", &out);
            prop_assert_eq!(reader.zigzag(), Ok(v));
            prop_assert!(reader.finish().is_ok());
        }
    }
}
