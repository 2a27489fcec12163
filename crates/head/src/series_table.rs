//! `SeriesTable`: the series of one tenant in one shard, as columns, with the postings of their label pairs.
//!
//! A series is a *row*: its place in the columns. Rows are this replica's own affair: one is used again when its
//! series is neither active nor has samples in memory, which replicas find at different times. Whatever follows
//! from the log speaks of series by their hashes.
//!
//! Labels are lists of *pair* numbers in one arena: a (name, value) text is held once, with the rows that carry
//! it.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashTable;
use pando_model::digest::series_hash;
use pando_model::{Labels, METRIC_NAME, SeriesKey, TenantId};
use roaring::RoaringBitmap;

use crate::postings::Postings;

/// The greatest row number plus one: numbers above have meanings of their own, see [`crate::streams`].
pub(crate) const ROWS_MAX: usize = (u32::MAX - 16) as usize;

/// How a row is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RowState {
    /// By no series.
    Free = 0,
    /// By an active series: it counts against the tenant's limit and groups refer to it.
    Active = 1,
    /// By a series that was forgotten at a cut and still has samples in memory.
    Dormant = 2,
    /// By an active series that became it after the last cut: it may be without a sample.
    New = 3,
}

impl RowState {
    /// Whether the series counts against limits and groups refer to it.
    pub(crate) fn is_active(self) -> bool {
        matches!(self, RowState::Active | RowState::New)
    }
}

/// A (name, value) pair.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) name: Arc<str>,
    pub(crate) value: Arc<str>,
    pub(crate) rows: Postings,
}

/// The series of one tenant.
#[derive(Debug, Default)]
pub(crate) struct SeriesTable {
    // One entry per row.
    keys: Vec<SeriesKey>,
    hashes: Vec<u128>,
    last_ms: Vec<i64>,
    states: Vec<RowState>,
    pairs_at: Vec<u32>,
    pairs_len: Vec<u16>,
    /// Pair numbers of all rows.
    arena: Vec<u32>,
    arena_garbage: usize,
    free_rows: Vec<u32>,
    by_hash: HashTable<u32>,
    rows: RoaringBitmap,
    active: u64,
    pairs: Vec<Pair>,
    free_pairs: Vec<u32>,
    names: BTreeMap<Arc<str>, BTreeMap<Arc<str>, u32>>,
}

impl SeriesTable {
    /// Active series.
    pub(crate) fn active(&self) -> u64 {
        self.active
    }

    /// All rows in use, active or dormant.
    pub(crate) fn rows(&self) -> &RoaringBitmap {
        &self.rows
    }

    /// One past the greatest row.
    pub(crate) fn row_end(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn key(&self, row: u32) -> SeriesKey {
        self.keys[row as usize]
    }

    /// The hash of (tenant, labels) that digests are made of.
    pub(crate) fn hash(&self, row: u32) -> u128 {
        self.hashes[row as usize]
    }

    pub(crate) fn state(&self, row: u32) -> RowState {
        self.states[row as usize]
    }

    /// The newest sample of a row since it became active, ms; `i64::MIN` for none.
    pub(crate) fn last_ms(&self, row: u32) -> i64 {
        self.last_ms[row as usize]
    }

    pub(crate) fn last_ms_mut(&mut self) -> &mut [i64] {
        &mut self.last_ms
    }

    /// The pairs of a row, sorted by name.
    pub(crate) fn pairs(&self, row: u32) -> impl Iterator<Item = &Pair> {
        self.pair_numbers(row).iter().map(|pair| &self.pairs[*pair as usize])
    }

    pub(crate) fn pair_numbers(&self, row: u32) -> &[u32] {
        let at = self.pairs_at[row as usize] as usize;
        &self.arena[at..at + usize::from(self.pairs_len[row as usize])]
    }

    pub(crate) fn pair(&self, number: u32) -> &Pair {
        &self.pairs[number as usize]
    }

    /// The number of pairs in use.
    pub(crate) fn pair_count(&self) -> usize {
        self.pairs.len() - self.free_pairs.len()
    }

    /// Label names with their values and the pairs' numbers, all sorted.
    pub(crate) fn names(&self) -> &BTreeMap<Arc<str>, BTreeMap<Arc<str>, u32>> {
        &self.names
    }

    /// The labels of a row.
    pub(crate) fn labels(&self, row: u32) -> Labels {
        Labels::from_sorted(self.pairs(row).map(|pair| (&*pair.name, &*pair.value)))
            .expect("rows are made from labels")
    }

    /// The metric's name of a row.
    pub(crate) fn metric_name(&self, row: u32) -> &str {
        self.pairs(row).find(|pair| &*pair.name == METRIC_NAME).map_or("", |pair| &pair.value)
    }

    fn find_hashed(&self, hash: u128, labels: &Labels) -> Option<u32> {
        let same = |row: &u32| {
            self.hashes[*row as usize] == hash
                && self.pairs(*row).map(|p| (&*p.name, &*p.value)).eq(labels.iter())
        };
        self.by_hash.find(hash as u64, same).copied()
    }

    /// The row of an active series with `labels`: one that is, or one that becomes active now. `None` where
    /// that would exceed `series_max`.
    pub(crate) fn activate(
        &mut self,
        tenant: &TenantId,
        labels: &Labels,
        series_max: u64,
    ) -> Option<u32> {
        let hash = series_hash(tenant, labels);
        let found = self.find_hashed(hash, labels);
        if let Some(row) = found
            && self.state(row).is_active()
        {
            return Some(row);
        }
        if self.active >= series_max {
            return None;
        }
        let row = match found {
            Some(row) => row,
            None => self.add_row(SeriesKey::of(tenant, labels), hash, labels)?,
        };
        self.states[row as usize] = RowState::New;
        // What a dormant row remembers must not show: another replica may have freed it.
        self.last_ms[row as usize] = i64::MIN;
        self.active += 1;
        Some(row)
    }

    /// Ends the activity of series without a sample since `before_ms`; those that became active after the last
    /// cut may still be waiting for their first. Rows stay until they are freed.
    pub(crate) fn deactivate_idle(&mut self, before_ms: i64) {
        for (state, last_ms) in self.states.iter_mut().zip(&self.last_ms) {
            match state {
                RowState::New if *last_ms == i64::MIN => *state = RowState::Active,
                RowState::Active | RowState::New if *last_ms < before_ms => {
                    *state = RowState::Dormant;
                    self.active -= 1;
                }
                RowState::New => *state = RowState::Active,
                _ => {}
            }
        }
    }

    /// Frees those of `candidates` that are dormant and not in `kept`.
    pub(crate) fn free(&mut self, candidates: &RoaringBitmap, kept: &RoaringBitmap) {
        for row in candidates - kept {
            if self.states.get(row as usize) == Some(&RowState::Dormant) {
                self.free_row(row);
            }
        }
        if self.arena_garbage > 1024 && self.arena_garbage > self.arena.len() / 2 {
            self.compact_arena();
        }
    }

    fn add_row(&mut self, key: SeriesKey, hash: u128, labels: &Labels) -> Option<u32> {
        let start = u32::try_from(self.arena.len()).ok()?;
        let row = match self.free_rows.pop() {
            Some(row) => row,
            None if self.keys.len() >= ROWS_MAX => return None,
            None => {
                self.keys.push(key);
                self.hashes.push(0);
                self.last_ms.push(i64::MIN);
                self.states.push(RowState::Free);
                self.pairs_at.push(0);
                self.pairs_len.push(0);
                (self.keys.len() - 1) as u32
            }
        };
        let at = row as usize;
        for (name, value) in labels {
            let pair = self.pair_of(name, value);
            self.pairs[pair as usize].rows.insert(row);
            self.arena.push(pair);
        }
        self.pairs_at[at] = start;
        // A write block's label sets are far shorter: see codec's limits.
        self.pairs_len[at] = (self.arena.len() - start as usize) as u16;
        self.adopt_row(row, key, hash, RowState::Dormant);
        Some(row)
    }

    /// The part of adding a row that a restored one needs too.
    pub(crate) fn adopt_row(&mut self, row: u32, key: SeriesKey, hash: u128, state: RowState) {
        let at = row as usize;
        (self.keys[at], self.hashes[at], self.states[at]) = (key, hash, state);
        self.rows.insert(row);
        self.active += u64::from(state.is_active());
        let hashes = &self.hashes;
        self.by_hash.insert_unique(hash as u64, row, |row| hashes[*row as usize] as u64);
    }

    fn pair_of(&mut self, name: &str, value: &str) -> u32 {
        let known = self.names.get(name).and_then(|values| values.get(value));
        if let Some(pair) = known {
            return *pair;
        }
        let name: Arc<str> = match self.names.get_key_value(name) {
            Some((name, _)) => name.clone(),
            None => name.into(),
        };
        let value: Arc<str> = value.into();
        let pair = Pair { name: name.clone(), value: value.clone(), rows: Postings::default() };
        let number = match self.free_pairs.pop() {
            Some(number) => {
                self.pairs[number as usize] = pair;
                number
            }
            None => {
                self.pairs.push(pair);
                (self.pairs.len() - 1) as u32
            }
        };
        self.names.entry(name).or_default().insert(value, number);
        number
    }

    fn free_row(&mut self, row: u32) {
        let at = row as usize;
        let numbers = self.pair_numbers(row).to_vec();
        self.arena_garbage += numbers.len();
        for number in numbers {
            let pair = &mut self.pairs[number as usize];
            pair.rows.remove(row);
            if pair.rows.is_empty() {
                let (name, value) = (pair.name.clone(), pair.value.clone());
                if let Some(values) = self.names.get_mut(&name) {
                    values.remove(&value);
                    if values.is_empty() {
                        self.names.remove(&name);
                    }
                }
                self.free_pairs.push(number);
            }
        }
        if let Ok(entry) = self.by_hash.find_entry(self.hashes[at] as u64, |r| *r == row) {
            entry.remove();
        }
        self.rows.remove(row);
        (self.states[at], self.pairs_len[at]) = (RowState::Free, 0);
        self.free_rows.push(row);
    }

    fn compact_arena(&mut self) {
        let mut arena = Vec::with_capacity(self.arena.len() - self.arena_garbage);
        for row in &self.rows {
            let at = arena.len() as u32;
            arena.extend_from_slice(self.pair_numbers(row));
            self.pairs_at[row as usize] = at;
        }
        (self.arena, self.arena_garbage) = (arena, 0);
    }

    /// Bytes of heap, estimated.
    pub(crate) fn heap_bytes(&self) -> usize {
        let per_row = 8 + 16 + 8 + 1 + 4 + 2;
        let texts: usize =
            self.pairs.iter().map(|p| p.value.len() + 16 + 24 + p.rows.heap_bytes()).sum();
        self.keys.capacity() * per_row
            + self.arena.capacity() * 4
            + self.by_hash.capacity() * 5
            + self.rows.serialized_size()
            + self.pairs.capacity() * size_of::<Pair>()
            + texts
    }
}

/// What a checkpoint says of the rows and pairs: the rest follows from it.
pub(crate) mod saved {
    use super::*;
    use pando_codec::varint::{put_text, put_varint, put_zigzag};
    use pando_codec::{CodecError, Reader};

    const TEXT_BYTES_MAX: usize = 16 << 20;

    impl SeriesTable {
        /// Appends the table to a checkpoint. Pairs are numbered by their texts, rows keep their numbers.
        pub(crate) fn save(&self, out: &mut Vec<u8>) {
            let mut numbers = vec![0u64; self.pairs.len()];
            let mut next = 0u64;
            put_varint(out, self.names.len() as u64);
            for (name, values) in &self.names {
                put_text(out, name);
                put_varint(out, values.len() as u64);
                for (value, number) in values {
                    put_text(out, value);
                    numbers[*number as usize] = next;
                    next += 1;
                }
            }
            put_varint(out, self.row_end() as u64);
            for row in 0..self.row_end() as u32 {
                out.push(self.state(row) as u8);
                if self.state(row) == RowState::Free {
                    continue;
                }
                out.extend(self.key(row).0.to_le_bytes());
                out.extend(self.hash(row).to_le_bytes());
                put_zigzag(out, self.last_ms(row));
                let pairs = self.pair_numbers(row);
                put_varint(out, pairs.len() as u64);
                pairs.iter().for_each(|pair| put_varint(out, numbers[*pair as usize]));
            }
        }

        /// Reads what [`SeriesTable::save`] wrote.
        pub(crate) fn load(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
            let mut table = SeriesTable::default();
            for _ in 0..reader.count_of("label names", ROWS_MAX, 2)? {
                let name = reader.text("label name bytes", TEXT_BYTES_MAX)?.to_string();
                for _ in 0..reader.count_of("label values", ROWS_MAX, 1)? {
                    table.pair_of(&name, reader.text("label value bytes", TEXT_BYTES_MAX)?);
                }
            }
            let rows = reader.count_of("series", ROWS_MAX, 1)?;
            table.keys = vec![SeriesKey(0); rows];
            table.hashes = vec![0; rows];
            table.last_ms = vec![i64::MIN; rows];
            table.states = vec![RowState::Free; rows];
            table.pairs_at = vec![0; rows];
            table.pairs_len = vec![0; rows];
            for row in 0..rows as u32 {
                let state = match reader.u8()? {
                    0 => {
                        table.free_rows.push(row);
                        continue;
                    }
                    1 => RowState::Active,
                    2 => RowState::Dormant,
                    3 => RowState::New,
                    _ => return Err(reader.malformed("unknown state of a row")),
                };
                let key = SeriesKey(reader.u64()?);
                let hash = u128::from_le_bytes(reader.array()?);
                table.last_ms[row as usize] = reader.zigzag()?;
                let count = reader.count_of("pairs", usize::from(u16::MAX), 1)?;
                let start = table.arena.len();
                for _ in 0..count {
                    let pair = reader.varint_u32()?;
                    let Some(known) = table.pairs.get_mut(pair as usize) else {
                        return Err(reader.malformed("a pair is not in the table"));
                    };
                    known.rows.insert(row);
                    table.arena.push(pair);
                }
                let names =
                    table.arena[start..].iter().map(|pair| &table.pairs[*pair as usize].name);
                if !names.is_sorted_by(|a, b| a < b) {
                    return Err(reader.malformed("labels are no sorted set"));
                }
                table.pairs_at[row as usize] = start as u32;
                table.pairs_len[row as usize] = count as u16;
                table.adopt_row(row, key, hash, state);
            }
            Ok(table)
        }
    }
}
