//! `GroupState`: what both ends of a stream remember of a group: the base of its next frame.

use std::sync::Arc;

use pando_model::TenantId;
use pando_model::tenant::TENANT_BYTES_MAX;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::bits::{BitReader, BitWriter, K_MAX};
use super::slot_set::SlotSet;
use super::value_code::SlotCode;
use super::{GroupSpec, SLOTS_PER_GROUP_MAX};
use crate::error::CodecError;
use crate::varint::{Reader, put_bytes, put_text, put_varint, put_zigzag};

/// The state of a group after its last frame. Producer and shard hold equal ones, or the base differs.
#[derive(Clone, Debug)]
pub struct GroupState {
    pub(super) tenant: TenantId,
    /// Hash of the registration and of everything since.
    pub(super) chain: u32,
    pub(super) time_ms: i64,
    /// One entry per slot each; see [`SlotCode`].
    pub(super) last: Vec<u64>,
    forms: Vec<u8>,
    ks: Vec<u8>,
    /// Slots whose series was removed; they have no samples any more and are not used again.
    pub(super) removed: SlotSet,
    /// Slots that the last frame had a sample of.
    pub(super) present: SlotSet,
    pub(super) changed: SlotSet,
    pub(super) starts: Option<Arc<[i64]>>,
}

impl GroupState {
    fn new(tenant: TenantId) -> Self {
        GroupState {
            tenant,
            chain: 0,
            time_ms: 0,
            last: Vec::new(),
            forms: Vec::new(),
            ks: Vec::new(),
            removed: SlotSet::default(),
            present: SlotSet::default(),
            changed: SlotSet::default(),
            starts: None,
        }
    }

    /// The state right after a registration with the bytes `content`.
    pub(super) fn registered(spec: &GroupSpec, content: &[u8]) -> Self {
        let mut state = GroupState::new(spec.tenant.clone());
        state.grow(spec.series.len());
        for (slot, labels) in spec.series.iter().enumerate() {
            if labels.is_none() {
                state.remove(slot as u32);
            }
        }
        state.advance(content);
        state
    }

    /// The group's tenant.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The number of slots, removed ones included.
    pub fn slots(&self) -> u32 {
        self.last.len() as u32
    }

    /// The slots that the last frame had a sample of.
    pub fn present(&self) -> &SlotSet {
        &self.present
    }

    /// The time of the last frame, ms.
    pub fn time_ms(&self) -> i64 {
        self.time_ms
    }

    /// The hash that the next frame has to name as its base.
    pub fn chain(&self) -> u32 {
        self.chain
    }

    /// Bytes of heap.
    pub fn heap_bytes(&self) -> usize {
        let sets = [&self.removed, &self.present, &self.changed];
        self.last.capacity() * 8
            + self.forms.capacity()
            + self.ks.capacity()
            + sets.iter().map(|set| set.heap_bytes()).sum::<usize>()
            + self.starts.as_ref().map_or(0, |starts| starts.len() * 8)
    }

    /// Takes `content`, which both ends have seen, into the base.
    pub(super) fn advance(&mut self, content: &[u8]) {
        self.chain = xxh3_64_with_seed(content, u64::from(self.chain)) as u32;
    }

    /// Adds `count` slots.
    pub(super) fn grow(&mut self, count: usize) {
        let new = SlotCode::default();
        let slots = self.last.len() + count;
        self.last.resize(slots, new.last);
        self.forms.resize(slots, new.form);
        self.ks.resize(slots, new.k);
        if let Some(starts) = &self.starts {
            let grown = starts.iter().copied().chain(std::iter::repeat_n(0, count));
            self.starts = Some(grown.collect());
        }
    }

    /// Removes the series of `slot`.
    pub(super) fn remove(&mut self, slot: u32) {
        self.removed.insert(slot);
        self.present.remove(slot);
        self.changed.remove(slot);
    }

    fn code(&self, slot: u32) -> SlotCode {
        let at = slot as usize;
        SlotCode { last: self.last[at], form: self.forms[at], k: self.ks[at] }
    }

    fn set_code(&mut self, slot: u32, code: SlotCode) {
        let at = slot as usize;
        (self.last[at], self.forms[at], self.ks[at]) = (code.last, code.form, code.k);
    }

    pub(super) fn encode_value(&mut self, slot: u32, value: u64, out: &mut BitWriter) {
        let mut code = self.code(slot);
        code.encode(value, out);
        self.set_code(slot, code);
    }

    pub(super) fn decode_value(
        &mut self,
        slot: u32,
        bits: &mut BitReader<'_>,
    ) -> Result<(), CodecError> {
        let mut code = self.code(slot);
        code.decode(bits)?;
        self.set_code(slot, code);
        Ok(())
    }

    pub(super) fn start(&self, slot: u32) -> i64 {
        self.starts.as_ref().and_then(|s| s.get(slot as usize)).copied().unwrap_or(0)
    }

    pub(super) fn set_starts(&mut self, changed: &[(u32, i64)]) {
        if changed.is_empty() {
            return;
        }
        let mut starts = match &self.starts {
            Some(starts) => starts.to_vec(),
            None => vec![0; self.last.len()],
        };
        for (slot, start) in changed {
            starts[*slot as usize] = *start;
        }
        self.starts = Some(starts.into());
    }

    /// Appends the state to a checkpoint.
    pub(super) fn save(&self, out: &mut Vec<u8>) {
        put_text(out, self.tenant.as_str());
        out.extend(self.chain.to_le_bytes());
        put_zigzag(out, self.time_ms);
        put_varint(out, self.last.len() as u64);
        self.last.iter().for_each(|bits| out.extend(bits.to_le_bytes()));
        out.extend(&self.forms);
        out.extend(&self.ks);
        let mut bits = BitWriter::default();
        for set in [&self.removed, &self.present, &self.changed] {
            set.encode(&SlotSet::default(), self.slots(), &mut bits);
        }
        put_bytes(out, &bits.finish());
        out.push(u8::from(self.starts.is_some()));
        for start in self.starts.iter().flat_map(|starts| starts.iter()) {
            put_zigzag(out, *start);
        }
    }

    /// Reads what [`GroupState::save`] wrote.
    pub(super) fn load(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let tenant = TenantId::parse(reader.text("tenant bytes", TENANT_BYTES_MAX)?);
        let mut state = GroupState::new(tenant.map_err(|_| reader.malformed("bad tenant"))?);
        state.chain = reader.u32()?;
        state.time_ms = reader.zigzag()?;
        let slots = reader.count_of("slots", SLOTS_PER_GROUP_MAX, 10)?;
        let last = reader.bytes(slots * 8)?;
        state.last = last
            .chunks_exact(8)
            .map(|b| u64::from_le_bytes(b.try_into().expect("chunks of 8")))
            .collect();
        state.forms = reader.bytes(slots)?.to_vec();
        state.ks = reader.bytes(slots)?.to_vec();
        if !state.forms.iter().all(|form| SlotCode::is_form(*form))
            || state.ks.iter().any(|k| *k > K_MAX)
        {
            return Err(reader.malformed("bad slot"));
        }
        let mut bits = BitReader::new(reader.blob("slot sets", SLOTS_PER_GROUP_MAX)?);
        for set in [&mut state.removed, &mut state.present, &mut state.changed] {
            *set = SlotSet::decode(&SlotSet::default(), slots as u32, &mut bits)?;
        }
        if reader.u8()? == 1 {
            let starts: Result<Vec<i64>, _> = (0..slots).map(|_| reader.zigzag()).collect();
            state.starts = Some(starts?.into());
        }
        Ok(state)
    }
}
