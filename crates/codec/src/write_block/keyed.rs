//! `KeyedEncoder`: finds the groups in samples that come without any, as remote write and OTLP bring them.
//!
//! Samples of one tenant whose keys have one high half come from one target. They share a group, whose series
//! are learnt from the samples; each distinct time is a frame, in which the other series are absent. Where
//! nearly every sample has a time of its own, a frame takes one sample of each series, with offsets instead.

use std::collections::BTreeMap;
use std::collections::HashMap;

use pando_model::{Exemplar, Labels, SampleValue, TenantId};

use super::encoder::Encoder;
use super::frame::{FrameInput, FrameValue};
use super::{GROUPS_PER_STREAM_MAX, GroupId, GroupSpec};
use crate::error::CodecError;

/// Below this many samples for each distinct time, offsets are cheaper than frames.
const SAMPLES_PER_TIME_MIN: usize = 4;

/// One sample that is pushed.
#[derive(Clone, Debug)]
pub struct KeyedSample<'a> {
    /// The series.
    pub labels: &'a Labels,
    /// Time, ms.
    pub timestamp_ms: i64,
    /// Value.
    pub value: SampleValue,
    /// Start timestamp, ms; 0: unknown.
    pub start_ms: i64,
    /// Exemplars that came with it.
    pub exemplars: &'a [Exemplar],
}

#[derive(Debug)]
struct Group {
    id: GroupId,
    slots: HashMap<Labels, u32>,
    /// For each slot, the block that last had a sample of it.
    used: Vec<u64>,
    last_used: u64,
}

/// An [`Encoder`] whose groups are (tenant, high half of the key). Where there are as many as a stream can have, those
/// go that were idle for longest.
#[derive(Debug)]
pub struct KeyedEncoder {
    encoder: Encoder,
    groups: BTreeMap<(TenantId, u32), Group>,
    groups_max: usize,
    block: u64,
}

impl Default for KeyedEncoder {
    fn default() -> Self {
        KeyedEncoder {
            encoder: Encoder::new(),
            groups: BTreeMap::new(),
            groups_max: GROUPS_PER_STREAM_MAX,
            block: 0,
        }
    }
}

impl KeyedEncoder {
    /// The encoder of a new stream.
    pub fn new() -> Self {
        KeyedEncoder::default()
    }

    /// The encoder below, to push metadata and groups that are known, and to ask whether it is full.
    pub fn encoder(&mut self) -> &mut Encoder {
        &mut self.encoder
    }

    /// Writes samples of one tenant whose keys have the high half `half`, in any order. Of samples with equal
    /// series and time all are written, so that the shard can judge them.
    pub fn push(
        &mut self,
        tenant: &TenantId,
        half: u32,
        samples: &[KeyedSample<'_>],
    ) -> Result<(), CodecError> {
        let (id, slots) = self.slots_of(tenant, half, samples)?;
        let mut order: Vec<usize> = (0..samples.len()).collect();
        order.sort_by_key(|i| (samples[*i].timestamp_ms, slots[*i]));
        let times = order.chunk_by(|a, b| samples[*a].timestamp_ms == samples[*b].timestamp_ms);
        if times.count() * SAMPLES_PER_TIME_MIN > samples.len() && samples.len() > 1 {
            order.sort_by_key(|i| (slots[*i], samples[*i].timestamp_ms));
            // The n-th sample of every series goes into the n-th frame.
            let (mut nth, mut before) = (vec![0usize; samples.len()], None);
            for i in &order {
                nth[*i] =
                    before.filter(|b| slots[*b] == slots[*i]).map_or(0, |b: usize| nth[b] + 1);
                before = Some(*i);
            }
            order.sort_by_key(|i| (nth[*i], slots[*i]));
            for frame in order.chunk_by(|a, b| nth[*a] == nth[*b]) {
                self.push_frame(id, samples, &slots, frame);
            }
        } else {
            let same = |a: &usize, b: &usize| samples[*a].timestamp_ms == samples[*b].timestamp_ms;
            let runs: Vec<&[usize]> = order.chunk_by(same).collect();
            for run in runs {
                // A series twice at one time needs a frame for each.
                for frame in run.chunk_by(|a, b| slots[*a] != slots[*b]) {
                    self.push_frame(id, samples, &slots, frame);
                }
            }
        }
        Ok(())
    }

    /// The group's next frames are full: for the answer "send full".
    pub fn force_full(&mut self, group: GroupId) {
        self.encoder.force_full(group);
    }

    /// Forgets the group of `tenant` and `half`, here and in the shard: the next sample of it begins a new one.
    pub fn forget(&mut self, tenant: &TenantId, half: u32) {
        if let Some(group) = self.groups.remove(&(tenant.clone(), half)) {
            self.encoder.drop_group(group.id);
        }
    }

    /// Ends the open block; `None` where nothing was pushed. Series and groups without a sample in the last
    /// `idle_blocks_max` blocks are forgotten now and then.
    pub fn finish(&mut self, idle_blocks_max: u64) -> Option<Vec<u8>> {
        let block = self.encoder.finish()?;
        self.block += 1;
        if self.block.is_multiple_of(idle_blocks_max.max(16)) {
            self.forget_idle(self.block.saturating_sub(idle_blocks_max));
        }
        Some(block)
    }

    /// Throws the open block away: see [`Encoder::abandon`].
    pub fn abandon(&mut self) {
        self.encoder.abandon();
    }

    fn slots_of(
        &mut self,
        tenant: &TenantId,
        half: u32,
        samples: &[KeyedSample<'_>],
    ) -> Result<(GroupId, Vec<u32>), CodecError> {
        let key = (tenant.clone(), half);
        let block = self.block;
        if !self.groups.contains_key(&key) {
            if self.groups.len() >= self.groups_max {
                self.forget_oldest(self.groups_max.div_ceil(16));
            }
            let spec = GroupSpec { tenant: tenant.clone(), target: None, series: Vec::new() };
            let id = self.encoder.register(spec)?;
            let group = Group { id, slots: HashMap::new(), used: Vec::new(), last_used: block };
            self.groups.insert(key.clone(), group);
        }
        let group = self.groups.get_mut(&key).expect("it was added above");
        group.last_used = block;
        let mut added: Vec<Labels> = Vec::new();
        let mut slots = Vec::with_capacity(samples.len());
        for sample in samples {
            let slot = match group.slots.get(sample.labels) {
                Some(slot) => *slot,
                None => {
                    let slot = group.used.len() as u32;
                    group.slots.insert(sample.labels.clone(), slot);
                    group.used.push(block);
                    added.push(sample.labels.clone());
                    slot
                }
            };
            group.used[slot as usize] = block;
            slots.push(slot);
        }
        if !added.is_empty()
            && let Err(error) = self.encoder.edit(group.id, &[], added)
        {
            // Nothing of the group is certain now; the next push begins a new one.
            self.encoder.drop_group(group.id);
            self.groups.remove(&key);
            return Err(error);
        }
        Ok((group.id, slots))
    }

    /// Writes the samples `frame`, ascending and distinct slots.
    fn push_frame(
        &mut self,
        id: GroupId,
        samples: &[KeyedSample<'_>],
        slots: &[u32],
        frame: &[usize],
    ) {
        let Some(last) = frame.last() else { return };
        let time_ms = frame.iter().map(|i| samples[*i].timestamp_ms).min().unwrap_or(0);
        let mut values = vec![FrameValue::Absent; slots[*last] as usize + 1];
        let (mut offsets, mut starts, mut exemplars) = (Vec::new(), Vec::new(), Vec::new());
        for i in frame {
            let (slot, sample) = (slots[*i], &samples[*i]);
            values[slot as usize] = match &sample.value {
                SampleValue::Float(v) => FrameValue::Float(*v),
                SampleValue::Histogram(h) => FrameValue::Histogram(h.clone()),
            };
            if sample.timestamp_ms != time_ms {
                offsets.push((slot, sample.timestamp_ms.wrapping_sub(time_ms)));
            }
            starts.push((slot, sample.start_ms));
            exemplars.extend(sample.exemplars.iter().map(|e| (slot, e.clone())));
        }
        let input = FrameInput {
            time_ms,
            values: &values,
            offsets: &offsets,
            starts: &starts,
            exemplars: &exemplars,
        };
        self.encoder.push_frame(id, &input);
    }

    fn forget_oldest(&mut self, count: usize) {
        let mut oldest: Vec<_> =
            self.groups.iter().map(|(key, g)| (g.last_used, key.clone())).collect();
        oldest.sort_unstable();
        for (_, (tenant, half)) in oldest.into_iter().take(count) {
            self.forget(&tenant, half);
        }
    }

    fn forget_idle(&mut self, since: u64) {
        let encoder = &mut self.encoder;
        self.groups.retain(|_, group| {
            if group.last_used < since {
                encoder.drop_group(group.id);
                return false;
            }
            let mut idle: Vec<u32> = group.slots.values().copied().collect();
            idle.retain(|slot| group.used[*slot as usize] < since);
            if encoder.removed_slots(group.id) + idle.len() > group.used.len() / 2 {
                // Mostly holes: begin anew with the next sample.
                encoder.drop_group(group.id);
                return false;
            }
            group.slots.retain(|_, slot| group.used[*slot as usize] >= since);
            encoder.edit(group.id, &idle, Vec::new()).is_ok()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Decoder, Op};
    use super::*;

    fn push(encoder: &mut KeyedEncoder, half: u32, name: &str) {
        let labels = Labels::from_pairs([("__name__", name)]);
        let (value, exemplars) = (SampleValue::Float(1.0), &[][..]);
        let sample =
            KeyedSample { labels: &labels, timestamp_ms: 1, value, start_ms: 0, exemplars };
        encoder.push(&TenantId::default_tenant(), half, &[sample]).expect("there is room");
    }

    #[test]
    fn more_groups_than_a_stream_can_have_make_room_for_each_other() {
        let mut encoder = KeyedEncoder { groups_max: 32, ..KeyedEncoder::new() };
        let mut decoder = Decoder::new();
        for half in 0..100 {
            push(&mut encoder, half, &format!("m{half}"));
            let block = encoder.finish(u64::MAX).expect("a sample");
            let decoded = decoder.decode(&block).expect("it fits");
            decoder.commit(decoded);
            assert!(decoder.groups().count() <= 32);
        }
        let kept: Vec<u32> = encoder.groups.keys().map(|(_, half)| *half).collect();
        assert_eq!(kept, (100 - kept.len() as u32..100).collect::<Vec<_>>());
    }

    /// Otherwise a shard would have ever more groups that nobody knows of, until it takes no new ones.
    #[test]
    fn a_block_that_is_thrown_away_forgets_no_drop() {
        let mut encoder = KeyedEncoder::new();
        let mut decoder = Decoder::new();
        let mut take = |block: Vec<u8>| {
            let decoded = decoder.decode(&block).expect("it fits");
            decoder.commit(decoded);
            decoder.groups().count()
        };
        push(&mut encoder, 1, "a");
        push(&mut encoder, 2, "b");
        assert_eq!(take(encoder.finish(u64::MAX).expect("samples")), 2);
        encoder.forget(&TenantId::default_tenant(), 1);
        push(&mut encoder, 3, "c");
        encoder.abandon();
        encoder.forget(&TenantId::default_tenant(), 3);
        encoder.abandon();
        push(&mut encoder, 2, "b");
        assert_eq!(take(encoder.finish(u64::MAX).expect("a sample")), 1);
        push(&mut encoder, 2, "b");
        let block = encoder.finish(u64::MAX).expect("a sample");
        assert!(
            !decoder
                .decode(&block)
                .expect("it fits")
                .ops
                .iter()
                .any(|op| matches!(op, Op::Drop { .. }))
        );
    }

    /// The same where the shard refuses blocks that were sent, and where a group is forgotten before it is sent anew.
    #[test]
    fn blocks_that_are_encoded_anew_forget_no_drop() {
        let mut encoder = KeyedEncoder::new();
        let mut decoder = Decoder::new();
        for half in 1..=3 {
            push(&mut encoder, half, "a");
        }
        let decoded = decoder.decode(&encoder.finish(u64::MAX).expect("samples"));
        decoder.commit(decoded.expect("it fits"));
        encoder.forget(&TenantId::default_tenant(), 1);
        push(&mut encoder, 3, "a");
        encoder.finish(u64::MAX).expect("a drop and a sample, which are lost");
        encoder.encoder().force_full_all();
        encoder.forget(&TenantId::default_tenant(), 2);
        push(&mut encoder, 3, "a");
        let decoded = decoder.decode(&encoder.finish(u64::MAX).expect("a sample"));
        decoder.commit(decoded.expect("it is full"));
        assert_eq!(decoder.groups().count(), 1);
    }

    /// What a block that is thrown away said of a group, the shard has not heard.
    #[test]
    fn a_group_of_a_block_that_is_thrown_away_is_sent_in_full() {
        let mut encoder = KeyedEncoder::new();
        let mut decoder = Decoder::new();
        push(&mut encoder, 1, "a");
        let decoded = decoder.decode(&encoder.finish(u64::MAX).expect("a sample"));
        decoder.commit(decoded.expect("it fits"));
        push(&mut encoder, 1, "b");
        encoder.abandon();
        push(&mut encoder, 1, "b");
        decoder.decode(&encoder.finish(u64::MAX).expect("a sample")).expect("it needs no base");
    }

    /// The shard may not know that it was forgotten: a frame of the new one must not fit the old one.
    #[test]
    fn a_group_that_was_forgotten_begins_again_as_another() {
        let mut encoder = KeyedEncoder::new();
        let mut decoder = Decoder::new();
        push(&mut encoder, 7, "a");
        let decoded = decoder.decode(&encoder.finish(u64::MAX).expect("a sample"));
        decoder.commit(decoded.expect("it fits"));
        encoder.forget(&TenantId::default_tenant(), 7);
        push(&mut encoder, 7, "b");
        let lost = encoder.finish(u64::MAX).expect("a sample");
        push(&mut encoder, 7, "b");
        let second = encoder.finish(u64::MAX).expect("a sample");
        assert!(decoder.decode(&second).is_err(), "it would be a sample of the series a");
        let decoded = decoder.decode(&lost).expect("it fits");
        let registers = decoded.ops.iter().any(|op| matches!(op, Op::Register { .. }));
        assert!(registers, "{:?}", decoded.ops);
    }
}
