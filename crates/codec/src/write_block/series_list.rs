//! Symbols of a write block and lists of series in them. It knows nothing of groups.
//!
//! ```text
//! symbols:     varint number, then each text behind its length; ids count from 0
//! series list: varint number of series
//!              varint number of pairs that all of them share, (name, value) symbols
//!              for each series: varint 0 for a hole, else 1 + number of its other pairs, (name, value) symbols
//! ```
//!
//! A hole stands for a series that was removed: its slot is never used again.

use std::collections::HashMap;

use pando_model::Labels;

use super::{
    BLOCK_BYTES_MAX, LABEL_BYTES_MAX, PAIRS_MAX, SLOTS_PER_GROUP_MAX, SYMBOLS_MAX,
    WORK_PER_BLOCK_MAX,
};
use crate::error::CodecError;
use crate::limits::Budget;
use crate::varint::{Reader, put_text, put_varint};

/// Collects the texts of a block that is being written.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    ids: HashMap<Box<str>, u64>,
    encoded: Vec<u8>,
}

impl Symbols {
    /// The id of `text`, which is added where it is new.
    pub(super) fn id(&mut self, text: &str) -> u64 {
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        let id = self.ids.len() as u64;
        self.ids.insert(text.into(), id);
        put_text(&mut self.encoded, text);
        id
    }

    /// Bytes of the texts so far.
    pub(super) fn len_bytes(&self) -> usize {
        self.encoded.len()
    }

    /// Forgets the texts.
    pub(super) fn clear(&mut self) {
        self.ids.clear();
        self.encoded.clear();
    }

    /// Appends the texts and forgets them.
    pub(super) fn drain_to(&mut self, out: &mut Vec<u8>) {
        put_varint(out, self.ids.len() as u64);
        out.append(&mut self.encoded);
        self.ids.clear();
    }
}

/// The texts of a block that is being read.
pub(super) struct SymbolTable<'a> {
    texts: Vec<&'a str>,
}

impl<'a> SymbolTable<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, CodecError> {
        let count = reader.count_of("symbols", SYMBOLS_MAX, 1)?;
        let texts: Result<Vec<&str>, _> =
            (0..count).map(|_| reader.text("symbol bytes", BLOCK_BYTES_MAX)).collect();
        Ok(SymbolTable { texts: texts? })
    }

    /// The text that the id at the cursor names.
    pub(super) fn read_text(&self, reader: &mut Reader<'_>) -> Result<&'a str, CodecError> {
        let text = usize::try_from(reader.varint()?).ok().and_then(|id| self.texts.get(id));
        text.copied().ok_or_else(|| reader.malformed("a symbol is not in the table"))
    }
}

/// What the parts of one block share while it is read.
pub(super) struct BlockContext<'a> {
    pub(super) symbols: SymbolTable<'a>,
    /// What labels may still unfold to, bytes: shared pairs are written once and unfold for each series.
    unfolded: Budget,
    /// What frames may still unfold to, see [`super::frame_work`].
    pub(super) work: Budget,
}

impl<'a> BlockContext<'a> {
    pub(super) fn new(symbols: SymbolTable<'a>) -> Self {
        BlockContext {
            symbols,
            unfolded: Budget::new("write block", "label bytes", LABEL_BYTES_MAX),
            work: Budget::new("write block", "samples", WORK_PER_BLOCK_MAX),
        }
    }

    /// The pair of symbols at the cursor.
    pub(super) fn pair(&self, reader: &mut Reader<'_>) -> Result<(&'a str, &'a str), CodecError> {
        Ok((self.symbols.read_text(reader)?, self.symbols.read_text(reader)?))
    }

    /// Takes `bytes` of unfolded text from the budget.
    pub(super) fn take_text(&mut self, bytes: usize) -> Result<(), CodecError> {
        self.unfolded.take(bytes)
    }

    /// The set of `pairs`.
    pub(super) fn labels(&mut self, pairs: &[(&str, &str)]) -> Result<Labels, CodecError> {
        self.take_text(pairs.iter().map(|(name, value)| name.len() + value.len()).sum())?;
        Labels::from_sorted(pairs.iter().copied()).ok_or(CodecError::Malformed {
            what: "write block",
            at: 0,
            reason: "labels are no sorted set",
        })
    }
}

/// Appends `series`; `None` is a hole.
pub(super) fn encode_series_list(
    series: &[Option<Labels>],
    symbols: &mut Symbols,
    out: &mut Vec<u8>,
) {
    let shared = shared_pairs(series);
    put_varint(out, series.len() as u64);
    put_varint(out, shared.len() as u64);
    for (name, value) in &shared {
        put_varint(out, symbols.id(name));
        put_varint(out, symbols.id(value));
    }
    for labels in series {
        let Some(labels) = labels else {
            put_varint(out, 0);
            continue;
        };
        put_varint(out, (1 + labels.len() - shared.len()) as u64);
        let mut rest = shared.as_slice();
        for pair in labels {
            match rest.split_first() {
                Some((first, others)) if *first == pair => rest = others,
                _ => {
                    put_varint(out, symbols.id(pair.0));
                    put_varint(out, symbols.id(pair.1));
                }
            }
        }
    }
}

/// The pairs that all of `series` have, sorted by name.
fn shared_pairs(series: &[Option<Labels>]) -> Vec<(&str, &str)> {
    let mut all = series.iter().flatten();
    let mut shared: Vec<(&str, &str)> = all.next().map_or(Vec::new(), |l| l.iter().collect());
    for labels in all {
        if shared.is_empty() {
            break;
        }
        let mut rest = labels.iter().peekable();
        shared.retain(|pair| {
            while rest.next_if(|other| other.0 < pair.0).is_some() {}
            rest.next_if(|other| other == pair).is_some()
        });
    }
    shared
}

/// Reads a list.
pub(super) fn decode_series_list(
    reader: &mut Reader<'_>,
    context: &mut BlockContext<'_>,
) -> Result<Vec<Option<Labels>>, CodecError> {
    let count = reader.count_of("slots", SLOTS_PER_GROUP_MAX, 1)?;
    let shared_count = reader.count_of("pairs", PAIRS_MAX, 2)?;
    let mut shared = Vec::with_capacity(shared_count);
    for _ in 0..shared_count {
        shared.push(context.pair(reader)?);
    }
    let mut pairs = Vec::new();
    let mut list = Vec::with_capacity(count);
    for _ in 0..count {
        let Some(own) = reader.count("pairs", PAIRS_MAX)?.checked_sub(1) else {
            list.push(None);
            continue;
        };
        pairs.clear();
        let mut rest = shared.as_slice();
        for _ in 0..own {
            let pair = context.pair(reader)?;
            let before = rest.iter().take_while(|shared| shared.0 < pair.0).count();
            pairs.extend(&rest[..before]);
            rest = &rest[before..];
            pairs.push(pair);
        }
        pairs.extend(rest);
        list.push(Some(context.labels(&pairs)?));
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_come_back_and_shared_pairs_are_written_once() {
        let of = |metric: &str, le: &str| {
            Some(Labels::from_pairs([("__name__", metric), ("job", "j"), ("le", le)]))
        };
        let series = [of("a", "1"), None, of("a", "2"), of("b", ""), of("b", "2")];
        let (mut symbols, mut list) = (Symbols::default(), Vec::new());
        encode_series_list(&series, &mut symbols, &mut list);
        let mut table = Vec::new();
        symbols.drain_to(&mut table);
        let table = SymbolTable::read(&mut Reader::new("symbols", &table)).expect("written");
        let mut reader = Reader::new("list", &list);
        let back = decode_series_list(&mut reader, &mut BlockContext::new(table));
        assert_eq!(back.expect("written"), series);
        reader.finish().expect("nothing is left");
        // 2 counts, the shared pair, then a count and two ids for each pair that is not shared.
        assert_eq!(list.len(), 2 + 2 + 5 + 1 + 5 + 3 + 5);
    }
}
