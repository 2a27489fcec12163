//! Exemplars of one series.
//!
//! ```text
//! exemplars = version:u8 = 1, count:varint [symbols times values label sets]
//! symbols   = count:varint (length:varint text) ...  distinct texts, as they first appear
//! times     = column of crate::ints, ms                     values = runs of crate::floats
//! label set = count:varint (name:varint value:varint) ...  symbol numbers, names sorted
//! ```
//!
//! The order of the exemplars is kept, whatever it is.

use std::collections::HashMap;

use pando_model::{Exemplar, Labels};

use crate::error::CodecError;
use crate::floats::{decode_float_runs, encode_float_runs};
use crate::ints::{decode_ints, encode_ints};
use crate::limits::{
    Budget, DECODED_TEXT_BYTES_MAX, EXEMPLARS_PER_CHUNK_MAX, LABELS_PER_SET_MAX, TEXT_BYTES_MAX,
};
use crate::varint::{Reader, put_text, put_varint};

const WHAT: &str = "exemplars";
const VERSION: u8 = 1;

/// Appends `exemplars`. More than [`EXEMPLARS_PER_CHUNK_MAX`] could not be decoded again.
pub fn encode_exemplars(exemplars: &[Exemplar], out: &mut Vec<u8>) {
    debug_assert!(exemplars.len() <= EXEMPLARS_PER_CHUNK_MAX, "callers cut chunks before that");
    out.push(VERSION);
    put_varint(out, exemplars.len() as u64);
    if exemplars.is_empty() {
        return;
    }
    let (mut symbols, mut numbers, mut sets) = (Vec::new(), HashMap::new(), Vec::new());
    for exemplar in exemplars {
        put_varint(&mut sets, exemplar.labels.len() as u64);
        for text in exemplar.labels.iter().flat_map(|(name, value)| [name, value]) {
            let number = *numbers.entry(text).or_insert_with(|| {
                symbols.push(text);
                symbols.len() as u64 - 1
            });
            put_varint(&mut sets, number);
        }
    }
    put_varint(out, symbols.len() as u64);
    symbols.iter().for_each(|text| put_text(out, text));
    let times: Vec<i64> = exemplars.iter().map(|e| e.timestamp_ms).collect();
    encode_ints(&times, out);
    let values: Vec<f64> = exemplars.iter().map(|e| e.value).collect();
    encode_float_runs(&values, out);
    out.append(&mut sets);
}

/// Decodes what [`encode_exemplars`] wrote.
pub fn decode_exemplars(bytes: &[u8]) -> Result<Vec<Exemplar>, CodecError> {
    let mut reader = Reader::new(WHAT, bytes);
    reader.version(VERSION)?;
    let count = reader.count_of("exemplars", EXEMPLARS_PER_CHUNK_MAX, 1)?;
    if count == 0 {
        reader.finish()?;
        return Ok(Vec::new());
    }
    let symbols_max = count * LABELS_PER_SET_MAX * 2;
    let symbols_count = reader.count_of("symbols", symbols_max, 1)?;
    let mut symbols = Vec::with_capacity(symbols_count);
    for _ in 0..symbols_count {
        symbols.push(reader.text("text bytes", TEXT_BYTES_MAX)?);
    }
    let (mut times, mut values) = (Vec::new(), Vec::new());
    decode_ints(&mut reader, count, &mut times)?;
    decode_float_runs(&mut reader, count, &mut values)?;
    let mut budget = Budget::new(WHAT, "text bytes", DECODED_TEXT_BYTES_MAX);
    let mut exemplars = Vec::with_capacity(count);
    for (timestamp_ms, value) in times.into_iter().zip(values) {
        let labels = read_labels(&mut reader, &symbols, &mut budget)?;
        exemplars.push(Exemplar { labels, value, timestamp_ms });
    }
    reader.finish()?;
    Ok(exemplars)
}

fn read_labels(
    reader: &mut Reader<'_>,
    symbols: &[&str],
    budget: &mut Budget,
) -> Result<Labels, CodecError> {
    let count = reader.count_of("labels", LABELS_PER_SET_MAX, 2)?;
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        let (name, value) = (read_symbol(reader, symbols)?, read_symbol(reader, symbols)?);
        budget.take(name.len() + value.len())?;
        pairs.push((name, value));
    }
    Labels::from_sorted(pairs).ok_or_else(|| reader.malformed("labels are not a sorted set"))
}

fn read_symbol<'a>(reader: &mut Reader<'_>, symbols: &[&'a str]) -> Result<&'a str, CodecError> {
    let number = reader.varint()?;
    let symbol = usize::try_from(number).ok().and_then(|n| symbols.get(n));
    symbol.copied().ok_or_else(|| reader.malformed("symbol is not in the table"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz;
    use proptest::prelude::*;

    fn exemplar(trace: &str, value: f64, timestamp_ms: i64) -> Exemplar {
        let labels = Labels::from_pairs([("trace_id", trace), ("span_id", "00f0")]);
        Exemplar { labels, value, timestamp_ms }
    }

    fn encoded(exemplars: &[Exemplar]) -> Vec<u8> {
        let mut out = Vec::new();
        encode_exemplars(exemplars, &mut out);
        let decoded = decode_exemplars(&out).expect("what was encoded");
        // By bits: a NaN is a value.
        let bits = |e: &Exemplar| (e.labels.clone(), e.value.to_bits(), e.timestamp_ms);
        assert!(decoded.iter().map(bits).eq(exemplars.iter().map(bits)));
        out
    }

    #[test]
    fn the_bytes_are_pinned() {
        assert_eq!(encoded(&[]), [1, 0]);
        let one =
            Exemplar { labels: Labels::from_pairs([("a", "b")]), value: 0.5, timestamp_ms: 7 };
        let expected = [1, 1, 2, 1, b'a', 1, b'b', 0, 14, 0xa1, 10, 1, 0, 1];
        assert_eq!(encoded(std::slice::from_ref(&one)), expected);
    }

    #[test]
    fn refuses_unknown_symbols_and_unsorted_sets() {
        let mut bytes = encoded(&[exemplar("x", 1.0, 5)]);
        let last = bytes.len() - 1;
        bytes[last] = 9;
        assert!(matches!(decode_exemplars(&bytes), Err(CodecError::Malformed { .. })));
        let unsorted = [1, 1, 2, 1, b'a', 1, b'b', 0, 14, 0xa1, 10, 2, 1, 0, 0, 1];
        assert!(matches!(decode_exemplars(&unsorted), Err(CodecError::Malformed { .. })));
    }

    #[test]
    fn a_long_symbol_named_often_is_refused() {
        let labels = Labels::from_pairs([("a", "x".repeat(TEXT_BYTES_MAX))]);
        let one = Exemplar { labels, value: 0.0, timestamp_ms: 0 };
        let mut out = Vec::new();
        encode_exemplars(&vec![one; 65], &mut out);
        assert!(matches!(decode_exemplars(&out), Err(CodecError::Limit { .. })));
    }

    #[test]
    fn damage_never_panics() {
        let many: Vec<_> = (0..20).map(|i| exemplar(&format!("t{}", i / 3), 0.1, i)).collect();
        fuzz::damage(&encoded(&many), |bytes| drop(decode_exemplars(bytes)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_exemplars_survive(items in proptest::collection::vec(
                ("[a-z]{0,3}é?", any::<f64>(), any::<i64>()), 0..20)) {
            let items: Vec<_> = items.iter().map(|(t, v, at)| exemplar(t, *v, *at)).collect();
            encoded(&items);
        }
    }
}
