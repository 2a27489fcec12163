//! `Entry`: what a shard's Raft log holds. Applying one reads nothing but the entry and the shard's state, so
//! whatever a verdict needs (the leader's clock, limits, key ranges) is written into it by the leader.
//!
//! ```text
//! u8 version = 1, u8 kind
//! 0 write      zigzag leader's time ms
//!              u8 rules follow (0, 1), rules
//!              varint number of blocks, for each:
//!                u64 producer, varint epoch, varint sequence
//!                u8 skip (0, 1), varint from, varint to
//!                write block behind its length
//! 1 cut        varint cut, u8 reason
//! 2 committed  varint cut, u128 block, varint samples, u128 multiset hash
//! 3 seal
//!
//! rules        varint version
//!              u8 routes (0 every key, 1 ranges): varint number, for each: tenant text, u64 first, u64 last
//!              limits of tenants that have none of their own
//!              varint number of tenants with limits of their own, for each: tenant text, limits
//! limits       varint series, labels, label name bytes, label value bytes; zigzag out-of-order window ms
//! ```
//!
//! Numbers are little endian. The log's own frames carry the checksum; write blocks carry theirs.

use bytes::Bytes;
use pando_model::tenant::TENANT_BYTES_MAX;
use pando_model::{BlockId, Cut, Digest, Epoch, KeyRange, ProducerId, Sequence, SeriesKey};
use pando_model::{StreamId, TenantId};

use crate::error::CodecError;
use crate::varint::{Reader, put_bytes, put_text, put_varint, put_zigzag};
use crate::write_block::BLOCK_BYTES_MAX;

/// The version that is written, and the only one that is read.
pub const VERSION: u8 = 1;
/// The most write blocks of one entry.
pub const BLOCKS_PER_ENTRY_MAX: usize = 1 << 16;
/// The most tenants that rules name.
const TENANTS_MAX: usize = 1 << 20;
/// The most key ranges of a shard.
const RANGES_MAX: usize = 1 << 20;

const WRITE: u8 = 0;
const CUT: u8 = 1;
const COMMITTED: u8 = 2;
const SEAL: u8 = 3;

/// One entry of a shard's log.
#[derive(Clone, PartialEq, Debug)]
pub enum Entry {
    /// Samples.
    Write(Write),
    /// Generation `cut` ends here.
    Cut {
        /// The generation.
        cut: Cut,
        /// Why now.
        reason: CutReason,
    },
    /// The catalog names a block for generation `cut`.
    Committed {
        /// The generation.
        cut: Cut,
        /// The block.
        block: BlockId,
        /// The digest in the block's record.
        digest: Digest,
    },
    /// The last entry of the shard: it ends the open generation, and nothing is accepted afterwards.
    Seal,
}

/// Why a generation ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CutReason {
    /// It is old enough.
    Time = 0,
    /// It is large enough.
    Size = 1,
    /// Somebody asked.
    Demand = 2,
}

/// A batch of write blocks, with all that judging them needs.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Write {
    /// The leader's clock, ms: samples too far ahead of it are refused.
    pub leader_time_ms: i64,
    /// New rules, in force from this entry on; `None`: those of the state stay.
    pub rules: Option<ShardRules>,
    /// The blocks, judged and applied one after the other.
    pub blocks: Vec<StreamBlock>,
}

/// A write block with its place in its stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamBlock {
    /// The stream within the shard.
    pub stream: StreamId,
    /// The block's number, from 1.
    pub sequence: Sequence,
    /// Numbers (from, to), both included, that the producer had to drop before this block.
    pub skip: Option<(Sequence, Sequence)>,
    /// The write block; see [`crate::write_block`].
    pub bytes: Bytes,
}

/// What a shard accepts: a copy of what the catalog says, in the log, so that every replica judges alike.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShardRules {
    /// The catalog version, or any number that grows, by which a leader sees that newer rules are due.
    pub version: u64,
    /// The keys that the shard takes.
    pub routes: Routes,
    /// Limits of tenants that have none of their own.
    pub default_limits: TenantLimits,
    /// Tenants with limits of their own, sorted by name.
    pub tenant_limits: Vec<(TenantId, TenantLimits)>,
}

/// The keys that a shard takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Routes {
    /// Every key of every tenant: a cluster of one shard.
    Every,
    /// These ranges, sorted by tenant and first key.
    Ranges(Vec<(TenantId, KeyRange)>),
}

/// Limits of one tenant in one shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TenantLimits {
    /// Active series in this shard: the tenant's limit divided by its shards.
    pub series_max: u64,
    /// Labels of a series, the name included.
    pub labels_per_series_max: u32,
    /// Bytes of a label's name.
    pub label_name_bytes_max: u32,
    /// Bytes of a label's value.
    pub label_value_bytes_max: u32,
    /// How much older than the tenant's newest sample in the shard a sample may be, ms.
    pub out_of_order_window_ms: i64,
}

impl Default for TenantLimits {
    /// 1 M series a shard, 64 labels, names of 1 KiB, values of 16 KiB, 3 h.
    fn default() -> Self {
        TenantLimits {
            series_max: 1_000_000,
            labels_per_series_max: 64,
            label_name_bytes_max: 1 << 10,
            label_value_bytes_max: 16 << 10,
            out_of_order_window_ms: 3 * 3_600_000,
        }
    }
}

impl Default for ShardRules {
    /// Version 0: every key, default limits.
    fn default() -> Self {
        ShardRules {
            version: 0,
            routes: Routes::Every,
            default_limits: TenantLimits::default(),
            tenant_limits: Vec::new(),
        }
    }
}

impl ShardRules {
    /// The limits of `tenant`.
    pub fn limits(&self, tenant: &TenantId) -> &TenantLimits {
        match self.tenant_limits.binary_search_by(|(t, _)| t.cmp(tenant)) {
            Ok(at) => &self.tenant_limits[at].1,
            Err(_) => &self.default_limits,
        }
    }

    /// Appends the rules to an entry or a checkpoint.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.version);
        match &self.routes {
            Routes::Every => out.push(0),
            Routes::Ranges(ranges) => {
                out.push(1);
                put_varint(out, ranges.len() as u64);
                for (tenant, range) in ranges {
                    put_text(out, tenant.as_str());
                    out.extend(range.first.0.to_le_bytes());
                    out.extend(range.last.0.to_le_bytes());
                }
            }
        }
        self.default_limits.encode(out);
        put_varint(out, self.tenant_limits.len() as u64);
        for (tenant, limits) in &self.tenant_limits {
            put_text(out, tenant.as_str());
            limits.encode(out);
        }
    }

    /// Reads what [`ShardRules::encode`] wrote.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let version = reader.varint()?;
        let routes = match reader.u8()? {
            0 => Routes::Every,
            1 => {
                let count = reader.count_of("key ranges", RANGES_MAX, 18)?;
                let mut ranges = Vec::with_capacity(count);
                for _ in 0..count {
                    let tenant = read_tenant(reader)?;
                    let (first, last) = (SeriesKey(reader.u64()?), SeriesKey(reader.u64()?));
                    ranges.push((tenant, KeyRange { first, last }));
                }
                if !ranges.is_sorted() {
                    return Err(reader.malformed("key ranges are not sorted"));
                }
                Routes::Ranges(ranges)
            }
            _ => return Err(reader.malformed("unknown kind of routes")),
        };
        let default_limits = TenantLimits::decode(reader)?;
        let count = reader.count_of("tenants", TENANTS_MAX, 7)?;
        let mut tenant_limits = Vec::with_capacity(count);
        for _ in 0..count {
            tenant_limits.push((read_tenant(reader)?, TenantLimits::decode(reader)?));
        }
        if !tenant_limits.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(reader.malformed("tenants are not sorted"));
        }
        Ok(ShardRules { version, routes, default_limits, tenant_limits })
    }
}

impl Routes {
    /// Whether the shard takes `key` of `tenant`.
    pub fn contains(&self, tenant: &TenantId, key: SeriesKey) -> bool {
        let Routes::Ranges(ranges) = self else { return true };
        let end = ranges.partition_point(|(t, range)| (t, range.first) <= (tenant, key));
        let last = end.checked_sub(1).map(|at| &ranges[at]);
        last.is_some_and(|(t, range)| t == tenant && range.contains(key))
    }

    /// Whether the shard takes any key of `tenant`.
    pub fn has_tenant(&self, tenant: &TenantId) -> bool {
        let Routes::Ranges(ranges) = self else { return true };
        ranges.binary_search_by(|(t, _)| t.cmp(tenant)).is_ok()
    }
}

impl TenantLimits {
    fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.series_max);
        put_varint(out, u64::from(self.labels_per_series_max));
        put_varint(out, u64::from(self.label_name_bytes_max));
        put_varint(out, u64::from(self.label_value_bytes_max));
        put_zigzag(out, self.out_of_order_window_ms);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(TenantLimits {
            series_max: reader.varint()?,
            labels_per_series_max: reader.varint_u32()?,
            label_name_bytes_max: reader.varint_u32()?,
            label_value_bytes_max: reader.varint_u32()?,
            out_of_order_window_ms: reader.zigzag()?,
        })
    }
}

impl Entry {
    /// The entry's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        match self {
            Entry::Write(write) => {
                out.push(WRITE);
                write.encode(&mut out);
            }
            Entry::Cut { cut, reason } => {
                out.push(CUT);
                put_varint(&mut out, cut.0);
                out.push(*reason as u8);
            }
            Entry::Committed { cut, block, digest } => {
                out.push(COMMITTED);
                put_varint(&mut out, cut.0);
                out.extend(block.0.to_le_bytes());
                put_varint(&mut out, digest.samples);
                out.extend(digest.sum.to_le_bytes());
            }
            Entry::Seal => out.push(SEAL),
        }
        out
    }

    /// Reads an entry; its write blocks share `bytes` and are not looked into.
    pub fn decode(bytes: &Bytes) -> Result<Entry, CodecError> {
        let mut reader = Reader::new("shard log entry", bytes);
        reader.version(VERSION)?;
        let entry = match reader.u8()? {
            WRITE => Entry::Write(Write::decode(&mut reader, bytes)?),
            CUT => {
                let cut = Cut(reader.varint()?);
                let reason = match reader.u8()? {
                    0 => CutReason::Time,
                    1 => CutReason::Size,
                    2 => CutReason::Demand,
                    _ => return Err(reader.malformed("unknown reason of a cut")),
                };
                Entry::Cut { cut, reason }
            }
            COMMITTED => {
                let cut = Cut(reader.varint()?);
                let block = BlockId(u128::from_le_bytes(reader.array()?));
                let samples = reader.varint()?;
                let sum = u128::from_le_bytes(reader.array()?);
                Entry::Committed { cut, block, digest: Digest { samples, sum } }
            }
            SEAL => Entry::Seal,
            _ => return Err(reader.malformed("unknown kind of entry")),
        };
        reader.finish()?;
        Ok(entry)
    }
}

impl Write {
    fn encode(&self, out: &mut Vec<u8>) {
        let blocks: usize = self.blocks.iter().map(|block| block.bytes.len() + 48).sum();
        out.reserve(blocks);
        put_zigzag(out, self.leader_time_ms);
        out.push(u8::from(self.rules.is_some()));
        if let Some(rules) = &self.rules {
            rules.encode(out);
        }
        put_varint(out, self.blocks.len() as u64);
        for block in &self.blocks {
            out.extend(block.stream.producer.0.to_le_bytes());
            put_varint(out, block.stream.epoch.0);
            put_varint(out, block.sequence.0);
            out.push(u8::from(block.skip.is_some()));
            if let Some((from, to)) = block.skip {
                put_varint(out, from.0);
                put_varint(out, to.0);
            }
            put_bytes(out, &block.bytes);
        }
    }

    fn decode(reader: &mut Reader<'_>, whole: &Bytes) -> Result<Self, CodecError> {
        let leader_time_ms = reader.zigzag()?;
        let rules = if flag(reader)? { Some(ShardRules::decode(reader)?) } else { None };
        let count = reader.count_of("write blocks", BLOCKS_PER_ENTRY_MAX, 12)?;
        let mut blocks = Vec::with_capacity(count);
        for _ in 0..count {
            let producer = ProducerId(reader.u64()?);
            let stream = StreamId { producer, epoch: Epoch(reader.varint()?) };
            let sequence = Sequence(reader.varint()?);
            let skip = match flag(reader)? {
                true => Some((Sequence(reader.varint()?), Sequence(reader.varint()?))),
                false => None,
            };
            let length = reader.blob("write block bytes", BLOCK_BYTES_MAX)?.len();
            let end = reader.position();
            blocks.push(StreamBlock {
                stream,
                sequence,
                skip,
                bytes: whole.slice(end - length..end),
            });
        }
        Ok(Write { leader_time_ms, rules, blocks })
    }
}

fn flag(reader: &mut Reader<'_>) -> Result<bool, CodecError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(reader.malformed("flag is neither 0 nor 1")),
    }
}

fn read_tenant(reader: &mut Reader<'_>) -> Result<TenantId, CodecError> {
    TenantId::parse(reader.text("tenant bytes", TENANT_BYTES_MAX)?)
        .map_err(|_| reader.malformed("tenant name is not [A-Za-z0-9_-]{1,64}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).expect("good name")
    }

    fn write() -> Entry {
        let range = |first, last| KeyRange { first: SeriesKey(first), last: SeriesKey(last) };
        let routes = vec![
            (tenant("a"), range(0, 9)),
            (tenant("a"), range(20, u64::MAX)),
            (tenant("b"), range(5, 6)),
        ];
        let limits = TenantLimits { series_max: 7, ..TenantLimits::default() };
        Entry::Write(Write {
            leader_time_ms: 1_700_000_000_000,
            rules: Some(ShardRules {
                version: 300,
                routes: Routes::Ranges(routes),
                default_limits: TenantLimits::default(),
                tenant_limits: vec![(tenant("b"), limits)],
            }),
            blocks: vec![StreamBlock {
                stream: StreamId { producer: ProducerId(0xabcd), epoch: Epoch(2) },
                sequence: Sequence(9),
                skip: Some((Sequence(7), Sequence(8))),
                bytes: Bytes::from_static(b"block"),
            }],
        })
    }

    fn all() -> Vec<Entry> {
        vec![
            write(),
            Entry::Write(Write::default()),
            Entry::Cut { cut: Cut(3), reason: CutReason::Size },
            Entry::Committed {
                cut: Cut(3),
                block: BlockId(5),
                digest: Digest { samples: 300, sum: 1 << 100 },
            },
            Entry::Seal,
        ]
    }

    #[test]
    fn every_kind_comes_back() {
        for entry in all() {
            assert_eq!(Entry::decode(&entry.encode().into()), Ok(entry));
        }
    }

    #[test]
    fn version_one_is_pinned() {
        let hex: Vec<String> = all()
            .iter()
            .map(|entry| entry.encode().iter().map(|b| format!("{b:02x}")).collect())
            .collect();
        assert_eq!(hex, PINNED);
    }
    const PINNED: [&str; 5] = [
        concat!(
            "010080a0abfef96201ac0201030161000000000000000009000000000000000161140000000000",
            "0000ffffffffffffffff016205000000000000000600000000000000c0843d40800880800180ae",
            "a60a0101620740800880800180aea60a01cdab000000000000020901070805626c6f636b"
        ),
        "0100000000",
        "01010301",
        "01020305000000000000000000000000000000ac0200000000000000000000000010000000",
        "0103",
    ];

    #[test]
    fn an_unknown_version_is_refused_with_both_named() {
        let error = Entry::decode(&Bytes::from_static(&[9, SEAL])).expect_err("version 9");
        assert_eq!(error.to_string(), "shard log entry has an unknown version: found=9 known=1");
    }

    #[test]
    fn routes_are_per_tenant_and_limits_fall_back() {
        let Entry::Write(Write { rules: Some(rules), .. }) = write() else { panic!("a write") };
        let takes = |t: &str, key| rules.routes.contains(&tenant(t), SeriesKey(key));
        assert!(takes("a", 0) && takes("a", 9) && takes("a", 20) && takes("b", 5));
        assert!(!takes("a", 10) && !takes("b", 7) && !takes("b", 4) && !takes("c", 5));
        assert!(rules.routes.has_tenant(&tenant("b")) && !rules.routes.has_tenant(&tenant("c")));
        assert!(!takes("Z", 0) && Routes::Every.contains(&tenant("c"), SeriesKey(5)));
        assert_eq!(rules.limits(&tenant("b")).series_max, 7);
        assert_eq!(rules.limits(&tenant("c")).series_max, 1_000_000);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn damage_never_panics(which in 0usize..5, at in 0usize..500, bit in 0u8..8, cut in any::<bool>()) {
            let mut bytes = all()[which].encode();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            if cut {
                bytes.truncate(at);
            }
            let _ = Entry::decode(&bytes.into());
        }
    }
}
