//! The records of the disk buffer.
//!
//! ```text
//! file    = "PANDOBUF", u8 version = 1, record*
//! record  = u32 payload bytes, u32 samples, u32 crc32c of the 8 bytes before, u64 xxh3 of the payload, payload
//! payload = a write block (codec) that is based on nothing before it
//! ```
//!
//! Numbers are little endian. Two checksums: where the payload is damaged one record is lost, where the header is,
//! nothing behind it can be found.

use std::collections::BTreeMap;

use pando_codec::CodecError;
use pando_codec::write_block::{Decoder, Frame, GroupId, KeyedEncoder, Op};
use pando_model::{Labels, SampleValue, SeriesKey, TenantId};
use xxhash_rust::xxh3::xxh3_64;

use crate::batch::{Batch, ShipSample};
use crate::part::PartRef;

pub(super) const MAGIC: &[u8; 8] = b"PANDOBUF";
pub(super) const VERSION: u8 = 1;
pub(super) const FILE_HEADER_BYTES: usize = MAGIC.len() + 1;
pub(super) const RECORD_HEADER_BYTES: usize = 20;

/// What stands before a payload.
pub(super) struct Header {
    pub(super) samples: u32,
    hash: u64,
    /// Where the record ends.
    pub(super) end: usize,
}

impl Header {
    /// The batch of the record that begins at `at`; `None` where its payload is damaged.
    pub(super) fn batch(&self, bytes: &[u8], at: usize) -> Option<Batch> {
        let payload = bytes.get(at + RECORD_HEADER_BYTES..self.end)?;
        if xxh3_64(payload) == self.hash { decode(payload) } else { None }
    }
}

/// The version of a file that is one of ours.
pub(super) fn version_of(bytes: &[u8]) -> Option<u8> {
    bytes.strip_prefix(MAGIC)?.first().copied()
}

/// The record of a payload.
pub(super) fn record(payload: &[u8], samples: usize) -> Vec<u8> {
    let mut record = Vec::with_capacity(RECORD_HEADER_BYTES + payload.len());
    record.extend((payload.len() as u32).to_le_bytes());
    record.extend(u32::try_from(samples).unwrap_or(u32::MAX).to_le_bytes());
    record.extend(crc32c::crc32c(&record).to_le_bytes());
    record.extend(xxh3_64(payload).to_le_bytes());
    record.extend(payload);
    record
}

/// The header of the record that begins at `at`; `None` where there is none, or less than all of the record.
pub(super) fn header_at(bytes: &[u8], at: usize) -> Option<Header> {
    let header = bytes.get(at..at.checked_add(RECORD_HEADER_BYTES)?)?;
    let number = |at: usize| Some(u32::from_le_bytes(header.get(at..at + 4)?.try_into().ok()?));
    if number(8)? != crc32c::crc32c(header.get(..8)?) {
        return None;
    }
    let end = at.checked_add(RECORD_HEADER_BYTES)?.checked_add(number(0)? as usize)?;
    let hash = u64::from_le_bytes(header.get(12..20)?.try_into().ok()?);
    (end <= bytes.len()).then_some(Header { samples: number(4)?, hash, end })
}

/// One write block with all of a part, readable by itself; `None` where there is nothing in it.
pub(super) fn encode(tenant: &TenantId, part: PartRef<'_>) -> Result<Option<Vec<u8>>, CodecError> {
    let mut encoder = KeyedEncoder::new();
    part.push_to(&mut encoder, tenant)?;
    Ok(encoder.finish(u64::MAX))
}

/// The batch of a payload; `None` where it is none.
fn decode(payload: &[u8]) -> Option<Batch> {
    let block = Decoder::new().decode(payload);
    let block = block.inspect_err(|error| tracing::warn!(%error, "record is not a write block"));
    let mut tenant: Option<TenantId> = None;
    let mut series: BTreeMap<GroupId, Vec<Option<Labels>>> = BTreeMap::new();
    let (mut samples, mut metadata) = (Vec::new(), Vec::new());
    for op in block.ok()?.ops {
        match op {
            Op::Register { group, spec } => {
                tenant = Some(spec.tenant);
                series.insert(group, spec.series);
            }
            Op::Edit { group, added, .. } => {
                series.entry(group).or_default().extend(added.into_iter().map(Some));
            }
            Op::Frame(frame) => {
                let slots = series.get(&frame.group).map_or(&[][..], Vec::as_slice);
                push_frame(tenant.as_ref()?, slots, &frame, &mut samples);
            }
            Op::Metadata { tenant: owner, family, metadata: said } => {
                tenant = Some(owner);
                metadata.push((family, said));
            }
            Op::Drop { .. } => {}
        }
    }
    Some(Batch { tenant: tenant?, samples, metadata })
}

fn push_frame(
    tenant: &TenantId,
    slots: &[Option<Labels>],
    frame: &Frame,
    samples: &mut Vec<ShipSample>,
) {
    let floats = frame.floats().map(|(slot, value)| (slot, SampleValue::Float(value)));
    let histograms =
        frame.histograms.iter().map(|(slot, value)| (*slot, SampleValue::Histogram(value.clone())));
    for (slot, value) in floats.chain(histograms) {
        let Some(Some(labels)) = slots.get(slot as usize) else { continue };
        let offset = frame.offsets.binary_search_by_key(&slot, |(slot, _)| *slot);
        let offset_ms = offset.map_or(0, |at| frame.offsets[at].1);
        let starts = frame.starts.as_ref();
        let exemplars = frame.exemplars.iter().filter(|(of, _)| *of == slot);
        samples.push(ShipSample {
            labels: labels.clone(),
            key: SeriesKey::of(tenant, labels),
            timestamp_ms: frame.time_ms.wrapping_add(offset_ms),
            value,
            start_ms: starts.and_then(|starts| starts.get(slot as usize)).copied().unwrap_or(0),
            exemplars: exemplars.map(|(_, exemplar)| exemplar.clone()).collect(),
        });
    }
}
