//! `Tile`: up to 32 frames of a lane, compressed column by column.
//!
//! A column is one series: its values are one run of the float codec. Times are held once for the tile; only a
//! column whose samples have times of their own has an encoded axis.

use std::collections::BTreeMap;

use pando_codec::axis::{decode_axis, encode_axis};
use pando_codec::floats::{decode_floats, encode_floats};
use pando_codec::varint::{put_bytes, put_varint, put_zigzag};
use pando_codec::{CodecError, Reader};

/// The frames of a tile: as many as a mask has bits.
pub(crate) const TILE_TIMES: usize = 32;

/// Bytes that a blob of a checkpoint may have.
pub(crate) const BLOB_BYTES_MAX: usize = 1 << 31;

/// Compressed frames.
#[derive(Debug)]
pub(crate) struct Tile {
    times: Box<[i64]>,
    /// For each column, which of the times it has a sample at; `None`: every column at all.
    masks: Option<Box<[u32]>>,
    /// Where each column's bytes end.
    ends: Box<[u32]>,
    data: Box<[u8]>,
    /// Encoded axes of columns with times of their own.
    own_times: BTreeMap<u32, Box<[u8]>>,
    min_ms: i64,
    max_ms: i64,
}

/// A column on its way into a tile.
#[derive(Default)]
pub(crate) struct Column {
    /// Which of the tile's times have a sample.
    pub(crate) mask: u32,
    /// The samples' values.
    pub(crate) values: Vec<f64>,
    /// The samples' times, where any differs from the tile's.
    pub(crate) own_times: Option<Vec<i64>>,
}

impl Tile {
    /// Compresses columns; `column` fills the one with the given number.
    pub(crate) fn build(
        times: Vec<i64>,
        columns: u32,
        mut column: impl FnMut(u32, &mut Column),
    ) -> Tile {
        let all = (u64::MAX >> (64 - times.len().max(1))) as u32;
        let (mut masks, mut ends) = (Vec::with_capacity(columns as usize), Vec::new());
        let (mut data, mut own_times) = (Vec::new(), BTreeMap::new());
        let mut min_ms = times.iter().copied().min().unwrap_or(i64::MAX);
        let mut max_ms = times.iter().copied().max().unwrap_or(i64::MIN);
        let mut of = Column::default();
        ends.reserve_exact(columns as usize);
        for number in 0..columns {
            (of.mask, of.own_times) = (0, None);
            of.values.clear();
            column(number, &mut of);
            masks.push(of.mask);
            if !of.values.is_empty() {
                encode_floats(&of.values, &mut data);
            }
            ends.push(data.len() as u32);
            if let Some(own) = &of.own_times {
                min_ms = own.first().map_or(min_ms, |t| min_ms.min(*t));
                max_ms = own.last().map_or(max_ms, |t| max_ms.max(*t));
                let mut bytes = Vec::new();
                encode_axis(own, &mut bytes);
                own_times.insert(number, bytes.into());
            }
        }
        let masks = masks.iter().any(|mask| *mask != all).then(|| masks.into_boxed_slice());
        let (times, ends, data) = (times.into(), ends.into(), data.into());
        Tile { times, masks, ends, data, own_times, min_ms, max_ms }
    }

    /// Whether a sample can be at a time from `min_ms` to `max_ms`, both included.
    pub(crate) fn overlaps(&self, min_ms: i64, max_ms: i64) -> bool {
        self.min_ms <= max_ms && min_ms <= self.max_ms
    }

    /// Appends the samples of a column.
    pub(crate) fn read(
        &self,
        column: u32,
        times: &mut Vec<i64>,
        values: &mut Vec<f64>,
    ) -> Result<(), CodecError> {
        let at = column as usize;
        let Some(end) = self.ends.get(at) else { return Ok(()) };
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        let bytes = &self.data[start as usize..*end as usize];
        if bytes.is_empty() {
            return Ok(());
        }
        match (self.own_times.get(&column), &self.masks) {
            (Some(own), _) => times.extend(decode_axis(own)?),
            (None, None) => times.extend_from_slice(&self.times),
            (None, Some(masks)) => {
                let set = |i: &usize| masks[at] >> i & 1 == 1;
                times.extend((0..self.times.len()).filter(set).map(|i| self.times[i]));
            }
        }
        decode_floats(bytes, values)?;
        if times.len() != values.len() {
            let reason = "times and values differ in number";
            return Err(CodecError::Malformed { what: "tile", at, reason });
        }
        Ok(())
    }

    /// Bytes of heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        let own: usize = self.own_times.values().map(|bytes| bytes.len() + 32).sum();
        self.times.len() * 8
            + self.masks.as_ref().map_or(0, |masks| masks.len() * 4)
            + self.ends.len() * 4
            + self.data.len()
            + own
    }

    /// Appends the tile to a checkpoint.
    pub(crate) fn save(&self, out: &mut Vec<u8>) {
        put_varint(out, self.times.len() as u64);
        let mut before = 0i64;
        for time in &self.times {
            put_zigzag(out, time.wrapping_sub(before));
            before = *time;
        }
        put_varint(out, self.ends.len() as u64);
        let mut start = 0;
        for end in &self.ends {
            put_varint(out, u64::from(end - start));
            start = *end;
        }
        out.push(u8::from(self.masks.is_some()));
        self.masks.iter().flatten().for_each(|mask| out.extend(mask.to_le_bytes()));
        put_bytes(out, &self.data);
        put_varint(out, self.own_times.len() as u64);
        for (column, bytes) in &self.own_times {
            put_varint(out, u64::from(*column));
            put_bytes(out, bytes);
        }
        put_zigzag(out, self.min_ms);
        put_zigzag(out, self.max_ms);
    }

    /// Reads what [`Tile::save`] wrote.
    pub(crate) fn load(reader: &mut Reader<'_>) -> Result<Tile, CodecError> {
        let mut before = 0i64;
        let mut times = Vec::new();
        for _ in 0..reader.count_of("tile times", TILE_TIMES, 1)? {
            before = before.wrapping_add(reader.zigzag()?);
            times.push(before);
        }
        let (mut ends, mut end) = (Vec::new(), 0u32);
        for _ in 0..reader.count_of("columns", u32::MAX as usize, 1)? {
            end = end
                .checked_add(reader.varint_u32()?)
                .ok_or_else(|| reader.malformed("a column is too long"))?;
            ends.push(end);
        }
        let masks: Option<Box<[u32]>> = match reader.u8()? {
            0 => None,
            _ => {
                let masks: Result<Vec<u32>, _> = ends.iter().map(|_| reader.u32()).collect();
                Some(masks?.into())
            }
        };
        let data: Box<[u8]> = reader.blob("tile bytes", BLOB_BYTES_MAX)?.into();
        if data.len() != end as usize {
            return Err(reader.malformed("columns and bytes differ in length"));
        }
        let known = (1u64 << times.len()) - 1;
        if masks.iter().flatten().any(|mask| u64::from(*mask) & !known != 0) {
            return Err(reader.malformed("a mask names no time"));
        }
        let mut own_times = BTreeMap::new();
        for _ in 0..reader.count_of("columns", ends.len(), 2)? {
            let column = reader.varint_u32()?;
            own_times.insert(column, reader.blob("axis bytes", BLOB_BYTES_MAX)?.into());
        }
        let (min_ms, max_ms) = (reader.zigzag()?, reader.zigzag()?);
        let (times, ends) = (times.into(), ends.into());
        Ok(Tile { times, masks, ends, data, own_times, min_ms, max_ms })
    }
}
