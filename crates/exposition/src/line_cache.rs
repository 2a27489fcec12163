//! `LineCache`: what the lines of one target mean, so that a steady scrape parses only what has changed.
//!
//! A target writes the same lines in the same order, with other values. So each known line remembers which
//! line came after it: the next line of a body is compared with the one that is expected there (its bytes
//! up to the value; for metadata all of it), and only where that fails it is parsed and looked up by hash.
//! A value whose text is the one of the last scrape is not even read again. A steady scrape costs a
//! comparison and a float a line and allocates nothing.
//!
//! The cache also keeps book of the *slots*, the caller's numbers of series: which were seen for the first
//! time, which have vanished (they get stale markers), which no line leads to any more. It knows nothing of
//! labels, targets or time.

mod entry;
mod scrape;
mod slots;

use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};
use std::hash::{BuildHasher, RandomState};

use crate::created::HashKeyed;
use crate::format::ScrapeFormat;
use crate::parser::CreatedLines;

use entry::{Entry, Kind, NONE};
use slots::Slots;

pub use scrape::{Known, Line, Scrape};

/// What a line costs beside its own bytes: its entry, and a place in the table of hashes.
const BOOKKEEPING_BYTES: usize = size_of::<Entry>() + 2 * size_of::<(u64, u32)>();

/// How a cache reads its target.
#[derive(Clone, Copy, Debug)]
pub struct LineCacheOptions {
    /// What happens to `_created` lines.
    pub created: CreatedLines,
    /// Whether a series whose lines carry timestamps of their own counts as seen, so that it goes stale
    /// when it vanishes: `track_timestamps_staleness`, or timestamps that are not honoured. Default: no.
    pub track_timestamped: bool,
    /// Bytes that remembered lines may take, their bookkeeping included; lines beyond that are new in every
    /// scrape. Default: 256 MiB, some 1.7 million lines of 70 bytes. At most 4 GiB.
    pub line_bytes_max: usize,
}

impl Default for LineCacheOptions {
    fn default() -> Self {
        LineCacheOptions {
            created: CreatedLines::AsSeries,
            track_timestamped: false,
            line_bytes_max: 256 << 20,
        }
    }
}

/// The lines of one target.
#[derive(Debug)]
pub struct LineCache {
    options: LineCacheOptions,
    entries: Vec<Entry>,
    /// The entries' bytes, one after the other in the order of their first appearance.
    arena: Vec<u8>,
    arena_garbage: usize,
    by_hash: HashKeyed<u32>,
    secrets: RapidSecrets,
    free: Vec<u32>,
    /// The line that a body begins with.
    first: u32,
    /// The number of the scrape that is under way, or of the last one.
    scrape: u32,
    /// Whether the scrape with that number is under way.
    under_way: bool,
    lines_seen: usize,
    /// Whether the scrape that is under way hands out all metadata.
    all_metadata: bool,
    slots: Slots,
}

impl LineCache {
    /// An empty cache.
    pub fn new(options: LineCacheOptions) -> Self {
        LineCache {
            options,
            entries: Vec::new(),
            arena: Vec::new(),
            arena_garbage: 0,
            by_hash: HashKeyed::default(),
            // A target must not be able to choose lines that collide; nothing else depends on the seed.
            secrets: RapidSecrets::seed(RandomState::new().hash_one(0u8)),
            free: Vec::new(),
            first: NONE,
            scrape: 0,
            under_way: false,
            lines_seen: 0,
            all_metadata: false,
            slots: Slots::default(),
        }
    }

    /// Begins a scrape of `body`. A scrape that was begun before and not finished is forgotten.
    pub fn begin<'c, 'b>(&'c mut self, format: ScrapeFormat, body: &'b [u8]) -> Scrape<'c, 'b> {
        self.abandon();
        self.scrape += 1;
        self.under_way = true;
        self.lines_seen = 0;
        self.all_metadata = false;
        self.slots.begin();
        Scrape::new(self, format, body)
    }

    /// A scrape that failed, or was abandoned: it saw nothing, so that all that the one before it saw has
    /// vanished. Lines are remembered: the target may come back.
    pub fn fail(&mut self) -> Outcome<'_> {
        self.abandon();
        self.slots.begin();
        self.slots.finish(false);
        self.outcome(0)
    }

    /// The number of lines that are remembered.
    pub fn lines(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Bytes of heap that the cache takes.
    pub fn heap_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
            + self.arena.capacity()
            + self.by_hash.capacity() * (size_of::<(u64, u32)>() + 1)
            + self.free.capacity() * size_of::<u32>()
            + self.slots.heap_bytes()
    }

    fn abandon(&mut self) {
        if std::mem::take(&mut self.under_way) {
            self.scrape -= 1;
            self.slots.roll_back();
        }
    }

    fn finish(&mut self, samples: u64) -> Outcome<'_> {
        self.under_way = false;
        let evicted = self.lines_seen < self.lines() && self.evict();
        self.slots.finish(evicted);
        self.outcome(samples)
    }

    fn outcome(&self, samples: u64) -> Outcome<'_> {
        Outcome {
            samples,
            appeared: self.slots.appeared(),
            vanished: self.slots.vanished(),
            released: self.slots.released(),
        }
    }

    fn hash(&self, prefix: &[u8]) -> u64 {
        rapidhash_v3_seeded(prefix, &self.secrets)
    }

    /// The line with these bytes.
    fn find(&self, prefix: &[u8]) -> Option<u32> {
        let id = *self.by_hash.get(&self.hash(prefix))?;
        (self.entries.get(id as usize)?.prefix(&self.arena) == prefix).then_some(id)
    }

    /// Remembers a line; `None` where there is no room for it.
    fn insert(&mut self, prefix: &[u8], kind: Kind) -> Option<u32> {
        let books = (self.lines() + 1) * BOOKKEEPING_BYTES;
        let bytes = self.arena.len().checked_add(prefix.len())?.checked_add(books)?;
        if bytes > self.options.line_bytes_max.min(u32::MAX as usize) {
            return None;
        }
        let hash = self.hash(prefix);
        let entry = Entry::new(hash, self.arena.len() as u32, prefix.len() as u32, kind);
        let id = match self.free.pop() {
            Some(id) => {
                self.entries[id as usize] = entry;
                id
            }
            None => {
                let id = u32::try_from(self.entries.len()).ok().filter(|id| *id != NONE)?;
                self.entries.push(entry);
                id
            }
        };
        self.arena.extend_from_slice(prefix);
        self.by_hash.insert(hash, id);
        Some(id)
    }

    /// Drops the lines that neither this scrape nor the one before it had. Whether there were any.
    fn evict(&mut self) -> bool {
        let mut evicted = false;
        for (id, entry) in self.entries.iter_mut().enumerate() {
            if entry.kind == Kind::Free || entry.seen + 2 > self.scrape {
                continue;
            }
            evicted = true;
            if self.by_hash.get(&entry.hash) == Some(&(id as u32)) {
                self.by_hash.remove(&entry.hash);
            }
            if entry.kind == Kind::Sample {
                self.slots.line_gone(entry.slot);
            }
            self.arena_garbage += entry.prefix_len as usize;
            *entry = Entry::free();
            self.free.push(id as u32);
        }
        if self.arena_garbage * 2 > self.arena.len() {
            self.compact();
        }
        evicted
    }

    fn compact(&mut self) {
        let mut arena = Vec::with_capacity(self.arena.len() - self.arena_garbage);
        for entry in &mut self.entries {
            let at = arena.len() as u32;
            arena.extend_from_slice(entry.prefix(&self.arena));
            entry.prefix_at = at;
        }
        self.arena = arena;
        self.arena_garbage = 0;
    }
}

/// What a scrape has changed. Slots come in the order of their numbers, but for those that appeared, which
/// come in the order of the body.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'c> {
    /// Sample lines of the body, those among them that were dropped: `scrape_samples_scraped`.
    pub samples: u64,
    /// Slots that this scrape saw and the one before it did not.
    pub appeared: &'c [u32],
    /// Slots that the scrape before this one saw and this one did not: they go stale.
    pub vanished: &'c [u32],
    /// Slots that no line leads to any more. Only now may the caller use their numbers for other series.
    pub released: &'c [u32],
}

#[cfg(test)]
mod tests;
