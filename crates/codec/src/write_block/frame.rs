//! A frame's content: one sample of many slots at one time, relative to the group's frame before.
//!
//! ```text
//! zigzag varint  time - time of the frame before, ms
//! u8             flags: 1 offsets, 2 starts, 4 histograms, 8 exemplars
//! varint length, body (bits):
//!   slot set     present, relative to the frame before
//!   slot set     histograms, where flag 4
//!   slot set     changed floats, relative to the frame before
//!   values       of the changed floats, in order of slots
//!   slot set, rice(zigzag(offset - offset before it))...    where flag 1
//!   slot set, rice(zigzag(start - start before it))...      of changed starts, where flag 2
//! varint length, histograms (codec::histograms), in order of slots, where flag 4
//! varint number, exemplars, where flag 8
//! ```
//!
//! A present float that is not changed has the value of the slot's last frame that had one. Nothing here
//! knows labels, or whether a frame's base is right.

use std::sync::Arc;

use pando_model::{Exemplar, Histogram};

use super::bits::{BitReader, BitWriter};
use super::group_state::GroupState;
use super::series_list::{BlockContext, Symbols};
use super::slot_set::SlotSet;
use super::{BLOCK_BYTES_MAX, EXEMPLARS_PER_FRAME_MAX, GroupId, PAIRS_MAX, frame_work};
use crate::error::CodecError;
use crate::histograms::{decode_histograms, encode_histograms};
use crate::varint::{Reader, put_bytes, put_f64, put_varint, put_zigzag, unzigzag, zigzag};

const OFFSETS: u8 = 1;
const STARTS: u8 = 2;
const HISTOGRAMS: u8 = 4;
const EXEMPLARS: u8 = 8;

/// Rice parameters that the offsets and starts of a frame begin with.
const OFFSET_K: u8 = 8;
const START_K: u8 = 16;

/// A slot's value in a frame that is pushed.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum FrameValue {
    /// The series has no sample in this frame.
    #[default]
    Absent,
    /// A float; a stale marker is one.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<Histogram>),
}

/// What an [`Encoder`](super::Encoder) is given: one sample of the slots of a group.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameInput<'a> {
    /// Time of the samples, ms.
    pub time_ms: i64,
    /// One value per slot; what is missing at the end is absent, and so are removed slots.
    pub values: &'a [FrameValue],
    /// (slot, sample's own time - `time_ms`), ascending slots; slots without an entry have `time_ms`.
    pub offsets: &'a [(u32, i64)],
    /// (slot, start timestamp in ms, 0 for unknown), ascending slots. A slot without an entry keeps the start
    /// of its last frame, at first 0.
    pub starts: &'a [(u32, i64)],
    /// (slot, exemplar), any order.
    pub exemplars: &'a [(u32, Exemplar)],
}

/// A decoded frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// The group.
    pub group: GroupId,
    /// Time of the samples without an offset, ms.
    pub time_ms: i64,
    /// The slots with a float, ascending; `None`: all of the group's, 0 .. `values.len()`.
    pub slots: Option<Vec<u32>>,
    /// The floats of these slots.
    pub values: Vec<f64>,
    /// (slot, sample's own time - `time_ms`), ascending slots.
    pub offsets: Vec<(u32, i64)>,
    /// The slots with a histogram, ascending.
    pub histograms: Vec<(u32, Arc<Histogram>)>,
    /// The start of every slot of the group, ms, 0 for unknown; `None` where none is known.
    pub starts: Option<Arc<[i64]>>,
    /// Exemplars by slot.
    pub exemplars: Vec<(u32, Exemplar)>,
}

impl Frame {
    /// The number of samples.
    pub fn len(&self) -> usize {
        self.values.len() + self.histograms.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The floats with their slots.
    pub fn floats(&self) -> impl Iterator<Item = (u32, f64)> + '_ {
        let slot = move |i: usize| self.slots.as_ref().map_or(i as u32, |slots| slots[i]);
        self.values.iter().enumerate().map(move |(i, v)| (slot(i), *v))
    }
}

/// Appends the content of a frame and moves `state` to it. Returns the number of samples.
pub(super) fn encode_frame(
    state: &mut GroupState,
    input: &FrameInput<'_>,
    symbols: &mut Symbols,
    out: &mut Vec<u8>,
) -> usize {
    let size = state.slots();
    let Sorted { present, changed, histogram_slots, histograms } = sort_values(state, input.values);
    let offsets: Vec<(u32, i64)> =
        input.offsets.iter().copied().filter(|(s, o)| *o != 0 && present.contains(*s)).collect();
    let starts: Vec<(u32, i64)> = input
        .starts
        .iter()
        .copied()
        .filter(|(s, start)| present.contains(*s) && state.start(*s) != *start)
        .collect();
    let exemplars: Vec<&(u32, Exemplar)> = input
        .exemplars
        .iter()
        .filter(|(s, _)| present.contains(*s))
        .take(EXEMPLARS_PER_FRAME_MAX)
        .collect();

    let flag = |on: bool, flag: u8| if on { flag } else { 0 };
    put_zigzag(out, input.time_ms.wrapping_sub(state.time_ms));
    out.push(
        flag(!offsets.is_empty(), OFFSETS)
            | flag(!starts.is_empty(), STARTS)
            | flag(!histograms.is_empty(), HISTOGRAMS)
            | flag(!exemplars.is_empty(), EXEMPLARS),
    );
    let mut bits = BitWriter::default();
    present.encode(&state.present, size, &mut bits);
    if !histograms.is_empty() {
        histogram_slots.encode(&SlotSet::default(), size, &mut bits);
    }
    changed.encode(&state.changed, size, &mut bits);
    for slot in changed.iter() {
        if let FrameValue::Float(v) = &input.values[slot as usize] {
            state.encode_value(slot, v.to_bits(), &mut bits);
        }
    }
    encode_times(&offsets, size, 0, OFFSET_K, &mut bits);
    encode_times(&starts, size, input.time_ms, START_K, &mut bits);
    put_bytes(out, &bits.finish());
    if !histograms.is_empty() {
        let mut bytes = Vec::new();
        encode_histograms(&histograms, &mut bytes);
        put_bytes(out, &bytes);
    }
    if !exemplars.is_empty() {
        encode_exemplars(&exemplars, input.time_ms, symbols, out);
    }

    let samples = present.len();
    state.set_starts(&starts);
    (state.time_ms, state.present, state.changed) = (input.time_ms, present, changed);
    samples
}

/// The values of a frame by what is written of them.
#[derive(Default)]
struct Sorted<'a> {
    present: SlotSet,
    /// Floats that differ from the slot's last one.
    changed: SlotSet,
    histogram_slots: SlotSet,
    histograms: Vec<&'a Histogram>,
}

fn sort_values<'a>(state: &GroupState, values: &'a [FrameValue]) -> Sorted<'a> {
    let mut sorted = Sorted::default();
    for (slot, value) in (0..state.slots()).zip(values) {
        match value {
            FrameValue::Absent => continue,
            _ if state.removed.contains(slot) => continue,
            FrameValue::Float(v) => {
                if v.to_bits() != state.last[slot as usize] {
                    sorted.changed.insert(slot);
                }
            }
            FrameValue::Histogram(h) => {
                sorted.histogram_slots.insert(slot);
                sorted.histograms.push(h);
            }
        }
        sorted.present.insert(slot);
    }
    sorted
}

/// Reads the content of a frame and moves `state` to it.
pub(super) fn decode_frame(
    group: GroupId,
    state: &mut GroupState,
    content: &[u8],
    context: &mut BlockContext<'_>,
) -> Result<Frame, CodecError> {
    let mut reader = Reader::new("frame", content);
    let size = state.slots();
    let time_ms = state.time_ms.wrapping_add(reader.zigzag()?);
    let flags = reader.u8()?;
    if flags >= 2 * EXEMPLARS {
        return Err(reader.malformed("unknown flag"));
    }
    let body = reader.blob("bytes", BLOCK_BYTES_MAX)?;
    let mut bits = BitReader::new(body);
    let present = SlotSet::decode(&state.present, size, &mut bits)?;
    context.work.take(frame_work(size, present.len()))?;
    if present.iter().any(|slot| state.removed.contains(slot)) {
        return Err(malformed("a removed slot has a sample"));
    }
    let histogram_slots = match flags & HISTOGRAMS {
        0 => SlotSet::default(),
        _ => SlotSet::decode(&SlotSet::default(), size, &mut bits)?,
    };
    let changed = SlotSet::decode(&state.changed, size, &mut bits)?;
    let apart = changed.iter().all(|slot| !histogram_slots.contains(slot));
    if !apart || !changed.is_subset(&present) || !histogram_slots.is_subset(&present) {
        return Err(malformed("a value belongs to no sample"));
    }
    for slot in changed.iter() {
        state.decode_value(slot, &mut bits)?;
    }
    let (mut offsets, mut starts) = (Vec::new(), Vec::new());
    if flags & OFFSETS != 0 {
        offsets = decode_times(size, 0, OFFSET_K, &mut bits)?;
    }
    if flags & STARTS != 0 {
        starts = decode_times(size, time_ms, START_K, &mut bits)?;
    }
    bits.finish()?;
    if offsets.iter().chain(&starts).any(|(slot, _)| !present.contains(*slot)) {
        return Err(malformed("a time belongs to no sample"));
    }
    let histograms = match flags & HISTOGRAMS {
        0 => Vec::new(),
        _ => read_histograms(&histogram_slots, reader.blob("bytes", BLOCK_BYTES_MAX)?)?,
    };
    let exemplars = match flags & EXEMPLARS {
        0 => Vec::new(),
        _ => decode_exemplars(&mut reader, time_ms, &present, context)?,
    };
    reader.finish()?;
    let (slots, values) = floats(state, &present, &histogram_slots);
    state.set_starts(&starts);
    (state.time_ms, state.present, state.changed) = (time_ms, present, changed);
    let starts = state.starts.clone();
    Ok(Frame { group, time_ms, slots, values, offsets, histograms, starts, exemplars })
}

fn floats(
    state: &GroupState,
    present: &SlotSet,
    histograms: &SlotSet,
) -> (Option<Vec<u32>>, Vec<f64>) {
    if histograms.is_empty() && present.len() == state.last.len() {
        return (None, state.last.iter().map(|bits| f64::from_bits(*bits)).collect());
    }
    let slots: Vec<u32> = present.iter().filter(|slot| !histograms.contains(*slot)).collect();
    let values = slots.iter().map(|slot| f64::from_bits(state.last[*slot as usize])).collect();
    (Some(slots), values)
}

fn encode_times(times: &[(u32, i64)], size: u32, base: i64, k: u8, bits: &mut BitWriter) {
    if times.is_empty() {
        return;
    }
    let slots: SlotSet = times.iter().map(|(slot, _)| *slot).collect();
    slots.encode(&SlotSet::default(), size, bits);
    let (mut before, mut k) = (base, k);
    for (_, time) in times {
        bits.rice(zigzag(time.wrapping_sub(before)), &mut k);
        before = *time;
    }
}

fn decode_times(
    size: u32,
    base: i64,
    k: u8,
    bits: &mut BitReader<'_>,
) -> Result<Vec<(u32, i64)>, CodecError> {
    let slots = SlotSet::decode(&SlotSet::default(), size, bits)?;
    let (mut before, mut k) = (base, k);
    let mut times = Vec::with_capacity(slots.len());
    for slot in slots.iter() {
        before = before.wrapping_add(unzigzag(bits.rice(&mut k)?));
        times.push((slot, before));
    }
    Ok(times)
}

fn read_histograms(
    slots: &SlotSet,
    bytes: &[u8],
) -> Result<Vec<(u32, Arc<Histogram>)>, CodecError> {
    let histograms = decode_histograms(bytes)?;
    if histograms.len() != slots.len() {
        return Err(malformed("histograms and their slots differ in number"));
    }
    Ok(slots.iter().zip(histograms.into_iter().map(Arc::new)).collect())
}

fn encode_exemplars(
    exemplars: &[&(u32, Exemplar)],
    time_ms: i64,
    symbols: &mut Symbols,
    out: &mut Vec<u8>,
) {
    put_varint(out, exemplars.len() as u64);
    for (slot, exemplar) in exemplars {
        put_varint(out, u64::from(*slot));
        put_zigzag(out, exemplar.timestamp_ms.wrapping_sub(time_ms));
        put_f64(out, exemplar.value);
        put_varint(out, exemplar.labels.len() as u64);
        for (name, value) in &exemplar.labels {
            put_varint(out, symbols.id(name));
            put_varint(out, symbols.id(value));
        }
    }
}

fn decode_exemplars(
    reader: &mut Reader<'_>,
    time_ms: i64,
    present: &SlotSet,
    context: &mut BlockContext<'_>,
) -> Result<Vec<(u32, Exemplar)>, CodecError> {
    let count = reader.count_of("exemplars", EXEMPLARS_PER_FRAME_MAX, 11)?;
    let mut exemplars = Vec::new();
    for _ in 0..count {
        let slot = u32::try_from(reader.varint()?).ok().filter(|slot| present.contains(*slot));
        let slot = slot.ok_or_else(|| malformed("an exemplar belongs to no sample"))?;
        let timestamp_ms = time_ms.wrapping_add(reader.zigzag()?);
        let value = reader.f64()?;
        let mut pairs = Vec::new();
        for _ in 0..reader.count_of("pairs", PAIRS_MAX, 2)? {
            pairs.push(context.pair(reader)?);
        }
        let labels = context.labels(&pairs)?;
        exemplars.push((slot, Exemplar { labels, value, timestamp_ms }));
    }
    Ok(exemplars)
}

fn malformed(reason: &'static str) -> CodecError {
    CodecError::Malformed { what: "frame", at: 0, reason }
}
