//! `BlockRecord` as protobuf: the one form in which a block's footer, the catalog and a fragment
//! carry it.
//!
//! What decodes has been checked: sorted tenants, ranges that are not inside out, counts that add
//! up. It knows nothing of the catalog.

use pando_model::{
    BlockId, BlockRecord, BlockSource, Cut, Digest, ErrorKind, GenerationId, KeyRange, SeriesKey,
    ShardId, TenantId, TenantSpan, TimeRange,
};
use prost::Message;
use prost::bytes::Bytes;

use crate::v1;

/// The version of the message that this build writes, and the newest that it reads.
pub const RECORD_VERSION: u32 = 1;

/// The largest number of tenants in one block.
pub const TENANTS_PER_BLOCK_MAX: usize = 20_000;

/// The largest number of blocks that one block was compacted from.
pub const SOURCES_PER_BLOCK_MAX: usize = 1_024;

/// Bytes that are not a block's record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Written by a later version.
    #[error("unknown version of a block record: version={version} newest_known={RECORD_VERSION}")]
    Unsupported {
        /// The version found.
        version: u32,
    },
    /// Not what any version writes.
    #[error("block record is damaged: {what}")]
    Corrupt {
        /// What is wrong.
        what: String,
    },
}

impl RecordError {
    /// What the error means to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            RecordError::Unsupported { .. } => ErrorKind::Unsupported,
            RecordError::Corrupt { .. } => ErrorKind::Corrupt,
        }
    }
}

fn corrupt(what: impl Into<String>) -> RecordError {
    RecordError::Corrupt { what: what.into() }
}

/// The bytes of `record`: equal records have equal bytes.
pub fn encode_record(record: &BlockRecord) -> Vec<u8> {
    record_to_proto(record).encode_to_vec()
}

/// Reads what [`encode_record`] wrote.
pub fn decode_record(bytes: &[u8]) -> Result<BlockRecord, RecordError> {
    let message = v1::BlockRecord::decode(bytes).map_err(|e| corrupt(e.to_string()))?;
    record_from_proto(&message)
}

/// `record` as a message.
pub fn record_to_proto(record: &BlockRecord) -> v1::BlockRecord {
    use v1::block_record::Source;
    let source = match &record.source {
        BlockSource::Generation(generation) => Source::Generation(v1::GenerationSource {
            shard: generation.shard.0,
            cut: generation.cut.0,
        }),
        BlockSource::Compaction { work, sources } => Source::Compaction(v1::CompactionSource {
            work: *work,
            sources: sources.iter().map(|id| block_id_to_proto(*id)).collect(),
        }),
    };
    v1::BlockRecord {
        version: RECORD_VERSION,
        id: block_id_to_proto(record.id),
        format: record.format,
        level: record.level,
        resolution_ms: record.resolution_ms,
        source: Some(source),
        tenants: record.tenants.iter().map(span_to_proto).collect(),
        min_ms: record.time.min_ms,
        max_ms: record.time.max_ms,
        digest: Some(digest_to_proto(record.digest)),
        object_bytes: record.object_bytes,
        footer_offset: record.footer_offset,
        created_ms: record.created_ms,
    }
}

/// The record that `message` carries.
pub fn record_from_proto(message: &v1::BlockRecord) -> Result<BlockRecord, RecordError> {
    if message.version != RECORD_VERSION {
        return Err(RecordError::Unsupported { version: message.version });
    }
    let id = block_id_from_proto(&message.id)?;
    if message.tenants.len() > TENANTS_PER_BLOCK_MAX {
        let count = message.tenants.len();
        let what = format!("tenants of a block: count={count} max={TENANTS_PER_BLOCK_MAX}");
        return Err(corrupt(what));
    }
    let tenants = message.tenants.iter().map(span_from_proto).collect::<Result<Vec<_>, _>>()?;
    if !tenants.windows(2).all(|pair| pair[0].tenant < pair[1].tenant) {
        return Err(corrupt(format!("tenants are not sorted: block={id}")));
    }
    let digest = digest_from_proto(message.digest.as_ref())?;
    let sum = tenants.iter().try_fold(0u64, |sum, span| sum.checked_add(span.samples));
    if sum != Some(digest.samples) {
        let total = digest.samples;
        return Err(corrupt(format!("samples do not add up: block={id} samples={total}")));
    }
    Ok(BlockRecord {
        id,
        format: message.format,
        level: message.level,
        resolution_ms: message.resolution_ms,
        source: source_from_proto(message.source.as_ref())?,
        tenants,
        time: time_from_proto(message.min_ms, message.max_ms)?,
        digest,
        object_bytes: message.object_bytes,
        footer_offset: message.footer_offset,
        created_ms: message.created_ms,
    })
}

fn source_from_proto(
    source: Option<&v1::block_record::Source>,
) -> Result<BlockSource, RecordError> {
    use v1::block_record::Source;
    match source {
        Some(Source::Generation(g)) => {
            Ok(BlockSource::Generation(GenerationId { shard: ShardId(g.shard), cut: Cut(g.cut) }))
        }
        Some(Source::Compaction(c)) if c.sources.len() <= SOURCES_PER_BLOCK_MAX => {
            let sources = c.sources.iter().map(|b| block_id_from_proto(b));
            Ok(BlockSource::Compaction {
                work: c.work,
                sources: sources.collect::<Result<_, _>>()?,
            })
        }
        Some(Source::Compaction(c)) => {
            let count = c.sources.len();
            Err(corrupt(format!("sources of a block: count={count} max={SOURCES_PER_BLOCK_MAX}")))
        }
        None => Err(corrupt("a block without a source")),
    }
}

fn span_to_proto(span: &TenantSpan) -> v1::TenantSpanRecord {
    v1::TenantSpanRecord {
        tenant: span.tenant.as_str().to_string(),
        keys: Some(key_range_to_proto(span.keys)),
        min_ms: span.time.min_ms,
        max_ms: span.time.max_ms,
        first_row: span.first_row,
        rows: span.rows,
        series: span.series,
        samples: span.samples,
    }
}

fn span_from_proto(span: &v1::TenantSpanRecord) -> Result<TenantSpan, RecordError> {
    if span.first_row.checked_add(span.rows).is_none() {
        return Err(corrupt(format!(
            "rows of a tenant: first={} rows={}",
            span.first_row, span.rows
        )));
    }
    Ok(TenantSpan {
        tenant: TenantId::parse(&span.tenant).map_err(|e| corrupt(e.to_string()))?,
        keys: key_range_from_proto(span.keys.as_ref())?,
        time: time_from_proto(span.min_ms, span.max_ms)?,
        first_row: span.first_row,
        rows: span.rows,
        series: span.series,
        samples: span.samples,
    })
}

fn time_from_proto(min_ms: i64, max_ms: i64) -> Result<TimeRange, RecordError> {
    if min_ms > max_ms {
        return Err(corrupt(format!("time range is inside out: min_ms={min_ms} max_ms={max_ms}")));
    }
    Ok(TimeRange { min_ms, max_ms })
}

/// The 16 bytes of a block's id, big endian.
pub fn block_id_to_proto(id: BlockId) -> Bytes {
    Bytes::copy_from_slice(&id.0.to_be_bytes())
}

/// The id in exactly 16 bytes.
pub fn block_id_from_proto(bytes: &[u8]) -> Result<BlockId, RecordError> {
    let array: [u8; 16] = bytes
        .try_into()
        .map_err(|_| corrupt(format!("block id has not 16 bytes: bytes={}", bytes.len())))?;
    Ok(BlockId(u128::from_be_bytes(array)))
}

/// A key range as a message.
pub fn key_range_to_proto(range: KeyRange) -> v1::KeyRangeRecord {
    v1::KeyRangeRecord { first: range.first.0, last: range.last.0 }
}

/// The key range of a message; absent or inside out is damage.
pub fn key_range_from_proto(range: Option<&v1::KeyRangeRecord>) -> Result<KeyRange, RecordError> {
    match range {
        Some(r) if r.first <= r.last => {
            Ok(KeyRange { first: SeriesKey(r.first), last: SeriesKey(r.last) })
        }
        Some(r) => Err(corrupt(format!("key range is inside out: {:x}..{:x}", r.first, r.last))),
        None => Err(corrupt("a key range is missing")),
    }
}

/// A digest as a message.
pub fn digest_to_proto(digest: Digest) -> v1::SampleDigest {
    let sum = match digest.sum {
        0 => Bytes::new(),
        sum => Bytes::copy_from_slice(&sum.to_be_bytes()),
    };
    v1::SampleDigest { samples: digest.samples, sum }
}

/// The digest of a message; absent is damage.
pub fn digest_from_proto(digest: Option<&v1::SampleDigest>) -> Result<Digest, RecordError> {
    let digest = digest.ok_or_else(|| corrupt("a digest is missing"))?;
    let sum = match digest.sum.len() {
        0 => 0,
        16 => block_id_from_proto(&digest.sum)?.0,
        n => return Err(corrupt(format!("digest has not 16 bytes: bytes={n}"))),
    };
    Ok(Digest { samples: digest.samples, sum })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> BlockRecord {
        let time = TimeRange { min_ms: -5, max_ms: 7_200_000 };
        let span = |name: &str, first_row, samples| TenantSpan {
            tenant: TenantId::parse(name).expect("a good name"),
            keys: KeyRange { first: SeriesKey(3), last: SeriesKey(u64::MAX) },
            time,
            first_row,
            rows: 10,
            series: 4,
            samples,
        };
        BlockRecord {
            id: BlockId::new(1_700_000_000_000, 99),
            format: 1,
            level: 1,
            resolution_ms: 300_000,
            source: BlockSource::Compaction { work: 7, sources: vec![BlockId(1), BlockId(2)] },
            tenants: vec![span("a", 0, 40), span("b", 10, 2)],
            time,
            digest: Digest { samples: 42, sum: 1 << 100 },
            object_bytes: 1_000,
            footer_offset: 900,
            created_ms: 12,
        }
    }

    #[test]
    fn records_round_trip() {
        let mut record = record();
        assert_eq!(decode_record(&encode_record(&record)), Ok(record.clone()));
        let generation = GenerationId { shard: ShardId(3), cut: Cut(9) };
        record.source = BlockSource::Generation(generation);
        record.digest.sum = 0;
        assert_eq!(decode_record(&encode_record(&record)), Ok(record));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let broken = |change: &dyn Fn(&mut v1::BlockRecord)| {
            let mut message = record_to_proto(&record());
            change(&mut message);
            record_from_proto(&message)
        };
        let faults: [&dyn Fn(&mut v1::BlockRecord); 8] = [
            &|m| m.id = Bytes::from_static(b"short"),
            &|m| m.tenants.swap(0, 1),
            &|m| m.tenants[0].tenant = "../x".into(),
            &|m| m.tenants[0].samples += 1,
            &|m| m.tenants[0].keys = None,
            &|m| m.tenants[0].first_row = u64::MAX,
            &|m| m.max_ms = m.min_ms - 1,
            &|m| m.source = None,
        ];
        for (i, fault) in faults.iter().enumerate() {
            let error = broken(fault).expect_err("a fault must be seen");
            assert_eq!(error.kind(), ErrorKind::Corrupt, "fault {i}: {error}");
        }
        let newer = broken(&|m| m.version = 2).expect_err("a newer version");
        assert_eq!(newer.kind(), ErrorKind::Unsupported);
    }
}
