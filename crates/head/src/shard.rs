//! `Shard`: the state machine. What it is made of changes only by applying entries; dropping a committed
//! generation frees memory and changes nothing that an entry could see.

use std::collections::{BTreeMap, VecDeque};

use pando_codec::entry::{Entry, ShardRules, Write};
use pando_model::{Cut, Digest, Sequence, ShardId, StreamId, TenantId};
use roaring::RoaringBitmap;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::error::HeadError;
use crate::generation::Generation;
use crate::outcome::{Applied, CutOutcome, SealAnswer, TargetAnswer};
use crate::streams::Stream;
use crate::tenant::Tenant;

/// What a cut forgets: series, groups and targets without a sample for so long in their tenant's sample time, ms.
pub const IDLE_MS: i64 = 3_600_000;

/// What a shard begins with: the same on all its replicas, for the catalog says it.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// The shard.
    pub shard: ShardId,
    /// The rules until the log brings others.
    pub rules: ShardRules,
    /// What the shards before this one answered to their seals: of several newest times the lowest counts.
    pub inherited: Vec<SealAnswer>,
}

/// A generation that is in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GenerationInfo {
    /// The cut that ends it.
    pub cut: Cut,
    /// Number and multiset hash of its samples.
    pub digest: Digest,
    /// Whether more samples can come.
    pub open: bool,
    /// Whether the catalog names a block of it, so that it may be dropped.
    pub committed: bool,
}

/// The head of one shard.
#[derive(Debug)]
pub struct Shard {
    pub(crate) id: ShardId,
    pub(crate) rules: ShardRules,
    pub(crate) applied_index: u64,
    pub(crate) sealed: bool,
    pub(crate) streams: BTreeMap<StreamId, Stream>,
    pub(crate) tenants: BTreeMap<TenantId, Tenant>,
    /// In order of their cuts; the last one is open.
    pub(crate) generations: VecDeque<Generation>,
    /// The newest generation that was dropped; 0: none.
    pub(crate) dropped: Cut,
}

impl Shard {
    /// An empty shard, whose open generation is 1.
    pub fn new(config: ShardConfig) -> Self {
        let mut shard = Shard {
            id: config.shard,
            rules: config.rules,
            applied_index: 0,
            sealed: false,
            streams: BTreeMap::new(),
            tenants: BTreeMap::new(),
            generations: VecDeque::from([Generation::new(Cut(1))]),
            dropped: Cut(0),
        };
        for answer in &config.inherited {
            for (tenant, newest_ms) in &answer.newest_ms {
                let known = &mut shard.tenants.entry(tenant.clone()).or_default().newest_ms;
                *known = Some(known.map_or(*newest_ms, |known| known.min(*newest_ms)));
            }
            for of in &answer.targets {
                let tenant = shard.tenants.entry(of.tenant.clone()).or_default();
                tenant.targets.inherit(of.target, of.epoch, of.from_ms, of.newest_ms);
            }
        }
        shard
    }

    /// The shard.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// The log index of the last entry applied; 0: none.
    pub fn applied_index(&self) -> u64 {
        self.applied_index
    }

    /// Whether the seal was applied.
    pub fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// The rules in force.
    pub fn rules(&self) -> &ShardRules {
        &self.rules
    }

    /// The open generation. After the seal it stays empty for ever.
    pub fn open_cut(&self) -> Cut {
        self.generations.back().map_or(Cut(1), |open| open.cut)
    }

    /// The generations in memory, oldest first. After the seal none is open.
    pub fn generations(&self) -> impl Iterator<Item = GenerationInfo> + '_ {
        let open = self.open_cut();
        // What is open after the seal is empty and stays so: it is no generation to anybody.
        let shown = self.generations.iter().filter(move |g| !self.sealed || g.cut != open);
        shown.map(move |generation| GenerationInfo {
            cut: generation.cut,
            digest: generation.digest,
            open: generation.cut == open,
            committed: generation.committed,
        })
    }

    /// The sequence that `stream` expects next; `None` where the stream is not known.
    pub fn expected(&self, stream: StreamId) -> Option<Sequence> {
        self.streams.get(&stream).map(|stream| stream.next)
    }

    /// Applies the entry at `log_index`. Entries come in order; one that was applied before changes nothing.
    pub fn apply(&mut self, log_index: u64, entry: &Entry) -> Applied {
        if log_index <= self.applied_index {
            return Applied::Nothing;
        }
        self.applied_index = log_index;
        match entry {
            Entry::Write(write) => self.write(write),
            Entry::Cut { cut, .. } if *cut == self.open_cut() && !self.sealed => {
                Applied::Cut(self.end_generation())
            }
            Entry::Cut { .. } => Applied::Nothing,
            Entry::Committed { cut, digest, .. } => self.committed(*cut, *digest),
            Entry::Seal if self.sealed => Applied::Nothing,
            Entry::Seal => {
                self.sealed = true;
                let answer = self.seal_answer();
                Applied::Sealed { cut: self.end_generation(), answer }
            }
        }
    }

    /// Frees the committed generations up to `cut`. Queries that name them are answered with
    /// [`HeadError::Dropped`] from now on: call it when no query that pins an older catalog is running any more.
    pub fn drop_committed(&mut self, cut: Cut) {
        let open = self.open_cut();
        let mut freed: BTreeMap<TenantId, RoaringBitmap> = BTreeMap::new();
        while let Some(first) = self.generations.front()
            && first.committed
            && first.cut <= cut
            && first.cut < open
        {
            for (tenant, part) in &first.tenants {
                *freed.entry(tenant.clone()).or_default() |= part.rows();
            }
            self.dropped = first.cut;
            self.generations.pop_front();
        }
        for (tenant, rows) in &freed {
            self.free_rows(tenant, rows);
        }
    }

    /// What successors need; final once the shard is sealed.
    pub fn seal_answer(&self) -> SealAnswer {
        let last = |(id, stream): (&StreamId, &Stream)| (*id, Sequence(stream.next.0 - 1));
        let newest = |(id, tenant): (&TenantId, &Tenant)| Some((id.clone(), tenant.newest_ms?));
        let targets = self.tenants.iter().flat_map(|(id, tenant)| {
            tenant.targets.iter().map(|(target, of)| TargetAnswer {
                tenant: id.clone(),
                target,
                epoch: of.epoch,
                from_ms: of.from_ms,
                newest_ms: of.newest_ms,
            })
        });
        SealAnswer {
            last_sequences: self.streams.iter().map(last).collect(),
            newest_ms: self.tenants.iter().filter_map(newest).collect(),
            targets: targets.collect(),
        }
    }

    /// A hash of all that later entries can see. Replicas that applied the same entries have the same one, however
    /// their memory is laid out and whatever they have dropped.
    pub fn state_hash(&self) -> u64 {
        let mut hash = Xxh3::new();
        let mut feed = |n: u64| hash.update(&n.to_le_bytes());
        feed(self.id.0);
        feed(self.rules.version);
        feed(u64::from(self.sealed));
        feed(self.open_cut().0);
        for (id, stream) in &self.streams {
            feed(id.producer.0);
            feed(id.epoch.0);
            feed(stream.next.0);
            stream.judged().for_each(|sequence| feed(sequence.0));
            for (group, state) in stream.decoder.groups() {
                feed(u64::from(group.0) << 32 | u64::from(state.chain()));
            }
        }
        for (id, tenant) in &self.tenants {
            feed(xxh3_64(id.as_str().as_bytes()));
            feed(tenant.newest_ms.unwrap_or(i64::MIN) as u64);
            feed(tenant.series.active());
            feed(active_series_hash(tenant));
            for (target, of) in tenant.targets.iter() {
                feed(target);
                feed(of.epoch.0);
                feed(of.from_ms as u64);
            }
        }
        // Older generations may have been dropped here and not elsewhere; each was compared at its cut.
        let open = self.generations.back().map_or(Digest::default(), |open| open.digest);
        feed(open.samples);
        feed(open.sum as u64);
        feed((open.sum >> 64) as u64);
        hash.digest()
    }

    /// The newest sample time of `tenant`, ms, `i64::MIN` where it has none.
    pub(crate) fn newest_ms(&self, tenant: &TenantId) -> i64 {
        self.tenants.get(tenant).and_then(|tenant| tenant.newest_ms).unwrap_or(i64::MIN)
    }

    pub(crate) fn damaged(&self, source: pando_codec::CodecError) -> HeadError {
        HeadError::Damaged { shard: self.id, source }
    }

    fn write(&mut self, write: &Write) -> Applied {
        if let Some(rules) = &write.rules
            && !self.sealed
        {
            self.rules = rules.clone();
        }
        let blocks = write.blocks.iter();
        Applied::Write(blocks.map(|block| self.apply_block(write.leader_time_ms, block)).collect())
    }

    fn committed(&mut self, cut: Cut, digest: Digest) -> Applied {
        let open = self.open_cut();
        let found = self.generations.iter_mut().find(|g| g.cut == cut && g.cut < open);
        let Some(generation) = found else { return Applied::Nothing };
        generation.committed = generation.digest == digest;
        Applied::Committed { cut, matches: generation.committed }
    }

    /// Ends the open generation, forgets what is idle, and opens the next one.
    fn end_generation(&mut self) -> CutOutcome {
        let ended = self.generations.back_mut().expect("one generation is always open");
        ended.seal();
        let (cut, digest) = (ended.cut, ended.digest);
        self.forget_idle();
        self.generations.push_back(Generation::new(cut.next()));
        let mut hash = Xxh3::new();
        hash.update(&self.state_hash().to_le_bytes());
        hash.update(&digest.samples.to_le_bytes());
        hash.update(&digest.sum.to_le_bytes());
        CutOutcome { cut, digest, state_hash: hash.digest() }
    }

    fn forget_idle(&mut self) {
        let ids: Vec<TenantId> = self.tenants.keys().cloned().collect();
        for id in &ids {
            let Some(tenant) = self.tenants.get_mut(id) else { continue };
            let before_ms =
                tenant.newest_ms.map_or(i64::MAX, |newest| newest.saturating_sub(IDLE_MS));
            tenant.targets.forget(before_ms);
            tenant.series.deactivate_idle(before_ms);
            let rows = tenant.series.rows().clone();
            self.free_rows(id, &rows);
        }
        let tenants = &self.tenants;
        let newest = |id: &TenantId| tenants.get(id).and_then(|t| t.newest_ms).unwrap_or(i64::MIN);
        let active = |id: &TenantId, row: u32| {
            tenants.get(id).is_some_and(|t| t.series.state(row).is_active())
        };
        self.streams.retain(|_, stream| {
            stream.forget(IDLE_MS, newest, active);
            let kept = stream.used || !stream.groups.is_empty();
            stream.used = false;
            kept
        });
    }

    /// Frees those of `candidates` that no generation in memory has samples of and that are not active.
    fn free_rows(&mut self, tenant: &TenantId, candidates: &RoaringBitmap) {
        let Some(state) = self.tenants.get_mut(tenant) else { return };
        let mut kept = RoaringBitmap::new();
        for generation in &self.generations {
            if let Some(part) = generation.tenants.get(tenant) {
                kept |= part.rows();
            }
        }
        state.series.free(candidates, &kept);
    }
}

/// Sum over the active series of a hash of labels and newest time: rows have no order that replicas share.
fn active_series_hash(tenant: &Tenant) -> u64 {
    let series = &tenant.series;
    let active = series.rows().iter().filter(|row| series.state(*row).is_active());
    active.fold(0u64, |sum, row| {
        let mixed = (series.hash(row) as u64 ^ series.last_ms(row) as u64)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        sum.wrapping_add(mixed ^ mixed >> 29)
    })
}
