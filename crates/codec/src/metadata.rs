//! Metadata of metric families: type, unit and help by name.
//!
//! ```text
//! metadata = version:u8 = 1, count:varint, family*
//! family   = shared:varint name type:u8 unit help        texts: length:varint and UTF-8
//! ```
//!
//! `shared` bytes of the name are those of the name before, `name` holds the others. The order is
//! kept; sorted names share most. Types have the numbers of remote write 2.0.

use pando_model::{Metadata, MetricType};

use crate::error::CodecError;
use crate::limits::{Budget, DECODED_TEXT_BYTES_MAX, METADATA_MAX, TEXT_BYTES_MAX};
use crate::varint::{Reader, put_text, put_varint};

const WHAT: &str = "metadata";
const VERSION: u8 = 1;
/// A family takes at least these bytes: shared, three lengths and the type.
const FAMILY_BYTES_MIN: usize = 5;

/// Appends `families`. More than [`METADATA_MAX`] could not be decoded again.
pub fn encode_metadata(families: &[(String, Metadata)], out: &mut Vec<u8>) {
    debug_assert!(families.len() <= METADATA_MAX, "callers cut lists before that");
    out.push(VERSION);
    put_varint(out, families.len() as u64);
    let mut before = "";
    for (name, metadata) in families {
        let shared = shared_prefix_bytes(before, name);
        put_varint(out, shared as u64);
        put_text(out, &name[shared..]);
        out.push(metadata.metric_type as u8);
        put_text(out, &metadata.unit);
        put_text(out, &metadata.help);
        before = name;
    }
}

/// Decodes what [`encode_metadata`] wrote.
pub fn decode_metadata(bytes: &[u8]) -> Result<Vec<(String, Metadata)>, CodecError> {
    let mut reader = Reader::new(WHAT, bytes);
    reader.version(VERSION)?;
    let count = reader.count_of("metric families", METADATA_MAX, FAMILY_BYTES_MIN)?;
    let mut budget = Budget::new(WHAT, "text bytes", DECODED_TEXT_BYTES_MAX);
    let mut families: Vec<(String, Metadata)> = Vec::with_capacity(count);
    for _ in 0..count {
        let before = families.last().map_or("", |(name, _)| name);
        let shared = reader.count("text bytes", TEXT_BYTES_MAX)?;
        let prefix = before
            .get(..shared)
            .ok_or_else(|| reader.malformed("name shares more than there is"))?;
        let suffix = reader.text("text bytes", TEXT_BYTES_MAX)?;
        budget.take(prefix.len() + suffix.len())?;
        let name = format!("{prefix}{suffix}");
        let number = reader.u8()?;
        let metric_type = *MetricType::ALL
            .get(usize::from(number))
            .ok_or_else(|| reader.malformed("metric type is unknown"))?;
        let unit = reader.text("text bytes", TEXT_BYTES_MAX)?.to_string();
        let help = reader.text("text bytes", TEXT_BYTES_MAX)?.to_string();
        families.push((name, Metadata { metric_type, unit, help }));
    }
    reader.finish()?;
    Ok(families)
}

/// Length of the longest common prefix that ends between characters.
fn shared_prefix_bytes(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz;
    use proptest::prelude::*;

    fn family(name: &str, number: u32, unit: &str, help: &str) -> (String, Metadata) {
        let metric_type = MetricType::from_number(number);
        let metadata = Metadata { metric_type, unit: unit.to_string(), help: help.to_string() };
        (name.to_string(), metadata)
    }

    fn encoded(families: &[(String, Metadata)]) -> Vec<u8> {
        let mut out = Vec::new();
        encode_metadata(families, &mut out);
        assert_eq!(decode_metadata(&out).as_deref(), Ok(families));
        out
    }

    #[test]
    fn the_bytes_are_pinned() {
        assert_eq!(encoded(&[]), [1, 0]);
        let two = [family("up", 2, "", "h"), family("ups", 1, "s", "")];
        let expected = b"\x01\x02\x00\x02up\x02\x00\x01h\x02\x01s\x01\x01s\x00";
        assert_eq!(encoded(&two), expected);
    }

    #[test]
    fn refuses_what_is_not_a_list_of_families() {
        assert!(decode_metadata(b"\x01\x01\x01\x00\x00\x00\x00").is_err(), "shares with nothing");
        assert!(decode_metadata(b"\x01\x01\x00\x01a\x08\x00\x00").is_err(), "type 8");
        assert!(decode_metadata(b"\x01\x7f\x00").is_err(), "more families than bytes");
    }

    #[test]
    fn damage_never_panics() {
        let many: Vec<_> = (0..30).map(|i| family(&format!("é_{i}"), i, "s", "help é")).collect();
        fuzz::damage(&encoded(&many), |bytes| drop(decode_metadata(bytes)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_metadata_survives(items in proptest::collection::vec(
                ("[aé]{0,4}[a-z]{0,3}", 0u32..8, ".{0,3}", ".{0,9}"), 0..20)) {
            let families: Vec<_> = items.iter().map(|(n, t, u, h)| family(n, *t, u, h)).collect();
            encoded(&families);
        }
    }
}
