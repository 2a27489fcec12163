//! Start timestamps: for each sample since when its counter counts, ms, 0 for unknown.
//!
//! They change seldom, so they are one integer column: a constant for most chunks.
//!
//! ```text
//! starts = version:u8 = 1, count:varint, column of crate::ints
//! ```

use crate::error::CodecError;
use crate::ints::{decode_ints, encode_ints};
use crate::limits::SAMPLES_PER_CHUNK_MAX;
use crate::varint::{Reader, put_varint};

const WHAT: &str = "starts";
const VERSION: u8 = 1;

/// Appends `starts`, ms. More than [`SAMPLES_PER_CHUNK_MAX`] could not be decoded again.
pub fn encode_starts(starts: &[i64], out: &mut Vec<u8>) {
    debug_assert!(starts.len() <= SAMPLES_PER_CHUNK_MAX, "callers cut chunks before that");
    out.push(VERSION);
    put_varint(out, starts.len() as u64);
    encode_ints(starts, out);
}

/// Decodes what [`encode_starts`] wrote.
pub fn decode_starts(bytes: &[u8]) -> Result<Vec<i64>, CodecError> {
    let mut reader = Reader::new(WHAT, bytes);
    reader.version(VERSION)?;
    let count = reader.count("samples", SAMPLES_PER_CHUNK_MAX)?;
    let mut starts = Vec::new();
    decode_ints(&mut reader, count, &mut starts)?;
    reader.finish()?;
    Ok(starts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz;
    use proptest::prelude::*;

    fn encoded(starts: &[i64]) -> Vec<u8> {
        let mut out = Vec::new();
        encode_starts(starts, &mut out);
        assert_eq!(decode_starts(&out).as_deref(), Ok(starts));
        out
    }

    #[test]
    fn the_bytes_are_pinned() {
        assert_eq!(encoded(&[]), [1, 0]);
        assert_eq!(encoded(&[5; 400]), [1, 0x90, 3, 0, 10]);
    }

    #[test]
    fn one_restart_costs_one_patch() {
        let mut starts = vec![1_700_000_000_000; 100];
        starts.resize(200, 1_700_000_090_000);
        assert!(encoded(&starts).len() <= 24);
    }

    #[test]
    fn damage_never_panics() {
        let starts: Vec<i64> = (0..300).map(|i| i / 100 * 77_777).collect();
        fuzz::damage(&encoded(&starts), |bytes| drop(decode_starts(bytes)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn any_starts_survive(starts in proptest::collection::vec(any::<i64>(), 0..300)) {
            encoded(&starts);
        }
    }
}
