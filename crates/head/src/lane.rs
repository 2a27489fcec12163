//! `Lane`: the samples of one group in one generation, frame by frame.
//!
//! A lane's columns are the group's slots; each holds a row of the series table. New frames go, as they are,
//! into an open matrix; when it has 32 of them it becomes a [`Tile`]. Each row's times are strictly increasing
//! over all lanes of a generation, because only samples newer than all of their series' come here.

use std::collections::BTreeMap;
use std::sync::Arc;

use pando_codec::varint::{put_varint, put_zigzag};
use pando_codec::{CodecError, Reader};

use crate::streams::FIRST_SPECIAL;
use crate::tile::{Column, TILE_TIMES, Tile};

/// Samples of one row, ascending times. `starts` is empty where none is known.
#[derive(Debug, Default)]
pub(crate) struct RowRun {
    pub(crate) times: Vec<i64>,
    pub(crate) values: Vec<f64>,
    pub(crate) starts: Vec<i64>,
}

#[derive(Debug)]
struct OpenFrame {
    time_ms: i64,
    /// Where its values begin.
    first: usize,
    /// Columns at that time.
    width: usize,
    /// One bit a column; `None`: all.
    present: Option<Box<[u64]>>,
    /// Offset of each column's own time, ms; `None`: none has one.
    offsets: Option<Box<[i32]>>,
}

impl OpenFrame {
    fn has(&self, column: usize) -> bool {
        column < self.width
            && self.present.as_ref().is_none_or(|bits| bits[column / 64] >> (column % 64) & 1 == 1)
    }

    fn time_of(&self, column: usize) -> i64 {
        let offset = self.offsets.as_ref().map_or(0, |offsets| offsets[column]);
        self.time_ms.saturating_add(i64::from(offset))
    }
}

/// What a frame brings to a lane.
pub(crate) struct LaneFrame<'a> {
    pub(crate) time_ms: i64,
    /// The columns of the values, ascending; `None`: 0 .. `values.len()`.
    pub(crate) columns: Option<&'a [u32]>,
    pub(crate) values: &'a [f64],
    /// Positions in `values` that do not come here, ascending.
    pub(crate) skipped: &'a [usize],
    /// (column, offset) of own times, ascending columns; each fits an `i32`.
    pub(crate) offsets: &'a [(u32, i64)],
    /// Start of every column, ms.
    pub(crate) starts: Option<&'a Arc<[i64]>>,
}

/// The samples of a group.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    rows: Vec<u32>,
    /// Columns ordered by row, where `rows` is not; built when first needed, dropped when columns are added.
    order: Option<Vec<u32>>,
    unsorted: bool,
    sealed: Vec<Tile>,
    frames: Vec<OpenFrame>,
    values: Vec<f64>,
    /// For columns with known starts: (from this time on, start).
    starts: BTreeMap<u32, Vec<(i64, i64)>>,
    starts_seen: Option<Arc<[i64]>>,
}

impl Lane {
    /// The row of each column.
    pub(crate) fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// Adds columns.
    pub(crate) fn grow(&mut self, rows: &[u32]) {
        for row in rows {
            self.unsorted |= self.rows.last().is_some_and(|last| last >= row);
            self.rows.push(*row);
        }
        self.order = None;
    }

    /// Whether a frame of `samples` is worth a row of the matrix.
    pub(crate) fn takes(&self, samples: usize) -> bool {
        samples * 4 >= self.rows.len()
    }

    /// Appends a frame. Returns the number of samples taken.
    pub(crate) fn push(&mut self, frame: &LaneFrame<'_>) -> usize {
        let taken = frame.values.len() - frame.skipped.len();
        if taken == 0 {
            return 0;
        }
        let (first, width) = (self.values.len(), self.rows.len());
        let column_of = |i: usize| frame.columns.map_or(i, |columns| columns[i] as usize);
        let present = match frame.columns {
            None if frame.skipped.is_empty() && frame.values.len() == width => {
                self.values.extend_from_slice(frame.values);
                None
            }
            _ => {
                self.values.resize(first + width, 0.0);
                let mut bits = vec![0u64; width.div_ceil(64)].into_boxed_slice();
                let mut skipped = frame.skipped.iter().peekable();
                for (i, value) in frame.values.iter().enumerate() {
                    if skipped.next_if(|s| **s == i).is_some() {
                        continue;
                    }
                    let column = column_of(i);
                    self.values[first + column] = *value;
                    bits[column / 64] |= 1 << (column % 64);
                }
                Some(bits)
            }
        };
        let offsets = (!frame.offsets.is_empty()).then(|| {
            let mut offsets = vec![0i32; width].into_boxed_slice();
            frame.offsets.iter().for_each(|(column, o)| offsets[*column as usize] = *o as i32);
            offsets
        });
        let open = OpenFrame { time_ms: frame.time_ms, first, width, present, offsets };
        self.note_starts(frame.starts, &open);
        self.frames.push(open);
        if self.frames.len() == TILE_TIMES {
            self.seal();
        }
        taken
    }

    fn note_starts(&mut self, starts: Option<&Arc<[i64]>>, frame: &OpenFrame) {
        let Some(starts) = starts else { return };
        let same = self.starts_seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, starts));
        if same && self.frames.last().is_some_and(|last| last.width == frame.width) {
            return;
        }
        for (column, start) in starts.iter().enumerate().take(frame.width) {
            let known = self.starts.get(&(column as u32)).and_then(|runs| runs.last());
            if known.map_or(0, |(_, start)| *start) != *start {
                let from = frame.time_of(column);
                self.starts.entry(column as u32).or_default().push((from, *start));
            }
        }
        self.starts_seen = Some(starts.clone());
    }

    /// Compresses the open frames.
    pub(crate) fn seal(&mut self) {
        if self.frames.is_empty() {
            return;
        }
        let frames = std::mem::take(&mut self.frames);
        let values = std::mem::take(&mut self.values);
        let width = frames.iter().map(|frame| frame.width).max().unwrap_or(0) as u32;
        let times = frames.iter().map(|frame| frame.time_ms).collect();
        let tile = Tile::build(times, width, |number, column: &mut Column| {
            let at = number as usize;
            let mut own = false;
            for (i, frame) in frames.iter().enumerate() {
                if frame.has(at) {
                    column.mask |= 1 << i;
                    column.values.push(values[frame.first + at]);
                    own |= frame.time_of(at) != frame.time_ms;
                }
            }
            if own {
                let here = frames.iter().filter(|frame| frame.has(at));
                column.own_times = Some(here.map(|frame| frame.time_of(at)).collect());
            }
        });
        self.sealed.push(tile);
    }

    /// The columns of `row`. Builds an order of the columns where there is none.
    pub(crate) fn columns_of_mut(&mut self, row: u32) -> Vec<u32> {
        if self.unsorted && self.order.is_none() {
            self.order = Some(self.ordered());
        }
        self.columns_of(row)
    }

    /// The columns of `row`.
    pub(crate) fn columns_of(&self, row: u32) -> Vec<u32> {
        if !self.unsorted {
            return self.rows.binary_search(&row).map_or(Vec::new(), |at| vec![at as u32]);
        }
        match &self.order {
            Some(order) => {
                let start = order.partition_point(|c| self.rows[*c as usize] < row);
                let here = order[start..].iter().take_while(|c| self.rows[**c as usize] == row);
                here.copied().collect()
            }
            None => (0..self.rows.len() as u32).filter(|c| self.rows[*c as usize] == row).collect(),
        }
    }

    fn ordered(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.rows.len() as u32).collect();
        order.sort_by_key(|column| (self.rows[*column as usize], *column));
        order
    }

    /// The bits of the float of a column at `t_ms`.
    pub(crate) fn lookup(&self, column: u32, t_ms: i64) -> Result<Option<f64>, CodecError> {
        let at = column as usize;
        for frame in self.frames.iter().rev() {
            if frame.has(at) && frame.time_of(at) == t_ms {
                return Ok(Some(self.values[frame.first + at]));
            }
        }
        let (mut times, mut values) = (Vec::new(), Vec::new());
        for tile in self.sealed.iter().filter(|tile| tile.overlaps(t_ms, t_ms)) {
            times.clear();
            values.clear();
            tile.read(column, &mut times, &mut values)?;
            if let Some(i) = times.iter().position(|t| *t == t_ms) {
                return Ok(Some(values[i]));
            }
        }
        Ok(None)
    }

    /// Appends the samples of a column from `min_ms` to `max_ms`, both included; tiles that touch the range
    /// are read whole.
    pub(crate) fn read(
        &self,
        column: u32,
        (min_ms, max_ms): (i64, i64),
        run: &mut RowRun,
    ) -> Result<(), CodecError> {
        let begin = run.times.len();
        for tile in self.sealed.iter().filter(|tile| tile.overlaps(min_ms, max_ms)) {
            tile.read(column, &mut run.times, &mut run.values)?;
        }
        let at = column as usize;
        for frame in self.frames.iter().filter(|frame| frame.has(at)) {
            run.times.push(frame.time_of(at));
            run.values.push(self.values[frame.first + at]);
        }
        if let Some(starts) = self.starts.get(&column) {
            run.starts.resize(begin, 0);
            run.starts.extend(run.times[begin..].iter().map(|t| {
                let next = starts.partition_point(|(from, _)| from <= t);
                next.checked_sub(1).map_or(0, |i| starts[i].1)
            }));
        } else if !run.starts.is_empty() {
            run.starts.resize(run.times.len(), 0);
        }
        Ok(())
    }

    /// The number of encoded runs.
    pub(crate) fn chunks(&self) -> usize {
        (self.sealed.len() + usize::from(!self.frames.is_empty())) * self.rows.len()
    }

    /// Bytes of heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        let frames: usize = self
            .frames
            .iter()
            .map(|frame| {
                size_of::<OpenFrame>()
                    + frame.present.as_ref().map_or(0, |bits| bits.len() * 8)
                    + frame.offsets.as_ref().map_or(0, |offsets| offsets.len() * 4)
            })
            .sum();
        self.rows.capacity() * 4
            + self.order.as_ref().map_or(0, |order| order.capacity() * 4)
            + self.values.capacity() * 8
            + frames
            + self.sealed.iter().map(|tile| tile.heap_bytes() + size_of::<Tile>()).sum::<usize>()
            + self.starts.values().map(|runs| runs.capacity() * 16 + 40).sum::<usize>()
    }

    /// Appends the lane to a checkpoint.
    pub(crate) fn save(&self, out: &mut Vec<u8>) {
        put_varint(out, self.rows.len() as u64);
        self.rows.iter().for_each(|row| out.extend(row.to_le_bytes()));
        put_varint(out, self.sealed.len() as u64);
        self.sealed.iter().for_each(|tile| tile.save(out));
        put_varint(out, self.frames.len() as u64);
        for frame in &self.frames {
            put_zigzag(out, frame.time_ms);
            put_varint(out, frame.width as u64);
            out.push(u8::from(frame.present.is_some()) | u8::from(frame.offsets.is_some()) << 1);
            frame.present.iter().flatten().for_each(|bits| out.extend(bits.to_le_bytes()));
            for offset in frame.offsets.iter().flatten() {
                put_zigzag(out, i64::from(*offset));
            }
        }
        self.values.iter().for_each(|v| out.extend(v.to_bits().to_le_bytes()));
        put_varint(out, self.starts.len() as u64);
        for (column, runs) in &self.starts {
            put_varint(out, u64::from(*column));
            put_varint(out, runs.len() as u64);
            for (from, start) in runs {
                put_zigzag(out, *from);
                put_zigzag(out, *start);
            }
        }
    }

    /// Reads what [`Lane::save`] wrote; its rows are below `row_end` or special.
    pub(crate) fn load(reader: &mut Reader<'_>, row_end: usize) -> Result<Lane, CodecError> {
        let mut lane = Lane::default();
        let mut rows = Vec::new();
        for _ in 0..reader.count_of("columns", u32::MAX as usize, 4)? {
            let row = reader.u32()?;
            if row as usize >= row_end && row < FIRST_SPECIAL {
                return Err(reader.malformed("a column is of no row"));
            }
            rows.push(row);
        }
        lane.grow(&rows);
        for _ in 0..reader.count_of("tiles", u32::MAX as usize, 4)? {
            lane.sealed.push(Tile::load(reader)?);
        }
        let mut first = 0;
        for _ in 0..reader.count_of("frames", TILE_TIMES, 3)? {
            let time_ms = reader.zigzag()?;
            let width = reader.count("columns", rows.len())?;
            let flags = reader.u8()?;
            let (mut present, mut offsets) = (None, None);
            if flags & 1 != 0 {
                let bits: Result<Vec<u64>, _> =
                    (0..width.div_ceil(64)).map(|_| reader.u64()).collect();
                present = Some(bits?.into());
            }
            if flags & 2 != 0 {
                let own: Result<Vec<i32>, _> = (0..width).map(|_| reader.zigzag_i32()).collect();
                offsets = Some(own?.into());
            }
            lane.frames.push(OpenFrame { time_ms, first, width, present, offsets });
            first += width;
        }
        let values = reader.bytes(first.saturating_mul(8))?;
        lane.values = values
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes(b.try_into().expect("chunks of 8")))
            .collect();
        for _ in 0..reader.count_of("columns", rows.len(), 2)? {
            let column = reader.varint_u32()?;
            let mut runs = Vec::new();
            for _ in 0..reader.count_of("starts", u32::MAX as usize, 2)? {
                runs.push((reader.zigzag()?, reader.zigzag()?));
            }
            lane.starts.insert(column, runs);
        }
        Ok(lane)
    }
}
