//! Applying a write block: its place in its stream, whether it can be applied at all, then its operations.

use std::collections::BTreeSet;

use pando_codec::CodecError;
use pando_codec::entry::StreamBlock;
use pando_codec::write_block::{DecodeError, DecodedBlock, Frame, GroupId, GroupSpec, Op, verify};
use pando_model::{Labels, Sequence, SeriesKey, StreamId, TenantId};

use crate::frame_apply::FrameApply;
use crate::outcome::{BlockOutcome, Refusal, Verdicts, cut_short};
use crate::shard::Shard;
use crate::streams::{FIRST_SPECIAL, FORGOTTEN, Group, REMOVED, Stream, refused_row};
use crate::targets::{Target, Verdict};

/// Streams that a shard remembers; idle ones are forgotten at cuts.
pub const STREAMS_MAX: usize = 1 << 16;

impl Shard {
    /// Applies one block (INV-2).
    pub(crate) fn apply_block(&mut self, leader_time_ms: i64, block: &StreamBlock) -> BlockOutcome {
        let known = self.streams.remove(&block.stream);
        if self.sealed {
            self.streams.extend(known.map(|stream| (block.stream, stream)));
            return self.of_sealed(block.stream, block.sequence);
        }
        let is_new = known.is_none();
        let mut stream = known.unwrap_or_else(Stream::new);
        let outcome = match place(&stream, is_new, block) {
            Err(outcome) => outcome,
            Ok(()) if is_new && self.streams.len() >= STREAMS_MAX => {
                BlockOutcome::TooManyStreams { streams_max: STREAMS_MAX }
            }
            Ok(()) => self.apply_next(&mut stream, leader_time_ms, block),
        };
        let moved_on = matches!(outcome, BlockOutcome::Applied(_) | BlockOutcome::Malformed { .. });
        if moved_on {
            stream.moves_on(block.sequence, &outcome);
        }
        if moved_on || !is_new {
            self.streams.insert(block.stream, stream);
        }
        outcome
    }

    /// What a shard that is sealed says to a block: what it came to, or that it comes too late.
    pub fn of_sealed(&self, stream: StreamId, sequence: Sequence) -> BlockOutcome {
        match self.streams.get(&stream) {
            Some(known) if sequence < known.next => known.duplicate(sequence),
            known => BlockOutcome::Sealed { last: known.map(|s| Sequence(s.next.0 - 1)) },
        }
    }

    fn apply_next(
        &mut self,
        stream: &mut Stream,
        leader_time_ms: i64,
        block: &StreamBlock,
    ) -> BlockOutcome {
        if let Err(error) = verify(&block.bytes) {
            return BlockOutcome::Damaged { message: error.to_string() };
        }
        let decoded = match stream.decoder.decode(&block.bytes) {
            Ok(decoded) => decoded,
            Err(DecodeError::SendFull { groups }) => return BlockOutcome::SendFull { groups },
            Err(DecodeError::Codec(error)) => {
                return BlockOutcome::Malformed { message: cut_short(error.to_string()) };
            }
        };
        if let Some((tenant, key)) = self.moved(stream, &decoded) {
            return BlockOutcome::Moved { tenant, key };
        }
        let groups = forgotten(stream, &decoded);
        if !groups.is_empty() {
            return BlockOutcome::SendFull { groups };
        }
        let mut apply = BlockApply {
            shard: self,
            id: block.stream,
            stream,
            leader_time_ms,
            verdicts: Verdicts::default(),
        };
        for op in &decoded.ops {
            apply.op(op);
        }
        let verdicts = apply.verdicts;
        stream.decoder.commit(decoded);
        BlockOutcome::Applied(verdicts)
    }

    /// The first series of the block that is not the shard's.
    fn moved(&self, stream: &Stream, block: &DecodedBlock) -> Option<(TenantId, SeriesKey)> {
        let foreign = |tenant: &TenantId, labels: &Labels| {
            let key = SeriesKey::of(tenant, labels);
            (!self.rules.routes.contains(tenant, key)).then(|| (tenant.clone(), key))
        };
        if self.rules.routes == pando_codec::entry::Routes::Every {
            return None;
        }
        let mut registered: Vec<(GroupId, &TenantId)> = Vec::new();
        block.ops.iter().find_map(|op| match op {
            Op::Register { group, spec } => {
                registered.push((*group, &spec.tenant));
                spec.series.iter().flatten().find_map(|labels| foreign(&spec.tenant, labels))
            }
            Op::Edit { group, added, .. } => {
                let here = registered.iter().rev().find(|(g, _)| g == group).map(|(_, t)| *t);
                let tenant = here.or_else(|| stream.groups.get(group).map(|g| &g.tenant))?;
                added.iter().find_map(|labels| foreign(tenant, labels))
            }
            _ => None,
        })
    }
}

/// Whether `block` is the next one of its stream.
fn place(stream: &Stream, is_new: bool, block: &StreamBlock) -> Result<(), BlockOutcome> {
    let expected = stream.next;
    let from = match block.skip {
        Some((from, to)) if to.0.checked_add(1) == Some(block.sequence.0) => from,
        _ => block.sequence,
    };
    if block.sequence.0 == u64::MAX {
        return Err(BlockOutcome::Expect { expected });
    }
    if is_new {
        return if from == Sequence(1) { Ok(()) } else { Err(BlockOutcome::NewEpochNeeded) };
    }
    if block.sequence < expected {
        return Err(stream.duplicate(block.sequence));
    }
    if from > expected {
        return Err(BlockOutcome::Expect { expected });
    }
    Ok(())
}

/// Groups with samples of series that were forgotten at a cut.
fn forgotten(stream: &Stream, block: &DecodedBlock) -> Vec<GroupId> {
    let mut fresh = BTreeSet::new();
    let mut groups = Vec::new();
    for op in &block.ops {
        match op {
            Op::Register { group, .. } => {
                fresh.insert(*group);
            }
            Op::Frame(frame) if !fresh.contains(&frame.group) => {
                let Some(group) = stream.groups.get(&frame.group) else { continue };
                let is = |slot: u32| group.rows.get(slot as usize) == Some(&FORGOTTEN);
                if group.forgotten > 0
                    && (frame.floats().any(|(slot, _)| is(slot))
                        || frame.histograms.iter().any(|(slot, _)| is(*slot)))
                {
                    groups.push(frame.group);
                }
            }
            _ => {}
        }
    }
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// A block on its way into the state. Nothing can go wrong any more.
struct BlockApply<'a> {
    shard: &'a mut Shard,
    id: StreamId,
    stream: &'a mut Stream,
    leader_time_ms: i64,
    verdicts: Verdicts,
}

impl BlockApply<'_> {
    fn op(&mut self, op: &Op) {
        match op {
            Op::Register { group, spec } => self.register(*group, spec),
            Op::Edit { group, removed, added } => self.edit(*group, removed, added),
            Op::Drop { group } => self.drop(*group),
            Op::Frame(frame) => {
                if let Err(error) = self.frame(frame) {
                    // Samples in memory do not decode. The sample is dropped; the state hash will tell.
                    self.verdicts.note(|| format!("samples in memory are damaged: {error}"));
                }
            }
            Op::Metadata { tenant, family, metadata } => {
                if self.shard.rules.routes.has_tenant(tenant) {
                    let tenant = self.shard.tenants.entry(tenant.clone()).or_default();
                    tenant.note_metadata(family.clone(), metadata.clone());
                }
            }
        }
    }

    fn rows<'l>(
        &mut self,
        tenant: &TenantId,
        series: impl Iterator<Item = Option<&'l Labels>>,
    ) -> Vec<u32> {
        let limits = *self.shard.rules.limits(tenant);
        let state = self.shard.tenants.entry(tenant.clone()).or_default();
        series
            .map(|labels| match labels.map(|labels| state.register(tenant, labels, &limits)) {
                None => REMOVED,
                Some(Ok(row)) => row,
                Some(Err((reason, message))) => {
                    self.verdicts.note(|| message);
                    refused_row(reason)
                }
            })
            .collect()
    }

    fn register(&mut self, id: GroupId, spec: &GroupSpec) {
        self.drop(id);
        let rows = self.rows(&spec.tenant, spec.series.iter().map(Option::as_ref));
        let touched_ms = self.shard.newest_ms(&spec.tenant);
        let (tenant, target) = (spec.tenant.clone(), spec.target);
        let group = Group { tenant, target, rows, forgotten: 0, touched_ms, lane: None };
        self.stream.groups.insert(id, group);
    }

    fn edit(&mut self, id: GroupId, removed: &[u32], added: &[Labels]) {
        let Some(group) = self.stream.groups.get_mut(&id) else { return };
        for slot in removed {
            let row = &mut group.rows[*slot as usize];
            group.forgotten -= usize::from(*row == FORGOTTEN);
            *row = REMOVED;
        }
        let tenant = group.tenant.clone();
        let rows = self.rows(&tenant, added.iter().map(Some));
        if let Some(group) = self.stream.groups.get_mut(&id) {
            group.rows.extend(rows);
        }
    }

    fn drop(&mut self, id: GroupId) {
        let Some(group) = self.stream.groups.remove(&id) else { return };
        if let Some(target) = group.target
            && let Some(state) = self.shard.tenants.get_mut(&group.tenant)
        {
            let left = last_rows(self.stream, id, &group, state);
            state.targets.dropped(target, (self.id, id), left);
        }
    }

    fn frame(&mut self, frame: &Frame) -> Result<(), CodecError> {
        let Some(mut group) = self.stream.groups.remove(&frame.group) else { return Ok(()) };
        let done = self.frame_of(&mut group, frame);
        group.touched_ms = self.shard.newest_ms(&group.tenant);
        self.stream.groups.insert(frame.group, group);
        done
    }

    fn frame_of(&mut self, group: &mut Group, frame: &Frame) -> Result<(), CodecError> {
        let mut taken_over = None;
        let mut refuse_from_ms = None;
        if let Some(target) = group.target
            && !frame.is_empty()
            && self.is_in_time(group, frame)
            && let Some(state) = self.shard.tenants.get_mut(&group.tenant)
        {
            match state.targets.judge(target, (self.id, frame.group), frame.time_ms) {
                Verdict::Accept => {}
                Verdict::RefuseFrom(from_ms) => refuse_from_ms = Some(from_ms),
                Verdict::TakeOver(before) => taken_over = Some(before),
            }
        }
        let vanished = taken_over.map(|before| self.vanished(&before, group, frame));
        let limits = *self.shard.rules.limits(&group.tenant);
        let shard = &mut *self.shard;
        let (Some(open), Some(tenant)) =
            (shard.generations.back_mut(), shard.tenants.get_mut(&group.tenant))
        else {
            return Ok(());
        };
        let cut = open.cut;
        let part = open.tenants.entry(group.tenant.clone()).or_default();
        let lane = match group.lane {
            Some((c, lane)) if c == cut => lane,
            _ => part.add_lane(),
        };
        group.lane = Some((cut, lane));
        let mut apply = FrameApply {
            shard: shard.id,
            tenant_id: &group.tenant,
            tenant,
            part,
            digest: &mut open.digest,
            limits: &limits,
            leader_time_ms: self.leader_time_ms,
            refuse_from_ms,
            verdicts: &mut self.verdicts,
        };
        apply.apply(group, lane, frame)?;
        if let Some(vanished) = vanished {
            // Not the producer's samples: they are not among its verdicts.
            let before = apply.verdicts.clone();
            apply.end_series(&vanished, frame.time_ms)?;
            *apply.verdicts = before;
        }
        Ok(())
    }

    /// Whether the frame's time is one that will be accepted: nothing else may decide a hand-over.
    fn is_in_time(&self, group: &Group, frame: &Frame) -> bool {
        let newest = self.shard.newest_ms(&group.tenant);
        let window = self.shard.rules.limits(&group.tenant).out_of_order_window_ms;
        let ahead = self.leader_time_ms.saturating_add(crate::frame_apply::AHEAD_MS_MAX);
        (newest.saturating_sub(window)..=ahead).contains(&frame.time_ms)
    }

    /// The series of the target's former scraper that `frame` does not bring.
    fn vanished(&self, before: &Target, group: &Group, frame: &Frame) -> Vec<(u32, u64)> {
        let Some(tenant) = self.shard.tenants.get(&group.tenant) else { return Vec::new() };
        let had = match before.owner {
            None => before.left.clone(),
            Some((stream, id)) => {
                let stream = match stream == self.id {
                    true => Some(&*self.stream),
                    false => self.shard.streams.get(&stream),
                };
                let found = stream.and_then(|stream| Some((stream, stream.groups.get(&id)?)));
                found.map_or(Vec::new(), |(stream, group)| last_rows(stream, id, group, tenant))
            }
        };
        let slots = frame.floats().map(|(slot, _)| slot);
        let slots = slots.chain(frame.histograms.iter().map(|(slot, _)| *slot));
        let here: BTreeSet<u32> = slots.map(|slot| group.rows[slot as usize]).collect();
        had.into_iter().filter(|(row, _)| !here.contains(row)).collect()
    }
}

/// The series that the group's last frame had samples of, as (row, low half of the hash).
fn last_rows(
    stream: &Stream,
    id: GroupId,
    group: &Group,
    tenant: &crate::tenant::Tenant,
) -> Vec<(u32, u64)> {
    let Some(state) = stream.decoder.group(id) else { return Vec::new() };
    let rows = state.present().iter().filter_map(|slot| group.rows.get(slot as usize));
    let rows = rows.filter(|row| **row < FIRST_SPECIAL);
    rows.map(|row| (*row, tenant.series.hash(*row) as u64)).collect()
}

/// A refusal that stands for a whole series is counted sample by sample as frames bring them.
const _: () = assert!(Refusal::ALL.len() < 14);
