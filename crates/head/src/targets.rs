//! `Targets`: who scrapes what, so that a target's hand-over leaves no gap and no mixture (design: "Hand-over").
//!
//! The first frame under a later epoch whose time is after the target's newest sample fixes T, the hand-over. From
//! then on the samples of earlier epochs at or after T are refused; what they kept from before T is taken.

use std::collections::BTreeMap;

use pando_codec::varint::{put_varint, put_zigzag};
use pando_codec::write_block::{GroupId, TargetEpoch};
use pando_codec::{CodecError, Reader};
use pando_model::{Epoch, ProducerId, StreamId};

/// The hand-over state of one target.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) epoch: Epoch,
    /// From when on the scraper of this epoch counts, ms.
    pub(crate) from_ms: i64,
    pub(crate) newest_ms: i64,
    /// The group that brings its samples; `None` where it was inherited or dropped.
    pub(crate) owner: Option<(StreamId, GroupId)>,
    /// What a dropped group had last: (row, low half of its hash).
    pub(crate) left: Vec<(u32, u64)>,
}

/// What the state of a target says to a frame.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Samples count.
    Accept,
    /// Samples count, and the series of the target's former frame that this one lacks have ended.
    TakeOver(Target),
    /// Samples at or after this time are refused, ms.
    RefuseFrom(i64),
}

/// The targets of one tenant.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    by_id: BTreeMap<u64, Target>,
}

impl Targets {
    /// Adds what a sealed shard said of a target; of several the latest epoch and time.
    pub(crate) fn inherit(&mut self, id: u64, epoch: Epoch, from_ms: i64, newest_ms: i64) {
        let target = Target { epoch, from_ms, newest_ms, owner: None, left: Vec::new() };
        let known = self.by_id.entry(id).or_insert_with(|| target.clone());
        if (known.epoch, known.newest_ms) < (epoch, newest_ms) {
            *known = target;
        }
    }

    /// Judges a frame at `time_ms` of `group`, and notes a take-over.
    pub(crate) fn judge(
        &mut self,
        of: TargetEpoch,
        group: (StreamId, GroupId),
        time_ms: i64,
    ) -> Verdict {
        let new = |from_ms| Target {
            epoch: of.epoch,
            from_ms,
            newest_ms: time_ms,
            owner: Some(group),
            left: Vec::new(),
        };
        let Some(known) = self.by_id.get_mut(&of.target) else {
            self.by_id.insert(of.target, new(i64::MIN));
            return Verdict::Accept;
        };
        if of.epoch < known.epoch {
            return Verdict::RefuseFrom(known.from_ms);
        }
        if of.epoch == known.epoch {
            known.newest_ms = known.newest_ms.max(time_ms);
            known.owner = Some(group);
            return Verdict::Accept;
        }
        if time_ms <= known.newest_ms {
            // The old scraper was here already; the new one counts from its next frame on.
            return Verdict::RefuseFrom(i64::MIN);
        }
        Verdict::TakeOver(std::mem::replace(known, new(time_ms)))
    }

    /// Notes that `group` is gone, and what it had last.
    pub(crate) fn dropped(
        &mut self,
        of: TargetEpoch,
        group: (StreamId, GroupId),
        left: Vec<(u32, u64)>,
    ) {
        if let Some(known) = self.by_id.get_mut(&of.target)
            && known.owner == Some(group)
        {
            (known.owner, known.left) = (None, left);
        }
    }

    /// Forgets targets without a sample since `before_ms`.
    pub(crate) fn forget(&mut self, before_ms: i64) {
        self.by_id.retain(|_, target| target.newest_ms >= before_ms);
    }

    /// The targets, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Target)> {
        self.by_id.iter().map(|(id, target)| (*id, target))
    }

    /// Appends the targets to a checkpoint.
    pub(crate) fn save(&self, out: &mut Vec<u8>) {
        put_varint(out, self.by_id.len() as u64);
        for (id, target) in &self.by_id {
            out.extend(id.to_le_bytes());
            put_varint(out, target.epoch.0);
            put_zigzag(out, target.from_ms);
            put_zigzag(out, target.newest_ms);
            out.push(u8::from(target.owner.is_some()));
            if let Some((stream, group)) = target.owner {
                out.extend(stream.producer.0.to_le_bytes());
                put_varint(out, stream.epoch.0);
                put_varint(out, u64::from(group.0));
            }
            put_varint(out, target.left.len() as u64);
            for (row, hash) in &target.left {
                put_varint(out, u64::from(*row));
                out.extend(hash.to_le_bytes());
            }
        }
    }

    /// Reads what [`Targets::save`] wrote.
    pub(crate) fn load(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let mut by_id = BTreeMap::new();
        for _ in 0..reader.count_of("targets", u32::MAX as usize, 13)? {
            let id = reader.u64()?;
            let epoch = Epoch(reader.varint()?);
            let (from_ms, newest_ms) = (reader.zigzag()?, reader.zigzag()?);
            let mut owner = None;
            if reader.u8()? == 1 {
                let producer = ProducerId(reader.u64()?);
                let stream = StreamId { producer, epoch: Epoch(reader.varint()?) };
                owner = Some((stream, GroupId(reader.varint_u32()?)));
            }
            let mut left = Vec::new();
            for _ in 0..reader.count_of("series", u32::MAX as usize, 9)? {
                left.push((reader.varint_u32()?, reader.u64()?));
            }
            by_id.insert(id, Target { epoch, from_ms, newest_ms, owner, left });
        }
        Ok(Targets { by_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_later_frame_of_a_new_epoch_fixes_the_hand_over() {
        let mut targets = Targets::default();
        let stream = |n| StreamId { producer: ProducerId(n), epoch: Epoch(1) };
        let (old, new) = ((stream(1), GroupId(0)), (stream(2), GroupId(7)));
        let of = |epoch| TargetEpoch { target: 5, epoch: Epoch(epoch) };
        assert_eq!(targets.judge(of(1), old, 100), Verdict::Accept);
        assert_eq!(targets.judge(of(1), old, 200), Verdict::Accept);
        assert_eq!(targets.judge(of(2), new, 200), Verdict::RefuseFrom(i64::MIN));
        let Verdict::TakeOver(before) = targets.judge(of(2), new, 250) else {
            panic!("a later frame of a later epoch takes over")
        };
        assert_eq!((before.owner, before.newest_ms), (Some(old), 200));
        assert_eq!(targets.judge(of(1), old, 210), Verdict::RefuseFrom(250));
        assert_eq!(targets.judge(of(2), new, 260), Verdict::Accept);
    }
}
