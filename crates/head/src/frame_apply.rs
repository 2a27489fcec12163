//! Applying a frame: every sample of it is judged, and those accepted are placed.

use pando_codec::CodecError;
use pando_codec::entry::TenantLimits;
use pando_codec::write_block::Frame;
use pando_model::{Digest, STALE_NAN, SampleValue, ShardId, TenantId};

use crate::generation::TenantGeneration;
use crate::lane::LaneFrame;
use crate::loose::LooseSample;
use crate::outcome::{Refusal, Verdicts};
use crate::streams::{FIRST_SPECIAL, Group, refusal_of};
use crate::tenant::Tenant;

/// How far a sample may be ahead of the leader's clock, ms: Prometheus' bound.
pub const AHEAD_MS_MAX: i64 = 10 * 60 * 1000;

/// What a frame is applied to.
pub(crate) struct FrameApply<'a> {
    pub(crate) shard: ShardId,
    pub(crate) tenant_id: &'a TenantId,
    pub(crate) tenant: &'a mut Tenant,
    pub(crate) part: &'a mut TenantGeneration,
    pub(crate) digest: &'a mut Digest,
    pub(crate) limits: &'a TenantLimits,
    pub(crate) leader_time_ms: i64,
    /// Samples at or after this are another scraper's.
    pub(crate) refuse_from_ms: Option<i64>,
    pub(crate) verdicts: &'a mut Verdicts,
}

/// A sample that must be looked for before it is placed.
struct Late {
    row: u32,
    sample: LooseSample,
}

impl FrameApply<'_> {
    /// Applies `frame` of `group`, whose lane in the open generation is `lane`.
    pub(crate) fn apply(
        &mut self,
        group: &Group,
        lane: u32,
        frame: &Frame,
    ) -> Result<(), CodecError> {
        if frame.offsets.is_empty()
            && let Err(reason) = self.judge_time(frame.time_ms)
        {
            self.refuse_frame(group, frame, reason);
            return Ok(());
        }
        self.part.grow_lane(lane, &group.rows);
        let mut late = self.place_floats(group, lane, frame);
        for (slot, histogram) in &frame.histograms {
            let value = SampleValue::Histogram(histogram.clone());
            late.extend(self.late_of(group, frame, *slot, value));
        }
        for Late { row, sample } in late {
            self.place(row, sample)?;
        }
        for (slot, exemplar) in &frame.exemplars {
            let row = group.rows[*slot as usize];
            if row < FIRST_SPECIAL {
                let kept = self.part.push_exemplar(row, exemplar.clone());
                self.verdicts.exemplars += u64::from(kept);
            }
        }
        Ok(())
    }

    /// Marks the series `rows` as ended at `t_ms`, as far as they are active and nothing newer is known.
    pub(crate) fn end_series(&mut self, rows: &[(u32, u64)], t_ms: i64) -> Result<(), CodecError> {
        for (row, hash) in rows {
            let series = &self.tenant.series;
            let same = (*row as usize) < series.row_end()
                && series.hash(*row) as u64 == *hash
                && series.state(*row).is_active();
            if same && series.last_ms(*row) < t_ms {
                let value = SampleValue::Float(STALE_NAN);
                self.place(*row, LooseSample { t_ms, value, start_ms: 0 })?;
            }
        }
        Ok(())
    }

    /// Places the floats that are newer than all of their series'; returns the others.
    fn place_floats(&mut self, group: &Group, lane: u32, frame: &Frame) -> Vec<Late> {
        let (mut late, mut skipped, mut taken) = (Vec::new(), Vec::new(), 0u64);
        let (mut min_ms, mut max_ms) = (i64::MAX, i64::MIN);
        let uniform = frame.offsets.is_empty();
        for (i, (slot, v)) in frame.floats().enumerate() {
            let row = group.rows[slot as usize];
            let offset = if uniform { 0 } else { offset_of(frame, slot) };
            let t_ms = frame.time_ms.saturating_add(offset);
            let newer = row < FIRST_SPECIAL && self.tenant.series.last_ms(row) < t_ms;
            if newer && (uniform || self.judge_time(t_ms).is_ok() && i32::try_from(offset).is_ok())
            {
                self.tenant.series.last_ms_mut()[row as usize] = t_ms;
                self.digest.add_float(self.tenant.series.hash(row), t_ms, v);
                (min_ms, max_ms) = (min_ms.min(t_ms), max_ms.max(t_ms));
                taken += 1;
            } else {
                skipped.push(i);
                late.extend(self.late_of(group, frame, slot, SampleValue::Float(v)));
            }
        }
        if taken > 0 {
            self.accept(taken, min_ms, max_ms);
        }
        if self.part.lanes()[lane as usize].takes(taken as usize) {
            self.part.lane_mut(lane).push(&LaneFrame {
                time_ms: frame.time_ms,
                columns: frame.slots.as_deref(),
                values: &frame.values,
                skipped: &skipped,
                offsets: &frame.offsets,
                starts: frame.starts.as_ref(),
            });
            return late;
        }
        let mut skipped = skipped.into_iter().peekable();
        for (i, (slot, v)) in frame.floats().enumerate() {
            if skipped.next_if_eq(&i).is_none() {
                let sample = sample_of(frame, slot, SampleValue::Float(v));
                self.part.push_loose(group.rows[slot as usize], sample);
            }
        }
        late
    }

    /// The sample of `slot` where it can be judged on, `None` where it was refused.
    fn late_of(
        &mut self,
        group: &Group,
        frame: &Frame,
        slot: u32,
        value: SampleValue,
    ) -> Option<Late> {
        let row = group.rows[slot as usize];
        if let Some(reason) = refusal_of(row) {
            // Why was said when the series was registered.
            self.verdicts.refused[reason as usize] += 1;
            return None;
        }
        let sample = sample_of(frame, slot, value);
        if let Err(reason) = self.judge_time(sample.t_ms) {
            self.refuse(row, sample.t_ms, reason);
            return None;
        }
        Some(Late { row, sample })
    }

    /// Places a sample of any time within the bounds.
    fn place(&mut self, row: u32, sample: LooseSample) -> Result<(), CodecError> {
        let t_ms = sample.t_ms;
        let histogram = u64::from(matches!(sample.value, SampleValue::Histogram(_)));
        if t_ms <= self.tenant.series.last_ms(row)
            && let Some(known) = self.part.lookup(row, t_ms)?
        {
            if known.same_bits(&sample.value) {
                self.verdicts.accepted += 1;
                self.verdicts.repeated += 1;
                self.verdicts.histograms += histogram;
            } else {
                self.refuse(row, t_ms, Refusal::DuplicateTimestamp);
            }
            return Ok(());
        }
        self.digest.add(self.tenant.series.hash(row), t_ms, &sample.value);
        let last = &mut self.tenant.series.last_ms_mut()[row as usize];
        *last = (*last).max(t_ms);
        self.part.push_loose(row, sample);
        self.accept(1, t_ms, t_ms);
        self.verdicts.histograms += histogram;
        Ok(())
    }

    fn accept(&mut self, count: u64, min_ms: i64, max_ms: i64) {
        self.verdicts.accepted += count;
        self.part.note(count, min_ms, max_ms);
        self.tenant.newest_ms = self.tenant.newest_ms.max(Some(max_ms));
    }

    fn judge_time(&self, t_ms: i64) -> Result<(), Refusal> {
        if t_ms > self.leader_time_ms.saturating_add(AHEAD_MS_MAX) {
            return Err(Refusal::TooFarAhead);
        }
        let window = self.limits.out_of_order_window_ms;
        if self.tenant.newest_ms.is_some_and(|newest| t_ms < newest.saturating_sub(window)) {
            return Err(Refusal::TooOld);
        }
        match self.refuse_from_ms {
            Some(from) if t_ms >= from => Err(Refusal::HandedOver),
            _ => Ok(()),
        }
    }

    fn refuse_frame(&mut self, group: &Group, frame: &Frame, reason: Refusal) {
        let slots = frame.floats().map(|(slot, _)| slot);
        let slots = slots.chain(frame.histograms.iter().map(|(slot, _)| *slot));
        for slot in slots {
            let row = group.rows[slot as usize];
            match refusal_of(row) {
                Some(reason) => self.verdicts.refused[reason as usize] += 1,
                None => self.refuse(row, frame.time_ms, reason),
            }
        }
    }

    fn refuse(&mut self, row: u32, t_ms: i64, reason: Refusal) {
        let (shard, tenant) = (self.shard, self.tenant_id);
        let (newest, leader_ms) = (self.tenant.newest_ms.unwrap_or(0), self.leader_time_ms);
        let series = &self.tenant.series;
        self.verdicts.refuse(reason, || {
            let what = match reason {
                Refusal::TooOld => {
                    let window = self.limits.out_of_order_window_ms;
                    format!("sample is too old: newest_ms={newest} window_ms={window}")
                }
                Refusal::TooFarAhead => format!(
                    "sample is too far ahead: leader_ms={leader_ms} ahead_ms_max={AHEAD_MS_MAX}"
                ),
                Refusal::DuplicateTimestamp => {
                    "another value is known for the sample's time:".to_string()
                }
                _ => "sample is refused:".to_string(),
            };
            let series = if row < FIRST_SPECIAL { series.labels(row).to_string() } else { "?".into() };
            format!("{what} reason={reason} tenant={tenant} shard={shard} time_ms={t_ms} series={series}")
        });
    }
}

fn offset_of(frame: &Frame, slot: u32) -> i64 {
    let found = frame.offsets.binary_search_by_key(&slot, |(slot, _)| *slot);
    found.map_or(0, |at| frame.offsets[at].1)
}

fn sample_of(frame: &Frame, slot: u32, value: SampleValue) -> LooseSample {
    let t_ms = frame.time_ms.saturating_add(offset_of(frame, slot));
    let starts = frame.starts.as_ref();
    let start_ms = starts.and_then(|starts| starts.get(slot as usize)).copied().unwrap_or(0);
    LooseSample { t_ms, value, start_ms }
}
