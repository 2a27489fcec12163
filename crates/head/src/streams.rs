//! `Streams`: what the shard remembers of its producers: the next sequence, what the last blocks came to, and the
//! groups' registrations and last frames.

use std::collections::{BTreeMap, VecDeque};

use pando_codec::varint::{put_text, put_varint, put_zigzag};
use pando_codec::write_block::{
    Decoder, GROUPS_PER_STREAM_MAX, GroupId, TargetEpoch, UNDER_WAY_MAX,
};
use pando_codec::{CodecError, Reader};
use pando_model::tenant::TENANT_BYTES_MAX;
use pando_model::{Cut, Epoch, ProducerId, Sequence, StreamId, TenantId};

use crate::outcome::{BlockOutcome, Judged, Refusal};

/// Numbers from here on are no rows: see the constants and [`refused_row`].
pub(crate) const FIRST_SPECIAL: u32 = u32::MAX - 15;
/// The series of the slot was removed by its producer.
pub(crate) const REMOVED: u32 = u32::MAX;
/// The series was forgotten at a cut, or may be accepted now: a sample of it needs a full frame.
pub(crate) const FORGOTTEN: u32 = u32::MAX - 1;

/// What stands for a row where the series was refused for `reason`.
pub(crate) fn refused_row(reason: Refusal) -> u32 {
    FIRST_SPECIAL + reason as u32
}

/// Why the series of a slot was refused, where it was.
pub(crate) fn refusal_of(row: u32) -> Option<Refusal> {
    Refusal::ALL.get(row.checked_sub(FIRST_SPECIAL)? as usize).copied()
}

/// A group of a stream.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) tenant: TenantId,
    pub(crate) target: Option<TargetEpoch>,
    /// The row of each slot, or a special number.
    pub(crate) rows: Vec<u32>,
    /// Slots that are [`FORGOTTEN`].
    pub(crate) forgotten: usize,
    /// The tenant's newest sample time when the group was last written, ms.
    pub(crate) touched_ms: i64,
    /// The generation and lane that its frames go to.
    pub(crate) lane: Option<(Cut, u32)>,
}

/// One producer's stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) next: Sequence,
    pub(crate) decoder: Decoder,
    pub(crate) groups: BTreeMap<GroupId, Group>,
    /// Whether a block came since the last cut.
    pub(crate) used: bool,
    /// What the blocks of the last [`UNDER_WAY_MAX`] sequences came to, where it is not that every sample was
    /// accepted.
    judged: VecDeque<(Sequence, Judged)>,
}

/// What the flags of a stream in a checkpoint mean.
const USED: u8 = 1;
const HAS_JUDGED: u8 = 2;

impl Stream {
    pub(crate) fn new() -> Self {
        let (decoder, groups) = (Decoder::new(), BTreeMap::new());
        Stream { next: Sequence(1), decoder, groups, used: false, judged: VecDeque::new() }
    }

    /// Takes note of what the next block came to, and moves on.
    pub(crate) fn moves_on(&mut self, sequence: Sequence, outcome: &BlockOutcome) {
        self.next = sequence.next();
        self.used = true;
        let past = |(old, _): &(Sequence, Judged)| old.0 + UNDER_WAY_MAX as u64 <= sequence.0;
        while self.judged.front().is_some_and(past) {
            self.judged.pop_front();
        }
        self.judged.extend(Judged::of(outcome).map(|judged| (sequence, judged)));
    }

    /// The outcome of a block that was applied before.
    pub(crate) fn duplicate(&self, sequence: Sequence) -> BlockOutcome {
        let judged = self.judged.iter().find(|(of, _)| *of == sequence);
        let judged = judged.map(|(_, judged)| judged.clone());
        BlockOutcome::Duplicate { expected: self.next, judged }
    }

    /// The blocks that are remembered.
    pub(crate) fn judged(&self) -> impl Iterator<Item = Sequence> {
        self.judged.iter().map(|(sequence, _)| *sequence)
    }

    /// Forgets groups whose tenant's sample time has gone on for `idle_ms` without them, then series that are
    /// not active any more. `newest` and `active` speak of the tenants' state.
    pub(crate) fn forget(
        &mut self,
        idle_ms: i64,
        newest: impl Fn(&TenantId) -> i64,
        active: impl Fn(&TenantId, u32) -> bool,
    ) {
        let decoder = &mut self.decoder;
        self.groups.retain(|id, group| {
            let kept = newest(&group.tenant).saturating_sub(group.touched_ms) <= idle_ms;
            if !kept {
                decoder.forget(*id);
            }
            kept
        });
        for group in self.groups.values_mut() {
            for row in &mut group.rows {
                // There may be room for a series now that was one too many.
                let retry = refusal_of(*row) == Some(Refusal::SeriesLimit);
                if retry || (*row < FIRST_SPECIAL && !active(&group.tenant, *row)) {
                    *row = FORGOTTEN;
                    group.forgotten += 1;
                }
            }
        }
    }

    /// Bytes of heap, estimated.
    pub(crate) fn heap_bytes(&self) -> usize {
        let groups = self.groups.values();
        let judged = self.judged.iter();
        self.decoder.heap_bytes()
            + judged.map(|(_, j)| j.heap_bytes() + size_of::<(Sequence, Judged)>()).sum::<usize>()
            + groups.map(|group| group.rows.capacity() * 4 + size_of::<Group>() + 16).sum::<usize>()
    }

    /// Appends the stream to a checkpoint.
    pub(crate) fn save(&self, id: StreamId, out: &mut Vec<u8>) {
        out.extend(id.producer.0.to_le_bytes());
        put_varint(out, id.epoch.0);
        put_varint(out, self.next.0);
        let has_judged = !self.judged.is_empty();
        out.push((u8::from(self.used) * USED) | (u8::from(has_judged) * HAS_JUDGED));
        if has_judged {
            put_varint(out, self.judged.len() as u64);
            for (sequence, judged) in &self.judged {
                put_varint(out, sequence.0);
                judged.save(out);
            }
        }
        self.decoder.save(out);
        put_varint(out, self.groups.len() as u64);
        for (id, group) in &self.groups {
            put_varint(out, u64::from(id.0));
            put_text(out, group.tenant.as_str());
            out.push(u8::from(group.target.is_some()) | u8::from(group.lane.is_some()) << 1);
            if let Some(target) = &group.target {
                out.extend(target.target.to_le_bytes());
                put_varint(out, target.epoch.0);
            }
            if let Some((cut, lane)) = group.lane {
                put_varint(out, cut.0);
                put_varint(out, u64::from(lane));
            }
            put_zigzag(out, group.touched_ms);
            put_varint(out, group.rows.len() as u64);
            group.rows.iter().for_each(|row| out.extend(row.to_le_bytes()));
        }
    }

    /// Reads what [`Stream::save`] wrote; rows are checked by the caller.
    pub(crate) fn load(reader: &mut Reader<'_>) -> Result<(StreamId, Stream), CodecError> {
        let producer = ProducerId(reader.u64()?);
        let id = StreamId { producer, epoch: Epoch(reader.varint()?) };
        let next = Sequence(reader.varint()?);
        let flags = reader.u8()?;
        if flags & !(USED | HAS_JUDGED) != 0 {
            return Err(reader.malformed("unknown flags of a stream"));
        }
        let mut judged = VecDeque::new();
        if flags & HAS_JUDGED != 0 {
            for _ in 0..reader.count_of("judged blocks", UNDER_WAY_MAX, 3)? {
                judged.push_back((Sequence(reader.varint()?), Judged::load(reader)?));
            }
        }
        let decoder = Decoder::load(reader)?;
        let mut groups = BTreeMap::new();
        for _ in 0..reader.count_of("groups", GROUPS_PER_STREAM_MAX, 6)? {
            let id = GroupId(reader.varint_u32()?);
            let tenant = TenantId::parse(reader.text("tenant bytes", TENANT_BYTES_MAX)?)
                .map_err(|_| reader.malformed("bad tenant"))?;
            let flags = reader.u8()?;
            let (mut target, mut lane) = (None, None);
            if flags & 1 != 0 {
                let id = reader.u64()?;
                target = Some(TargetEpoch { target: id, epoch: Epoch(reader.varint()?) });
            }
            if flags & 2 != 0 {
                lane = Some((Cut(reader.varint()?), reader.varint_u32()?));
            }
            let touched_ms = reader.zigzag()?;
            let count = reader.count_of("slots", u32::MAX as usize, 4)?;
            let rows: Result<Vec<u32>, _> = (0..count).map(|_| reader.u32()).collect();
            let rows = rows?;
            if decoder.group(id).is_none_or(|state| state.slots() as usize != rows.len()) {
                return Err(reader.malformed("a group's rows are not those of its slots"));
            }
            let forgotten = rows.iter().filter(|row| **row == FORGOTTEN).count();
            groups.insert(id, Group { tenant, target, rows, forgotten, touched_ms, lane });
        }
        if next.0 == 0 || decoder.groups().count() != groups.len() {
            return Err(reader.malformed("a stream contradicts itself"));
        }
        Ok((id, Stream { next, decoder, groups, used: flags & USED != 0, judged }))
    }
}
