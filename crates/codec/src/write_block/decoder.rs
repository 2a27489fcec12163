//! `Decoder`: the shard's end of one stream. Also for a producer that has to take its own blocks apart again.

use std::collections::BTreeMap;

use pando_model::{Epoch, ErrorKind, Labels, Metadata, MetricType, TenantId};
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

use super::encoder::{DROP, EDIT, FRAME, METADATA, REGISTER};
use super::frame::{Frame, decode_frame};
use super::group_state::GroupState;
use super::series_list::{BlockContext, SymbolTable, decode_series_list};
use super::{
    BLOCK_BYTES_MAX, GROUPS_PER_STREAM_MAX, GroupId, GroupSpec, SLOTS_PER_GROUP_MAX, TargetEpoch,
    VERSION,
};
use crate::error::CodecError;
use crate::varint::{Reader, put_varint};

/// Bytes of the checksum at the end.
const CHECKSUM_BYTES: usize = 8;

/// Why a block was not decoded. The decoder is as it was.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum DecodeError {
    /// The decoder does not hold what frames of these groups are based on.
    #[error("base of write block is not known: groups={groups:?}")]
    SendFull {
        /// The groups, ascending.
        groups: Vec<GroupId>,
    },
    /// The bytes are not a write block.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl DecodeError {
    /// What the error means to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            DecodeError::SendFull { .. } => ErrorKind::Stale,
            DecodeError::Codec(error) => error.kind(),
        }
    }
}

/// One operation of a block.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// A group is new, or starts anew: what was known of it is void.
    Register {
        /// The group.
        group: GroupId,
        /// What it consists of.
        spec: GroupSpec,
    },
    /// Series of a group went and came.
    Edit {
        /// The group.
        group: GroupId,
        /// Slots whose series was removed, ascending.
        removed: Vec<u32>,
        /// Series of the next slots.
        added: Vec<Labels>,
    },
    /// Samples.
    Frame(Frame),
    /// The group is not used any more.
    Drop {
        /// The group.
        group: GroupId,
    },
    /// What is known of a metric family.
    Metadata {
        /// The tenant.
        tenant: TenantId,
        /// The family's name.
        family: String,
        /// Type, unit and help.
        metadata: Metadata,
    },
}

/// A decoded block, and the state that the stream has after it.
#[derive(Clone, Debug)]
pub struct DecodedBlock {
    /// What the block says, in order.
    pub ops: Vec<Op>,
    next: BTreeMap<u32, Option<GroupState>>,
}

impl DecodedBlock {
    /// The number of samples.
    pub fn samples(&self) -> usize {
        let of = |op: &Op| if let Op::Frame(frame) = op { frame.len() } else { 0 };
        self.ops.iter().map(of).sum()
    }
}

/// The state of a stream: its groups after the last committed block.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    groups: BTreeMap<u32, GroupState>,
}

impl Decoder {
    /// The decoder of a new stream.
    pub fn new() -> Self {
        Decoder::default()
    }

    /// The state of `group` after the last committed block.
    pub fn group(&self, group: GroupId) -> Option<&GroupState> {
        self.groups.get(&group.0)
    }

    /// The groups, ascending.
    pub fn groups(&self) -> impl Iterator<Item = (GroupId, &GroupState)> {
        self.groups.iter().map(|(id, state)| (GroupId(*id), state))
    }

    /// Forgets `group`: its next frame is answered with "send full".
    pub fn forget(&mut self, group: GroupId) {
        self.groups.remove(&group.0);
    }

    /// Decodes a block against the state, which only [`Decoder::commit`] changes.
    pub fn decode(&self, block: &[u8]) -> Result<DecodedBlock, DecodeError> {
        let mut reader = Reader::new("write block", checked_body(block)?);
        reader.version(VERSION)?;
        let mut pass = Pass {
            before: &self.groups,
            next: BTreeMap::new(),
            unknown: Vec::new(),
            context: BlockContext::new(SymbolTable::read(&mut reader)?),
        };
        let count = reader.count_of("operations", BLOCK_BYTES_MAX, 2)?;
        let mut ops = Vec::new();
        for _ in 0..count {
            ops.extend(pass.op(&mut reader)?);
        }
        reader.finish()?;
        if !pass.unknown.is_empty() {
            pass.unknown.sort_unstable();
            pass.unknown.dedup();
            return Err(DecodeError::SendFull { groups: pass.unknown });
        }
        Ok(DecodedBlock { ops, next: pass.next })
    }

    /// Moves the stream behind `block`, which this decoder has decoded last.
    pub fn commit(&mut self, block: DecodedBlock) -> Vec<Op> {
        for (id, state) in block.next {
            match state {
                Some(state) => self.groups.insert(id, state),
                None => self.groups.remove(&id),
            };
        }
        block.ops
    }

    /// Bytes of heap.
    pub fn heap_bytes(&self) -> usize {
        self.groups.values().map(|g| g.heap_bytes() + size_of::<GroupState>() + 16).sum()
    }

    /// Appends the state to a checkpoint.
    pub fn save(&self, out: &mut Vec<u8>) {
        put_varint(out, self.groups.len() as u64);
        for (id, state) in &self.groups {
            put_varint(out, u64::from(*id));
            state.save(out);
        }
    }

    /// Reads what [`Decoder::save`] wrote.
    pub fn load(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let count = reader.count_of("groups per stream", GROUPS_PER_STREAM_MAX, 8)?;
        let mut groups = BTreeMap::new();
        for _ in 0..count {
            let id = reader.varint_u32()?;
            groups.insert(id, GroupState::load(reader)?);
        }
        Ok(Decoder { groups })
    }
}

/// Whether `block` arrived as it was sent: its version is known and its checksum is right. What it says may
/// still be nonsense.
pub fn verify(block: &[u8]) -> Result<(), CodecError> {
    checked_body(block).map(|_| ())
}

/// The block without its checksum, where that is right.
fn checked_body(block: &[u8]) -> Result<&[u8], CodecError> {
    let what = "write block";
    let (found, max) = (block.len() as u64, BLOCK_BYTES_MAX as u64);
    if found > max {
        return Err(CodecError::Limit { what, limit: "bytes", found, max });
    }
    // A newer version may put its checksum elsewhere, so the version speaks first.
    Reader::new(what, block).version(VERSION)?;
    let Some((body, checksum)) = block.split_last_chunk::<CHECKSUM_BYTES>() else {
        let (needed, left) = (CHECKSUM_BYTES, block.len());
        return Err(CodecError::Truncated { what, at: 0, needed, left });
    };
    if xxh3_64(body).to_le_bytes() != *checksum {
        let reason = "checksum differs";
        return Err(CodecError::Malformed { what, at: body.len(), reason });
    }
    Ok(body)
}

/// One pass over a block: what changes is kept apart from the state before.
struct Pass<'a> {
    before: &'a BTreeMap<u32, GroupState>,
    next: BTreeMap<u32, Option<GroupState>>,
    unknown: Vec<GroupId>,
    context: BlockContext<'a>,
}

impl<'a> Pass<'a> {
    fn op(&mut self, reader: &mut Reader<'a>) -> Result<Option<Op>, CodecError> {
        match reader.u8()? {
            REGISTER => self.register(reader).map(Some),
            EDIT => self.edit(reader),
            FRAME => self.frame(reader),
            DROP => {
                let group = GroupId(reader.varint_u32()?);
                self.next.insert(group.0, None);
                Ok(Some(Op::Drop { group }))
            }
            METADATA => self.metadata(reader).map(Some),
            _ => Err(reader.malformed("unknown operation")),
        }
    }

    /// The state of `group` where its chain is `base`; otherwise the group is noted as unknown.
    fn based(&mut self, group: GroupId, base: u32) -> Option<GroupState> {
        let state = match self.next.get_mut(&group.0) {
            Some(state) => state.take(),
            None => self.before.get(&group.0).cloned(),
        };
        let state = state.filter(|state| state.chain == base);
        if state.is_none() {
            self.unknown.push(group);
            self.next.insert(group.0, None);
        }
        state
    }

    fn register(&mut self, reader: &mut Reader<'a>) -> Result<Op, CodecError> {
        let start = reader.position();
        let whole = reader.rest();
        let group = GroupId(reader.varint_u32()?);
        let tenant = self.tenant(reader)?;
        let target = match reader.u8()? {
            0 => None,
            1 => Some(TargetEpoch { target: reader.u64()?, epoch: Epoch(reader.varint()?) }),
            _ => return Err(reader.malformed("unknown kind of target")),
        };
        let series = decode_series_list(reader, &mut self.context)?;
        let spec = GroupSpec { tenant, target, series };
        let state = GroupState::registered(&spec, &whole[..reader.position() - start]);
        let is_new = !self.before.contains_key(&group.0) && !self.next.contains_key(&group.0);
        if is_new && self.group_count() >= GROUPS_PER_STREAM_MAX {
            let (found, max) = (GROUPS_PER_STREAM_MAX as u64 + 1, GROUPS_PER_STREAM_MAX as u64);
            let (what, limit) = ("write block", "groups per stream");
            return Err(CodecError::Limit { what, limit, found, max });
        }
        self.next.insert(group.0, Some(state));
        Ok(Op::Register { group, spec })
    }

    /// The stream's groups with what the block has done so far. A block registers a few; many only where it may.
    fn group_count(&self) -> usize {
        if self.before.len() + self.next.len() < GROUPS_PER_STREAM_MAX {
            return self.before.len() + self.next.len();
        }
        let gone =
            self.next.iter().filter(|(id, now)| now.is_none() && self.before.contains_key(id));
        let come =
            self.next.iter().filter(|(id, now)| now.is_some() && !self.before.contains_key(id));
        self.before.len() + come.count() - gone.count()
    }

    fn edit(&mut self, reader: &mut Reader<'a>) -> Result<Option<Op>, CodecError> {
        let group = GroupId(reader.varint_u32()?);
        let base = reader.u32()?;
        let (start, whole) = (reader.position(), reader.rest());
        let count = reader.count_of("slots", SLOTS_PER_GROUP_MAX, 1)?;
        let (mut removed, mut next) = (Vec::with_capacity(count), 0u64);
        for _ in 0..count {
            let slot = next.saturating_add(reader.varint()?);
            next = slot.saturating_add(1);
            removed.push(u32::try_from(slot).map_err(|_| reader.malformed("no such slot"))?);
        }
        let list = decode_series_list(reader, &mut self.context)?;
        let content = &whole[..reader.position() - start];
        let added: Vec<Labels> = list.into_iter().flatten().collect();
        let Some(mut state) = self.based(group, base) else { return Ok(None) };
        if removed.last().is_some_and(|slot| *slot >= state.slots()) {
            return Err(reader.malformed("no such slot"));
        }
        if state.slots() as usize + added.len() > SLOTS_PER_GROUP_MAX {
            return Err(reader.malformed("too many slots"));
        }
        removed.iter().for_each(|slot| state.remove(*slot));
        state.grow(added.len());
        state.advance(content);
        self.next.insert(group.0, Some(state));
        Ok(Some(Op::Edit { group, removed, added }))
    }

    fn frame(&mut self, reader: &mut Reader<'a>) -> Result<Option<Op>, CodecError> {
        let group = GroupId(reader.varint_u32()?);
        let base = reader.u32()?;
        let content = reader.blob("frame bytes", BLOCK_BYTES_MAX)?;
        let Some(mut state) = self.based(group, base) else { return Ok(None) };
        let frame = decode_frame(group, &mut state, content, &mut self.context)?;
        state.advance(content);
        self.next.insert(group.0, Some(state));
        Ok(Some(Op::Frame(frame)))
    }

    fn metadata(&mut self, reader: &mut Reader<'a>) -> Result<Op, CodecError> {
        let tenant = self.tenant(reader)?;
        let family = self.context.symbols.read_text(reader)?.to_string();
        let metric_type = MetricType::from_number(u32::from(reader.u8()?));
        let unit = self.context.symbols.read_text(reader)?.to_string();
        let help = self.context.symbols.read_text(reader)?.to_string();
        self.context.take_text(family.len() + unit.len() + help.len())?;
        Ok(Op::Metadata { tenant, family, metadata: Metadata { metric_type, unit, help } })
    }

    fn tenant(&self, reader: &mut Reader<'a>) -> Result<TenantId, CodecError> {
        TenantId::parse(self.context.symbols.read_text(reader)?)
            .map_err(|_| reader.malformed("tenant name is not [A-Za-z0-9_-]{1,64}"))
    }
}
