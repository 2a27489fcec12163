//! `Generation`: the samples of a shard between two cuts. A (series, time) is in it once.

use std::collections::BTreeMap;
use std::sync::Arc;

use pando_codec::varint::{put_bytes, put_f64, put_text, put_varint, put_zigzag};
use pando_codec::{CodecError, Reader};
use pando_model::tenant::TENANT_BYTES_MAX;
use pando_model::{Cut, Digest, Exemplar, Histogram, Labels, SampleValue, TenantId};
use roaring::RoaringBitmap;

use crate::lane::{Lane, RowRun};
use crate::loose::{Loose, LooseSample};
use crate::streams::FIRST_SPECIAL;

/// Exemplars of one series in one generation; later ones are dropped.
pub(crate) const EXEMPLARS_MAX: usize = 128;

/// Samples of one row in one generation, ascending times.
#[derive(Debug, Default)]
pub(crate) struct RowSamples {
    pub(crate) run: RowRun,
    /// (position, histogram); the float at the position means nothing.
    pub(crate) histograms: Vec<(u32, Arc<Histogram>)>,
}

/// One tenant's part of a generation.
#[derive(Debug)]
pub(crate) struct TenantGeneration {
    lanes: Vec<Lane>,
    /// For each row, the lane that it is a column of, plus one; 0: none.
    lane_of: Vec<u32>,
    /// Further lanes of rows that are in several.
    more_lanes: BTreeMap<u32, Vec<u32>>,
    loose: BTreeMap<u32, Loose>,
    exemplars: BTreeMap<u32, Vec<Exemplar>>,
    pub(crate) samples: u64,
    pub(crate) min_ms: i64,
    pub(crate) max_ms: i64,
}

impl Default for TenantGeneration {
    fn default() -> Self {
        TenantGeneration {
            lanes: Vec::new(),
            lane_of: Vec::new(),
            more_lanes: BTreeMap::new(),
            loose: BTreeMap::new(),
            exemplars: BTreeMap::new(),
            samples: 0,
            min_ms: i64::MAX,
            max_ms: i64::MIN,
        }
    }
}

/// The samples between two cuts.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) cut: Cut,
    pub(crate) digest: Digest,
    /// The catalog names a block with the same digest.
    pub(crate) committed: bool,
    pub(crate) tenants: BTreeMap<TenantId, TenantGeneration>,
}

impl Generation {
    pub(crate) fn new(cut: Cut) -> Self {
        let (digest, tenants) = (Digest::default(), BTreeMap::new());
        Generation { cut, digest, committed: false, tenants }
    }

    /// Compresses what is open.
    pub(crate) fn seal(&mut self) {
        for part in self.tenants.values_mut() {
            part.lanes.iter_mut().for_each(Lane::seal);
            part.loose.values_mut().for_each(Loose::seal);
        }
    }
}

impl TenantGeneration {
    /// Begins a lane.
    pub(crate) fn add_lane(&mut self) -> u32 {
        self.lanes.push(Lane::default());
        (self.lanes.len() - 1) as u32
    }

    pub(crate) fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    pub(crate) fn lane_mut(&mut self, lane: u32) -> &mut Lane {
        &mut self.lanes[lane as usize]
    }

    /// Gives `lane` the columns of a group of `rows` that it does not have yet.
    pub(crate) fn grow_lane(&mut self, lane: u32, rows: &[u32]) {
        let have = self.lanes[lane as usize].rows().len();
        let Some(added @ [_, ..]) = rows.get(have..) else { return };
        self.lanes[lane as usize].grow(added);
        self.note_rows(lane, added);
    }

    fn note_rows(&mut self, lane: u32, rows: &[u32]) {
        for row in rows.iter().filter(|row| **row < FIRST_SPECIAL) {
            let at = *row as usize;
            if at >= self.lane_of.len() {
                self.lane_of.resize(at + 1, 0);
            }
            match self.lane_of[at] {
                0 => self.lane_of[at] = lane + 1,
                known if known == lane + 1 => {}
                _ => {
                    let more = self.more_lanes.entry(*row).or_default();
                    if !more.contains(&lane) {
                        more.push(lane);
                    }
                }
            }
        }
    }

    fn lanes_of(&self, row: u32) -> impl Iterator<Item = u32> + use<> {
        let first = self.lane_of.get(row as usize).copied().unwrap_or(0).checked_sub(1);
        let more = self.more_lanes.get(&row).cloned().unwrap_or_default();
        first.into_iter().chain(more)
    }

    /// The value of `row` at `t_ms`.
    pub(crate) fn lookup(
        &mut self,
        row: u32,
        t_ms: i64,
    ) -> Result<Option<SampleValue>, CodecError> {
        for lane in self.lanes_of(row) {
            let lane = &mut self.lanes[lane as usize];
            for column in lane.columns_of_mut(row) {
                if let Some(v) = lane.lookup(column, t_ms)? {
                    return Ok(Some(SampleValue::Float(v)));
                }
            }
        }
        self.loose.get(&row).map_or(Ok(None), |loose| loose.lookup(t_ms))
    }

    /// Adds a sample that no lane takes.
    pub(crate) fn push_loose(&mut self, row: u32, sample: LooseSample) {
        self.loose.entry(row).or_default().push(sample);
    }

    /// Adds an exemplar unless it is there; whether it is now. Those beyond the limit are dropped.
    pub(crate) fn push_exemplar(&mut self, row: u32, exemplar: Exemplar) -> bool {
        let known = self.exemplars.entry(row).or_default();
        if known.contains(&exemplar) {
            return true;
        }
        let fits = known.len() < EXEMPLARS_MAX;
        if fits {
            known.push(exemplar);
        }
        fits
    }

    /// Notes `count` accepted samples from `min_ms` to `max_ms`.
    pub(crate) fn note(&mut self, count: u64, min_ms: i64, max_ms: i64) {
        self.samples += count;
        self.min_ms = self.min_ms.min(min_ms);
        self.max_ms = self.max_ms.max(max_ms);
    }

    /// The rows that may have samples.
    pub(crate) fn rows(&self) -> RoaringBitmap {
        let in_lanes = self.lane_of.iter().enumerate().filter(|(_, lane)| **lane > 0);
        let mut rows: RoaringBitmap = in_lanes.map(|(row, _)| row as u32).collect();
        rows.extend(self.loose.keys().copied());
        rows
    }

    /// Whether `row` may have samples.
    pub(crate) fn has(&self, row: u32) -> bool {
        self.lane_of.get(row as usize).is_some_and(|lane| *lane > 0)
            || self.loose.contains_key(&row)
    }

    /// The samples of `row` from `min_ms` to `max_ms`, both included; some around may come along.
    pub(crate) fn read(&self, row: u32, range: (i64, i64)) -> Result<RowSamples, CodecError> {
        let mut samples = RowSamples::default();
        let mut columns = 0;
        for lane in self.lanes_of(row) {
            let lane = &self.lanes[lane as usize];
            for column in lane.columns_of(row) {
                lane.read(column, range, &mut samples.run)?;
                columns += 1;
            }
        }
        let loose = self.loose.get(&row);
        if columns <= 1 && loose.is_none() {
            return Ok(samples);
        }
        let run = samples.run;
        let start = |i: usize| run.starts.get(i).copied().unwrap_or(0);
        let mut all: Vec<LooseSample> = (0..run.times.len())
            .map(|i| LooseSample {
                t_ms: run.times[i],
                value: SampleValue::Float(run.values[i]),
                start_ms: start(i),
            })
            .collect();
        if let Some(loose) = loose {
            loose.read(range, &mut all)?;
        }
        all.sort_by_key(|sample| sample.t_ms);
        Ok(RowSamples::from_sorted(all))
    }

    /// The exemplars of `row`, by time.
    pub(crate) fn exemplars(&self, row: u32) -> Vec<Exemplar> {
        let mut exemplars = self.exemplars.get(&row).cloned().unwrap_or_default();
        exemplars.sort_by_key(|exemplar| exemplar.timestamp_ms);
        exemplars
    }

    /// The number of encoded runs.
    pub(crate) fn chunks(&self) -> usize {
        self.lanes.iter().map(Lane::chunks).sum::<usize>()
            + self.loose.values().map(Loose::chunks).sum::<usize>()
    }

    /// Bytes of heap, estimated.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.lanes.iter().map(|lane| lane.heap_bytes() + size_of::<Lane>()).sum::<usize>()
            + self.lane_of.capacity() * 4
            + self.loose.values().map(|loose| loose.heap_bytes() + 64).sum::<usize>()
            + self.exemplars.values().map(|exemplars| exemplars.len() * 96).sum::<usize>()
    }
}

impl RowSamples {
    fn from_sorted(samples: Vec<LooseSample>) -> Self {
        let mut out = RowSamples::default();
        let has_starts = samples.iter().any(|sample| sample.start_ms != 0);
        for sample in samples {
            match sample.value {
                SampleValue::Float(v) => out.run.values.push(v),
                SampleValue::Histogram(h) => {
                    out.histograms.push((out.run.times.len() as u32, h));
                    out.run.values.push(0.0);
                }
            }
            out.run.times.push(sample.t_ms);
            if has_starts {
                out.run.starts.push(sample.start_ms);
            }
        }
        out
    }
}

/// Checkpoints.
impl Generation {
    /// Appends the generation to a checkpoint.
    pub(crate) fn save(&self, out: &mut Vec<u8>) {
        put_varint(out, self.cut.0);
        put_varint(out, self.digest.samples);
        out.extend(self.digest.sum.to_le_bytes());
        out.push(u8::from(self.committed));
        put_varint(out, self.tenants.len() as u64);
        for (tenant, part) in &self.tenants {
            put_text(out, tenant.as_str());
            part.save(out);
        }
    }

    /// Reads what [`Generation::save`] wrote; `row_end` says how many rows a tenant has.
    pub(crate) fn load(
        reader: &mut Reader<'_>,
        row_end: impl Fn(&TenantId) -> usize,
    ) -> Result<Self, CodecError> {
        let mut generation = Generation::new(Cut(reader.varint()?));
        let samples = reader.varint()?;
        generation.digest = Digest { samples, sum: u128::from_le_bytes(reader.array()?) };
        generation.committed = reader.u8()? == 1;
        for _ in 0..reader.count_of("tenants", u32::MAX as usize, 2)? {
            let tenant = TenantId::parse(reader.text("tenant bytes", TENANT_BYTES_MAX)?)
                .map_err(|_| reader.malformed("bad tenant"))?;
            let part = TenantGeneration::load(reader, row_end(&tenant))?;
            generation.tenants.insert(tenant, part);
        }
        Ok(generation)
    }
}

impl TenantGeneration {
    fn save(&self, out: &mut Vec<u8>) {
        put_varint(out, self.lanes.len() as u64);
        self.lanes.iter().for_each(|lane| lane.save(out));
        put_varint(out, self.loose.len() as u64);
        for (row, loose) in &self.loose {
            put_varint(out, u64::from(*row));
            loose.save(out);
        }
        put_varint(out, self.exemplars.len() as u64);
        for (row, exemplars) in &self.exemplars {
            put_varint(out, u64::from(*row));
            put_varint(out, exemplars.len() as u64);
            exemplars.iter().for_each(|exemplar| save_exemplar(exemplar, out));
        }
        put_varint(out, self.samples);
        put_zigzag(out, self.min_ms);
        put_zigzag(out, self.max_ms);
    }

    fn load(reader: &mut Reader<'_>, row_end: usize) -> Result<Self, CodecError> {
        let mut part = TenantGeneration::default();
        for number in 0..reader.count_of("lanes", u32::MAX as usize, 4)? {
            let lane = Lane::load(reader, row_end)?;
            let rows = lane.rows().to_vec();
            part.lanes.push(lane);
            part.note_rows(number as u32, &rows);
        }
        let row = |reader: &mut Reader<'_>| match reader.varint_u32()? {
            row if (row as usize) < row_end => Ok(row),
            _ => Err(reader.malformed("samples are of no row")),
        };
        for _ in 0..reader.count_of("series", row_end, 2)? {
            let row = row(reader)?;
            part.loose.insert(row, Loose::load(reader)?);
        }
        for _ in 0..reader.count_of("series", row_end, 2)? {
            let row = row(reader)?;
            let count = reader.count_of("exemplars", EXEMPLARS_MAX, 10)?;
            let exemplars: Result<Vec<Exemplar>, _> =
                (0..count).map(|_| load_exemplar(reader)).collect();
            part.exemplars.insert(row, exemplars?);
        }
        part.samples = reader.varint()?;
        (part.min_ms, part.max_ms) = (reader.zigzag()?, reader.zigzag()?);
        Ok(part)
    }
}

fn save_exemplar(exemplar: &Exemplar, out: &mut Vec<u8>) {
    put_zigzag(out, exemplar.timestamp_ms);
    put_f64(out, exemplar.value);
    let mut pairs = Vec::new();
    put_varint(&mut pairs, exemplar.labels.len() as u64);
    for (name, value) in &exemplar.labels {
        put_text(&mut pairs, name);
        put_text(&mut pairs, value);
    }
    put_bytes(out, &pairs);
}

fn load_exemplar(reader: &mut Reader<'_>) -> Result<Exemplar, CodecError> {
    const BYTES_MAX: usize = 16 << 20;
    let (timestamp_ms, value) = (reader.zigzag()?, reader.f64()?);
    let mut pairs = Reader::new("exemplar", reader.blob("exemplar bytes", BYTES_MAX)?);
    let mut labels = Vec::new();
    for _ in 0..pairs.count_of("labels", BYTES_MAX, 2)? {
        labels.push((pairs.text("bytes", BYTES_MAX)?, pairs.text("bytes", BYTES_MAX)?));
    }
    let labels = Labels::from_sorted(labels);
    let labels = labels.ok_or_else(|| pairs.malformed("labels are no sorted set"))?;
    Ok(Exemplar { labels, value, timestamp_ms })
}
