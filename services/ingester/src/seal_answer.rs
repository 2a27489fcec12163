//! The bytes of a `SealAnswer`, which the catalog keeps for the successors of a shard.
//!
//! ```text
//! u8 version = 1
//! varint number of streams, for each: u64 producer, varint epoch, varint last sequence
//! varint number of tenants, for each: text tenant, zigzag newest sample time ms
//! varint number of tenants with targets, for each: text tenant, varint number of targets,
//!   for each: u64 target, varint epoch, zigzag from ms, zigzag newest sample time ms
//! ```
//!
//! Numbers are little endian. Streams are there for people and tools: successors inherit times and
//! targets, and a producer asks the sealed shard itself.

use pando_catalog::limits::SEAL_ANSWER_BYTES_MAX;
use pando_codec::varint::{put_text, put_varint, put_zigzag};
use pando_codec::{CodecError, Reader};
use pando_head::{SealAnswer, TargetAnswer};
use pando_model::tenant::TENANT_BYTES_MAX;
use pando_model::{Epoch, ProducerId, Sequence, StreamId, TenantId};

/// The version that is written, and the only one that is read.
const VERSION: u8 = 1;
const WHAT: &str = "seal answer";

/// The answer's bytes. What would pass the catalog's limit is left out, since a seal that the
/// catalog refuses could never be succeeded: first the streams, which the sealed shard answers for
/// itself; then the last targets, whose hand-over is then not fenced (two scrapers' samples merge
/// by their values); then the last tenants' newest times, whose first sample in the successor may
/// then be of any age.
pub fn encode_seal_answer(answer: &SealAnswer) -> Vec<u8> {
    encode_within(answer, SEAL_ANSWER_BYTES_MAX)
}

fn encode_within(answer: &SealAnswer, bytes_max: usize) -> Vec<u8> {
    let whole = encode(answer);
    if whole.len() <= bytes_max {
        return whole;
    }
    tracing::warn!(bytes = whole.len(), bytes_max, "seal answer is cut short");
    let part = |newest: usize, targets: usize| {
        encode(&SealAnswer {
            last_sequences: Vec::new(),
            newest_ms: answer.newest_ms[..newest].to_vec(),
            targets: answer.targets[..targets].to_vec(),
        })
    };
    let newest = most(answer.newest_ms.len(), |n| part(n, 0).len() <= bytes_max);
    let targets = most(answer.targets.len(), |n| part(newest, n).len() <= bytes_max);
    part(newest, targets)
}

/// The greatest number up to `all` that fits; what fits for one fits for all below it.
fn most(all: usize, fits: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, all);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    low
}

fn encode(answer: &SealAnswer) -> Vec<u8> {
    let mut out = vec![VERSION];
    put_varint(&mut out, answer.last_sequences.len() as u64);
    for (stream, last) in &answer.last_sequences {
        out.extend(stream.producer.0.to_le_bytes());
        put_varint(&mut out, stream.epoch.0);
        put_varint(&mut out, last.0);
    }
    put_varint(&mut out, answer.newest_ms.len() as u64);
    for (tenant, newest_ms) in &answer.newest_ms {
        put_text(&mut out, tenant.as_str());
        put_zigzag(&mut out, *newest_ms);
    }
    let by_tenant = || answer.targets.chunk_by(|a, b| a.tenant == b.tenant);
    put_varint(&mut out, by_tenant().count() as u64);
    for targets in by_tenant() {
        put_text(&mut out, targets[0].tenant.as_str());
        put_varint(&mut out, targets.len() as u64);
        for target in targets {
            out.extend(target.target.to_le_bytes());
            put_varint(&mut out, target.epoch.0);
            put_zigzag(&mut out, target.from_ms);
            put_zigzag(&mut out, target.newest_ms);
        }
    }
    out
}

/// Reads what [`encode_seal_answer`] wrote.
///
/// # Errors
/// An unknown version, or bytes that are no answer.
pub fn decode_seal_answer(bytes: &[u8]) -> Result<SealAnswer, CodecError> {
    let mut reader = Reader::new(WHAT, bytes);
    reader.version(VERSION)?;
    let mut answer = SealAnswer::default();
    for _ in 0..reader.count_of("streams", u32::MAX as usize, 10)? {
        let producer = ProducerId(reader.u64()?);
        let stream = StreamId { producer, epoch: Epoch(reader.varint()?) };
        answer.last_sequences.push((stream, Sequence(reader.varint()?)));
    }
    for _ in 0..reader.count_of("tenants", u32::MAX as usize, 3)? {
        let tenant = read_tenant(&mut reader)?;
        answer.newest_ms.push((tenant, reader.zigzag()?));
    }
    for _ in 0..reader.count_of("tenants with targets", u32::MAX as usize, 3)? {
        let tenant = read_tenant(&mut reader)?;
        for _ in 0..reader.count_of("targets", u32::MAX as usize, 11)? {
            answer.targets.push(TargetAnswer {
                tenant: tenant.clone(),
                target: reader.u64()?,
                epoch: Epoch(reader.varint()?),
                from_ms: reader.zigzag()?,
                newest_ms: reader.zigzag()?,
            });
        }
    }
    reader.finish()?;
    Ok(answer)
}

fn read_tenant(reader: &mut Reader<'_>) -> Result<TenantId, CodecError> {
    TenantId::parse(reader.text("tenant bytes", TENANT_BYTES_MAX)?)
        .map_err(|_| reader.malformed("tenant name is not [A-Za-z0-9_-]{1,64}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).expect("good name")
    }

    fn answer(targets: u64) -> SealAnswer {
        let stream = StreamId { producer: ProducerId(7), epoch: Epoch(300) };
        let target = |target| TargetAnswer {
            tenant: tenant(if target % 2 == 0 { "a" } else { "b" }),
            target,
            epoch: Epoch(3),
            from_ms: i64::MIN,
            newest_ms: 1_700_000_000_000,
        };
        let mut targets: Vec<TargetAnswer> = (0..targets).map(target).collect();
        targets.sort_by(|a, b| (&a.tenant, a.target).cmp(&(&b.tenant, b.target)));
        SealAnswer {
            last_sequences: vec![(stream, Sequence(9))],
            newest_ms: vec![(tenant("a"), -1), (tenant("b"), 5)],
            targets,
        }
    }

    #[test]
    fn the_bytes_are_pinned_and_damage_is_found() {
        let bytes = encode_seal_answer(&answer(1));
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, PINNED);
        assert_eq!(decode_seal_answer(&bytes), Ok(answer(1)));
        for end in 0..bytes.len() {
            assert!(decode_seal_answer(&bytes[..end]).is_err(), "length {end}");
        }
        assert!(decode_seal_answer(&[2, 0, 0, 0]).is_err(), "an unknown version");
    }
    const PINNED: &str = "01010700000000000000ac02090201610101620a0101610100000000000000000\
                          3ffffffffffffffffff0180a0abfef962";

    #[test]
    fn what_does_not_fit_is_left_out_streams_first() {
        let all = answer(1000);
        assert_eq!(decode_seal_answer(&encode_seal_answer(&all)), Ok(all.clone()));
        let bytes = encode(&all).len();
        let less = decode_seal_answer(&encode_within(&all, bytes - 1)).expect("an answer");
        assert!(less.last_sequences.is_empty());
        assert_eq!(less.targets, all.targets);
        let half = encode_within(&all, bytes / 2);
        assert!(half.len() <= bytes / 2);
        let half = decode_seal_answer(&half).expect("an answer");
        assert_eq!(half.newest_ms, all.newest_ms);
        assert!(half.targets.len() > 100, "{}", half.targets.len());
    }
}
