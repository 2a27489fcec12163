//! `Encoder`: the producer's end of one stream.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pando_model::{Labels, Metadata, TenantId};
use xxhash_rust::xxh3::xxh3_64;

use super::frame::{FrameInput, encode_frame};
use super::group_state::GroupState;
use super::series_list::{Symbols, encode_series_list};
use super::{
    GROUPS_PER_STREAM_MAX, GroupId, GroupSpec, SLOTS_PER_GROUP_MAX, UNDER_WAY_MAX, VERSION,
    frame_work,
};
use crate::error::CodecError;
use crate::varint::{put_bytes, put_varint};

pub(super) const REGISTER: u8 = 0;
pub(super) const EDIT: u8 = 1;
pub(super) const FRAME: u8 = 2;
pub(super) const DROP: u8 = 3;
pub(super) const METADATA: u8 = 4;

/// Encodes the blocks of one stream, in order. Groups may belong to any tenant.
///
/// What is pushed gathers in the open block until [`Encoder::finish`] ends it. A registration is written
/// together with the group's first frame, so that groups without samples cost nothing. Group ids are never given
/// twice, until there were 2^32: a frame that is based on a group which the shard has never seen fits no other one.
#[derive(Debug, Default)]
pub struct Encoder {
    groups: BTreeMap<u32, Group>,
    next_group: u32,
    symbols: Symbols,
    ops: Vec<u8>,
    op_count: u64,
    samples: usize,
    work: usize,
    /// The groups that something was pushed of in the open block.
    touched: BTreeSet<u32>,
    /// The groups that the open block drops, and those of the [`UNDER_WAY_MAX`] blocks before it, the newest last.
    dropped: VecDeque<Vec<GroupId>>,
}

#[derive(Debug)]
struct Group {
    spec: GroupSpec,
    removed: usize,
    /// What the shard knows of the group; `None`: nothing that is certain, the next frame is full.
    state: Option<GroupState>,
    /// Whether a registration was written: the shard may know the group.
    told: bool,
}

impl Encoder {
    /// The encoder of a new stream.
    pub fn new() -> Self {
        Encoder::default()
    }

    /// Adds a group; its slots are `spec.series` in order. Refused beyond [`SLOTS_PER_GROUP_MAX`] series or
    /// [`GROUPS_PER_STREAM_MAX`] groups.
    pub fn register(&mut self, spec: GroupSpec) -> Result<GroupId, CodecError> {
        check_slots(spec.series.len())?;
        let (found, max) = (self.groups.len() as u64 + 1, GROUPS_PER_STREAM_MAX as u64);
        if found > max {
            let (what, limit) = ("write block", "groups per stream");
            return Err(CodecError::Limit { what, limit, found, max });
        }
        let id = self.next_group;
        self.next_group = self.next_group.wrapping_add(1);
        let removed = spec.series.iter().filter(|labels| labels.is_none()).count();
        self.groups.insert(id, Group { spec, removed, state: None, told: false });
        Ok(GroupId(id))
    }

    /// Removes the series of the slots `removed` and adds `added`; returns the slot of the first added one.
    /// Slots of removed series stay empty: see [`Encoder::removed_slots`].
    pub fn edit(
        &mut self,
        group: GroupId,
        removed: &[u32],
        added: Vec<Labels>,
    ) -> Result<u32, CodecError> {
        let entry = self.groups.get_mut(&group.0).expect("the group was registered here");
        let first = entry.spec.series.len();
        check_slots(first + added.len())?;
        let mut gone: Vec<u32> = removed.to_vec();
        gone.sort_unstable();
        gone.retain(|slot| {
            entry.spec.series.get_mut(*slot as usize).is_some_and(|labels| labels.take().is_some())
        });
        entry.removed += gone.len();
        let added: Vec<Option<Labels>> = added.into_iter().map(Some).collect();
        if let Some(state) = &mut entry.state
            && !(gone.is_empty() && added.is_empty())
        {
            self.ops.push(EDIT);
            put_varint(&mut self.ops, u64::from(group.0));
            self.ops.extend(state.chain.to_le_bytes());
            let start = self.ops.len();
            put_varint(&mut self.ops, gone.len() as u64);
            let mut next = 0;
            for slot in gone {
                put_varint(&mut self.ops, u64::from(slot - next));
                next = slot + 1;
                state.remove(slot);
            }
            encode_series_list(&added, &mut self.symbols, &mut self.ops);
            state.grow(added.len());
            state.advance(&self.ops[start..]);
            self.op_count += 1;
            self.touched.insert(group.0);
        }
        entry.spec.series.extend(added);
        Ok(first as u32)
    }

    /// The number of slots whose series was removed. Where most are, drop the group and register it anew.
    pub fn removed_slots(&self, group: GroupId) -> usize {
        self.groups.get(&group.0).map_or(0, |group| group.removed)
    }

    /// What `group` consists of; `None` where it was dropped.
    pub fn group(&self, group: GroupId) -> Option<&GroupSpec> {
        self.groups.get(&group.0).map(|group| &group.spec)
    }

    /// Writes the group's next frame. Returns its number of samples; a frame without any is written too, for
    /// it ends what was present.
    ///
    /// # Panics
    /// Where `group` is not a group of this encoder.
    pub fn push_frame(&mut self, group: GroupId, frame: &FrameInput<'_>) -> usize {
        let entry = self.groups.get_mut(&group.0).expect("the group was registered here");
        let state = match &mut entry.state {
            Some(state) => state,
            unknown => {
                self.op_count += 1;
                entry.told = true;
                unknown.insert(write_register(group, &entry.spec, &mut self.symbols, &mut self.ops))
            }
        };
        let mut content = Vec::new();
        let base = state.chain;
        let samples = encode_frame(state, frame, &mut self.symbols, &mut content);
        state.advance(&content);
        self.ops.push(FRAME);
        put_varint(&mut self.ops, u64::from(group.0));
        self.ops.extend(base.to_le_bytes());
        put_bytes(&mut self.ops, &content);
        self.op_count += 1;
        self.touched.insert(group.0);
        self.samples += samples;
        self.work += frame_work(state.slots(), samples);
        samples
    }

    /// Says what is known of a metric family. The shard keeps the last word; say it once, and again where it
    /// changes.
    pub fn push_metadata(&mut self, tenant: &TenantId, family: &str, metadata: &Metadata) {
        self.ops.push(METADATA);
        for text in [tenant.as_str(), family] {
            put_varint(&mut self.ops, self.symbols.id(text));
        }
        self.ops.push(metadata.metric_type as u8);
        for text in [&metadata.unit, &metadata.help] {
            put_varint(&mut self.ops, self.symbols.id(text));
        }
        self.op_count += 1;
    }

    /// Makes the group's next frame a full one: registration and absolute values. For the answer "send full".
    pub fn force_full(&mut self, group: GroupId) {
        if let Some(group) = self.groups.get_mut(&group.0) {
            group.state = None;
        }
    }

    /// [`Encoder::force_full`] of every group, where the blocks under way are not what the shard expects. Groups that
    /// these drop are dropped by the next one: to drop what is not known does no harm.
    pub fn force_full_all(&mut self) {
        self.groups.values_mut().for_each(|group| group.state = None);
        std::mem::take(&mut self.dropped).into_iter().flatten().for_each(|id| self.push_drop(id));
    }

    /// Forgets a group, here and in the shard.
    pub fn drop_group(&mut self, group: GroupId) {
        if self.groups.remove(&group.0).is_some_and(|group| group.told) {
            self.push_drop(group);
        }
    }

    fn push_drop(&mut self, group: GroupId) {
        self.ops.push(DROP);
        put_varint(&mut self.ops, u64::from(group.0));
        self.op_count += 1;
        match self.dropped.back_mut() {
            Some(open) => open.push(group),
            None => self.dropped.push_back(vec![group]),
        }
    }

    /// Bytes of the open block so far.
    pub fn pending_bytes(&self) -> usize {
        self.ops.len() + self.symbols.len_bytes()
    }

    /// What the frames of the open block unfold to so far: see [`WORK_PER_BLOCK_MAX`].
    pub fn pending_work(&self) -> usize {
        self.work
    }

    /// Ends the open block; `None` where nothing was pushed.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        if self.op_count == 0 {
            return None;
        }
        let mut out = Vec::with_capacity(self.pending_bytes() + 32);
        out.push(VERSION);
        self.symbols.drain_to(&mut out);
        put_varint(&mut out, self.op_count);
        out.append(&mut self.ops);
        out.extend(xxh3_64(&out).to_le_bytes());
        (self.op_count, self.samples, self.work) = (0, 0, 0);
        self.touched.clear();
        self.dropped.push_back(Vec::new());
        if self.dropped.len() > 1 + UNDER_WAY_MAX {
            self.dropped.pop_front();
        }
        Some(out)
    }

    /// Throws the open block away. Groups that it dropped are dropped by the next one; the next frames of the others
    /// that something was pushed of are full.
    pub fn abandon(&mut self) {
        self.ops.clear();
        self.symbols.clear();
        (self.op_count, self.samples, self.work) = (0, 0, 0);
        for id in std::mem::take(&mut self.touched) {
            self.force_full(GroupId(id));
        }
        let dropped = self.dropped.back_mut().map(std::mem::take).unwrap_or_default();
        dropped.into_iter().for_each(|group| self.push_drop(group));
    }
}

fn check_slots(found: usize) -> Result<(), CodecError> {
    if found > SLOTS_PER_GROUP_MAX {
        return Err(CodecError::Limit {
            what: "write block",
            limit: "series per group",
            found: found as u64,
            max: SLOTS_PER_GROUP_MAX as u64,
        });
    }
    Ok(())
}

fn write_register(
    group: GroupId,
    spec: &GroupSpec,
    symbols: &mut Symbols,
    out: &mut Vec<u8>,
) -> GroupState {
    out.push(REGISTER);
    let start = out.len();
    put_varint(out, u64::from(group.0));
    put_varint(out, symbols.id(spec.tenant.as_str()));
    out.push(u8::from(spec.target.is_some()));
    if let Some(target) = &spec.target {
        out.extend(target.target.to_le_bytes());
        put_varint(out, target.epoch.0);
    }
    encode_series_list(&spec.series, symbols, out);
    GroupState::registered(spec, &out[start..])
}
