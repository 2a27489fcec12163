//! Checkpoints: the whole state as bytes, so that a restart replays only what came after.
//!
//! ```text
//! u8 version = 1
//! varint shard, varint log index, u8 sealed, varint dropped cut
//! rules (codec::entry)
//! varint number of tenants, for each: name, newest time, metadata, targets, series table
//! varint number of streams, for each: id, next sequence, groups' states (codec::write_block), groups' rows
//! varint number of generations, for each: cut, digest, committed, tenants' lanes and loose samples
//! u64 xxh3 of all bytes before
//! ```
//!
//! Rows are numbered as in the replica that wrote it; nothing outside a checkpoint names them.

use pando_codec::entry::ShardRules;
use pando_codec::varint::{put_text, put_varint};
use pando_codec::{CodecError, Reader};
use pando_model::tenant::TENANT_BYTES_MAX;
use pando_model::{Cut, ShardId, TenantId};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::HeadError;
use crate::generation::Generation;
use crate::shard::{Shard, ShardConfig};
use crate::streams::{FIRST_SPECIAL, Stream};
use crate::tenant::Tenant;

/// The version that is written, and the only one that is read.
pub const CHECKPOINT_VERSION: u8 = 1;

const WHAT: &str = "head checkpoint";

impl Shard {
    /// The whole state as bytes.
    pub fn checkpoint(&self) -> Vec<u8> {
        let mut out = vec![CHECKPOINT_VERSION];
        put_varint(&mut out, self.id.0);
        put_varint(&mut out, self.applied_index);
        out.push(u8::from(self.sealed));
        put_varint(&mut out, self.dropped.0);
        self.rules.encode(&mut out);
        put_varint(&mut out, self.tenants.len() as u64);
        for (tenant, state) in &self.tenants {
            put_text(&mut out, tenant.as_str());
            state.save(&mut out);
        }
        put_varint(&mut out, self.streams.len() as u64);
        for (id, stream) in &self.streams {
            stream.save(*id, &mut out);
        }
        put_varint(&mut out, self.generations.len() as u64);
        for generation in &self.generations {
            generation.save(&mut out);
        }
        out.extend(xxh3_64(&out).to_le_bytes());
        out
    }

    /// The shard `shard` as [`Shard::checkpoint`] wrote it.
    pub fn restore(shard: ShardId, bytes: &[u8]) -> Result<Shard, HeadError> {
        let restored = read(bytes).map_err(|source| HeadError::Checkpoint { shard, source })?;
        match restored.id {
            found if found == shard => Ok(restored),
            found => Err(HeadError::OtherShard { shard, found }),
        }
    }
}

fn read(bytes: &[u8]) -> Result<Shard, CodecError> {
    // The version speaks first: another one may keep its checksum elsewhere.
    Reader::new(WHAT, bytes).version(CHECKPOINT_VERSION)?;
    let Some((body, checksum)) = bytes.split_last_chunk::<8>() else {
        return Err(CodecError::Truncated { what: WHAT, at: 0, needed: 9, left: bytes.len() });
    };
    if xxh3_64(body).to_le_bytes() != *checksum {
        return Err(CodecError::Malformed {
            what: WHAT,
            at: body.len(),
            reason: "checksum differs",
        });
    }
    let mut reader = Reader::new(WHAT, body);
    reader.version(CHECKPOINT_VERSION)?;
    let config = ShardConfig {
        shard: ShardId(reader.varint()?),
        rules: ShardRules::default(),
        inherited: Vec::new(),
    };
    let mut shard = Shard::new(config);
    shard.applied_index = reader.varint()?;
    shard.sealed = reader.u8()? == 1;
    shard.dropped = Cut(reader.varint()?);
    shard.rules = ShardRules::decode(&mut reader)?;
    for _ in 0..reader.count_of("tenants", u32::MAX as usize, 3)? {
        let tenant = TenantId::parse(reader.text("tenant bytes", TENANT_BYTES_MAX)?)
            .map_err(|_| reader.malformed("bad tenant"))?;
        shard.tenants.insert(tenant, Tenant::load(&mut reader)?);
    }
    let tenants = &shard.tenants;
    let row_end = |tenant: &TenantId| tenants.get(tenant).map_or(0, |t| t.series.row_end());
    for _ in 0..reader.count_of("streams", u32::MAX as usize, 10)? {
        let (id, stream) = Stream::load(&mut reader)?;
        for group in stream.groups.values() {
            let end = row_end(&group.tenant);
            if group.rows.iter().any(|row| *row as usize >= end && *row < FIRST_SPECIAL) {
                return Err(reader.malformed("a slot is of no row"));
            }
        }
        shard.streams.insert(id, stream);
    }
    shard.generations.clear();
    for _ in 0..reader.count_of("generations", u32::MAX as usize, 4)? {
        shard.generations.push_back(Generation::load(&mut reader, row_end)?);
    }
    reader.finish()?;
    check_lanes(&shard, &reader)?;
    Ok(shard)
}

/// The open generation is there, and groups write to lanes that are.
fn check_lanes(shard: &Shard, reader: &Reader<'_>) -> Result<(), CodecError> {
    let Some(open) = shard.generations.back() else {
        return Err(reader.malformed("no generation is open"));
    };
    let groups = shard.streams.values().flat_map(|stream| stream.groups.values());
    for group in groups {
        let Some((_, lane)) = group.lane.filter(|(cut, _)| *cut == open.cut) else { continue };
        let lanes = open.tenants.get(&group.tenant).map_or(0, |part| part.lanes().len());
        if lane as usize >= lanes {
            return Err(reader.malformed("a group's lane does not exist"));
        }
    }
    Ok(())
}
