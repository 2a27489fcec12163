//! The protobuf wire format, read field by field without copies. Unknown fields are skipped, as evolution
//! demands; groups, which no message here ever had, are refused.

use super::body::Limits;
use super::error::RemoteWriteError;

/// A field's value as it stands on the wire.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(Reader<'a>),
    Fixed32,
}

/// Reads one message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where `bytes` begin in the whole body.
    base: usize,
    message: &'static str,
}

type Result<T> = std::result::Result<T, RemoteWriteError>;

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], message: &'static str) -> Self {
        Reader { bytes, at: 0, base: 0, message }
    }

    /// The bytes of the whole field.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The reader with the name that errors shall use.
    #[inline]
    pub(super) fn named(self, message: &'static str) -> Self {
        Reader { message, ..self }
    }

    pub(super) fn malformed(&self, reason: &'static str) -> RemoteWriteError {
        RemoteWriteError::Malformed { message: self.message, offset: self.base + self.at, reason }
    }

    /// The next field's number and value; `None` at the end.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<(u32, Field<'a>)>> {
        if self.at >= self.bytes.len() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| self.malformed("field number"))?;
        if number == 0 {
            return Err(self.malformed("field number 0"));
        }
        let field = match tag & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(self.fixed64()?),
            2 => {
                let length = self.varint()?;
                let left = self.bytes.len() - self.at;
                let length = usize::try_from(length).ok().filter(|length| *length <= left);
                let length = length.ok_or_else(|| self.malformed("length beyond the message"))?;
                let bytes = &self.bytes[self.at..self.at + length];
                let base = self.base + self.at;
                self.at += length;
                Field::Bytes(Reader { bytes, at: 0, base, message: self.message })
            }
            5 => {
                if self.bytes.len() - self.at < 4 {
                    return Err(self.malformed("truncated fixed32"));
                }
                self.at += 4;
                Field::Fixed32
            }
            _ => return Err(self.malformed("unknown wire type")),
        };
        Ok(Some((number, field)))
    }

    #[inline]
    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64> {
        match self.bytes.get(self.at) {
            Some(byte) if *byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let Some(byte) = self.bytes.get(self.at) else {
                return Err(self.malformed("truncated varint"));
            };
            self.at += 1;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && *byte > 1 {
                return Err(self.malformed("varint overflows 64 bits"));
            }
            value |= bits << shift;
            if *byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.malformed("varint overflows 64 bits"))
    }

    #[inline]
    pub(super) fn fixed64(&mut self) -> Result<u64> {
        let bytes = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<8>());
        let bytes = bytes.ok_or_else(|| self.malformed("truncated fixed64"))?;
        self.at += 8;
        Ok(u64::from_le_bytes(*bytes))
    }

    fn wrong_type(&self) -> RemoteWriteError {
        self.malformed("wrong wire type")
    }

    /// The field as an integer.
    #[inline]
    pub(super) fn integer(&self, field: Field<'a>) -> Result<u64> {
        match field {
            Field::Varint(value) => Ok(value),
            _ => Err(self.wrong_type()),
        }
    }

    /// The field as a double.
    #[inline]
    pub(super) fn double(&self, field: Field<'a>) -> Result<f64> {
        match field {
            Field::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(self.wrong_type()),
        }
    }

    /// The field as a message or string.
    #[inline]
    pub(super) fn inner(&self, field: Field<'a>, message: &'static str) -> Result<Reader<'a>> {
        match field {
            Field::Bytes(reader) => Ok(reader.named(message)),
            _ => Err(self.wrong_type()),
        }
    }

    /// The values of a repeated integer, packed or not.
    pub(super) fn integers(
        &self,
        field: Field<'a>,
        mut each: impl FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        match field {
            Field::Varint(value) => each(value),
            Field::Bytes(mut packed) => {
                while !packed.is_at_end() {
                    each(packed.varint()?)?;
                }
                Ok(())
            }
            _ => Err(self.wrong_type()),
        }
    }

    /// The values of a repeated double, packed or not.
    pub(super) fn doubles(
        &self,
        field: Field<'a>,
        mut each: impl FnMut(f64) -> Result<()>,
    ) -> Result<()> {
        match field {
            Field::Fixed64(bits) => each(f64::from_bits(bits)),
            Field::Bytes(mut packed) => {
                while !packed.is_at_end() {
                    each(f64::from_bits(packed.fixed64()?))?;
                }
                Ok(())
            }
            _ => Err(self.wrong_type()),
        }
    }
}

/// A signed integer that was written zigzag.
pub(super) fn zigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// Counts what is decoded against the limit on it.
#[derive(Debug)]
pub(super) struct Budget {
    used: usize,
    limit: usize,
}

impl Budget {
    pub(super) fn new(limits: Limits) -> Self {
        // Positions in the decoded vectors are 32 bits wide.
        Budget { used: 0, limit: limits.decoded_items_max.min(u32::MAX as usize) }
    }

    #[inline]
    pub(super) fn take(&mut self) -> Result<()> {
        self.used += 1;
        if self.used > self.limit {
            let (have, limit) = (self.used as u64, self.limit as u64);
            return Err(RemoteWriteError::TooLarge { what: "decoded_items_max", have, limit });
        }
        Ok(())
    }
}
