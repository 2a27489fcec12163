//! The bytes of the shared log. A segment is a file `<number, 16 hex digits>.log`:
//!
//! ```text
//! segment  "PANDOLOG" | version u32 | number u64 | cluster u64 | node u64 | crc u32 | frame*
//! frame    "PFRM" | sequence u64 | body length u32 | crc u32 | record*      one write, one fsync
//! record   kind u8 | group u64 | body length u32 | crc u32 | body
//! ```
//!
//! Little endian; each crc is crc32c of what stands before it in its header, a record's also of its body. Frames are
//! numbered without gaps over all segments, and a frame is written only after the one before it is durable: an
//! unreadable frame with nothing readable behind it is a torn write, any other is damage.

use bytes::{Buf as _, Bytes};
use pando_model::{ClusterId, NodeId};

use crate::member::Member;
use crate::types::{Entry, LogId, Vote};
use crate::wire::{
    Reader, WireError, put_maybe_log_id, put_members, put_option, put_u32, put_u64, put_vote,
};

pub(crate) const VERSION: u32 = 1;
pub(crate) const SEGMENT_HEADER_BYTES: usize = 40;
pub(crate) const FRAME_HEADER_BYTES: usize = 20;
pub(crate) const RECORD_HEADER_BYTES: usize = 17;

const SEGMENT_MAGIC: &[u8; 8] = b"PANDOLOG";
const FRAME_MARKER: &[u8; 4] = b"PFRM";

/// What a record says about its group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The group exists, with these members.
    Created = 1,
    /// The group is gone, with all that was recorded of it.
    Removed = 2,
    /// Its newest vote.
    Vote = 3,
    /// What is known to be committed.
    Committed = 4,
    /// One more entry at the end.
    Append = 5,
    /// An entry moved here from a segment that goes. Never truncates: what is behind it stays.
    Copy = 6,
    /// Entries from this index on are gone.
    Truncate = 7,
    /// Entries up to this log id are gone.
    Purge = 8,
    /// Members, vote, committed and purged, moved here from a segment that goes.
    State = 9,
}

/// Why bytes are not a segment, frame or record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// They end too early.
    Short,
    /// They do not begin as they should.
    Marker,
    /// A checksum differs.
    Checksum,
    /// A version of the future.
    Version(u32),
    /// The checksum is right and the content is not: our own fault, or a newer writer's.
    Content(&'static str),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Short => write!(f, "bytes end too early"),
            Fault::Marker => write!(f, "marker is missing"),
            Fault::Checksum => write!(f, "checksum differs"),
            Fault::Version(version) => write!(f, "version={version} is not known"),
            Fault::Content(what) => write!(f, "content cannot be decoded: field={what}"),
        }
    }
}

impl From<WireError> for Fault {
    fn from(error: WireError) -> Self {
        Fault::Content(error.field)
    }
}

/// Whose segment it is, and which.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentHeader {
    pub(crate) number: u64,
    pub(crate) cluster: ClusterId,
    pub(crate) node: NodeId,
}

impl SegmentHeader {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        out.extend_from_slice(SEGMENT_MAGIC);
        put_u32(&mut out, VERSION);
        put_u64(&mut out, self.number);
        put_u64(&mut out, self.cluster.0);
        put_u64(&mut out, self.node.0);
        let crc = crc32c::crc32c(&out);
        put_u32(&mut out, crc);
        out
    }

    pub(crate) fn decode(bytes: &Bytes) -> Result<Self, Fault> {
        if bytes.len() < SEGMENT_HEADER_BYTES {
            return Err(Fault::Short);
        }
        if &bytes[..8] != SEGMENT_MAGIC {
            return Err(Fault::Marker);
        }
        let mut fields = bytes.slice(8..SEGMENT_HEADER_BYTES);
        let version = fields.get_u32_le();
        if version != VERSION {
            return Err(Fault::Version(version));
        }
        let header = SegmentHeader {
            number: fields.get_u64_le(),
            cluster: ClusterId(fields.get_u64_le()),
            node: NodeId(fields.get_u64_le()),
        };
        let crc = crc32c::crc32c(&bytes[..SEGMENT_HEADER_BYTES - 4]);
        if fields.get_u32_le() == crc { Ok(header) } else { Err(Fault::Checksum) }
    }
}

/// A frame that is being filled. Its header's place is kept free in front, so that one write takes all.
#[derive(Default)]
pub(crate) struct FrameBuilder {
    bytes: Vec<u8>,
}

impl FrameBuilder {
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Appends a record; returns its offset in the frame and its length.
    pub(crate) fn push(
        &mut self,
        kind: Kind,
        group: u64,
        body: impl FnOnce(&mut Vec<u8>),
    ) -> (usize, usize) {
        if self.bytes.is_empty() {
            self.bytes.resize(FRAME_HEADER_BYTES, 0);
        }
        let start = self.bytes.len();
        self.bytes.push(kind as u8);
        put_u64(&mut self.bytes, group);
        self.bytes.extend_from_slice(&[0; 8]);
        let body_start = start + RECORD_HEADER_BYTES;
        body(&mut self.bytes);
        let body_len = (self.bytes.len() - body_start) as u32;
        self.bytes[start + 9..start + 13].copy_from_slice(&body_len.to_le_bytes());
        let crc = record_crc(&self.bytes[start..start + 13], &self.bytes[body_start..]);
        self.bytes[start + 13..body_start].copy_from_slice(&crc.to_le_bytes());
        (start, self.bytes.len() - start)
    }

    /// The frame's bytes, numbered.
    pub(crate) fn finish(mut self, sequence: u64) -> Vec<u8> {
        let body_len = (self.bytes.len() - FRAME_HEADER_BYTES) as u32;
        self.bytes[..4].copy_from_slice(FRAME_MARKER);
        self.bytes[4..12].copy_from_slice(&sequence.to_le_bytes());
        self.bytes[12..16].copy_from_slice(&body_len.to_le_bytes());
        let crc = crc32c::crc32c(&self.bytes[..16]);
        self.bytes[16..20].copy_from_slice(&crc.to_le_bytes());
        self.bytes
    }
}

fn record_crc(header: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header), body)
}

/// A record in its frame, checksum verified.
#[derive(Clone, Debug)]
pub(crate) struct RawRecord {
    pub(crate) kind: u8,
    pub(crate) group: u64,
    pub(crate) body: Bytes,
    /// Offset in what was read.
    pub(crate) offset: usize,
}

impl RawRecord {
    /// Reads the record at `offset`.
    pub(crate) fn at(bytes: &Bytes, offset: usize) -> Result<RawRecord, Fault> {
        let header_end = offset.checked_add(RECORD_HEADER_BYTES).ok_or(Fault::Short)?;
        let header = bytes.get(offset..header_end).ok_or(Fault::Short)?;
        let mut fields = header;
        let kind = fields.get_u8();
        let group = fields.get_u64_le();
        let len = fields.get_u32_le() as usize;
        let crc = fields.get_u32_le();
        let end =
            header_end.checked_add(len).filter(|end| *end <= bytes.len()).ok_or(Fault::Short)?;
        let body = bytes.slice(header_end..end);
        if record_crc(&header[..13], &body) != crc {
            return Err(Fault::Checksum);
        }
        Ok(RawRecord { kind, group, body, offset })
    }

    pub(crate) fn len(&self) -> usize {
        RECORD_HEADER_BYTES + self.body.len()
    }

    pub(crate) fn decode(&self) -> Result<Record, Fault> {
        let mut reader = Reader::new(self.body.clone());
        let record = match self.kind {
            kind if kind == Kind::Created as u8 => Record::Created(reader.members()?),
            kind if kind == Kind::Removed as u8 => Record::Removed,
            kind if kind == Kind::Vote as u8 => Record::Vote(reader.vote()?),
            kind if kind == Kind::Committed as u8 => Record::Committed(reader.maybe_log_id()?),
            kind if kind == Kind::Append as u8 => Record::Append(reader.entry()?),
            kind if kind == Kind::Copy as u8 => Record::Copy(reader.entry()?),
            kind if kind == Kind::Truncate as u8 => Record::Truncate(reader.u64("since")?),
            kind if kind == Kind::Purge as u8 => Record::Purge(reader.log_id()?),
            kind if kind == Kind::State as u8 => Record::State(GroupState::read(&mut reader)?),
            _ => return Err(Fault::Content("kind")),
        };
        reader.end()?;
        Ok(record)
    }
}

/// A record, decoded.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Record {
    Created(Vec<Member>),
    Removed,
    Vote(Vote),
    Committed(Option<LogId>),
    Append(Entry),
    Copy(Entry),
    Truncate(u64),
    Purge(LogId),
    State(GroupState),
}

/// What is known of a group besides its entries.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct GroupState {
    pub(crate) members: Vec<Member>,
    pub(crate) vote: Option<Vote>,
    pub(crate) committed: Option<LogId>,
    pub(crate) purged: Option<LogId>,
}

impl GroupState {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_members(out, &self.members);
        put_option(out, self.vote.as_ref(), put_vote);
        put_maybe_log_id(out, self.committed.as_ref());
        put_maybe_log_id(out, self.purged.as_ref());
    }

    fn read(reader: &mut Reader) -> Result<Self, WireError> {
        Ok(GroupState {
            members: reader.members()?,
            vote: reader.option("vote", Reader::vote)?,
            committed: reader.maybe_log_id()?,
            purged: reader.maybe_log_id()?,
        })
    }
}

/// A frame whose every checksum is right.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) sequence: u64,
    pub(crate) records: Vec<RawRecord>,
    /// Where the next frame begins.
    pub(crate) end: usize,
}

impl Frame {
    /// Reads and verifies the frame at `offset`.
    pub(crate) fn at(bytes: &Bytes, offset: usize) -> Result<Frame, Fault> {
        let header_end = offset.checked_add(FRAME_HEADER_BYTES).ok_or(Fault::Short)?;
        let header = bytes.get(offset..header_end).ok_or(Fault::Short)?;
        if &header[..4] != FRAME_MARKER {
            return Err(Fault::Marker);
        }
        let mut fields = &header[4..];
        let sequence = fields.get_u64_le();
        let len = fields.get_u32_le() as usize;
        if crc32c::crc32c(&header[..16]) != fields.get_u32_le() {
            return Err(Fault::Checksum);
        }
        let end =
            header_end.checked_add(len).filter(|end| *end <= bytes.len()).ok_or(Fault::Short)?;
        let frame = bytes.slice(..end);
        let mut records = Vec::new();
        let mut at = header_end;
        while at < end {
            let record = RawRecord::at(&frame, at)?;
            at += record.len();
            records.push(record);
        }
        Ok(Frame { sequence, records, end })
    }

    /// Whether any frame numbered `sequence` or later can be read behind `offset`.
    pub(crate) fn exists_behind(bytes: &Bytes, offset: usize, sequence: u64) -> bool {
        let mut from = offset.saturating_add(1);
        while let Some(rest) = bytes.get(from..) {
            let Some(found) = rest.windows(FRAME_MARKER.len()).position(|w| w == FRAME_MARKER)
            else {
                return false;
            };
            from += found;
            if Frame::at(bytes, from).is_ok_and(|frame| frame.sequence >= sequence) {
                return true;
            }
            from += 1;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Payload;
    use openraft::{CommittedLeaderId, EntryPayload};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Bytes on disks in the field: a change here is a new version.
    #[test]
    fn version_one_is_pinned() {
        let header = SegmentHeader { number: 7, cluster: ClusterId(2), node: NodeId(3) }.encode();
        assert_eq!(
            hex(&header),
            "50414e444f4c4f4701000000070000000000000002000000000000000300000000000000264b4971"
        );
        let mut frame = FrameBuilder::default();
        let entry = Entry {
            log_id: LogId::new(CommittedLeaderId::new(1, 3), 9),
            payload: EntryPayload::Normal(Payload(Bytes::from_static(b"hi"))),
        };
        frame.push(Kind::Append, 5, |out| crate::wire::put_entry(out, &entry));
        frame.push(Kind::Truncate, 5, |out| put_u64(out, 4));
        assert_eq!(
            hex(&frame.finish(6)),
            "5046524d0600000000000000490000003631a2230505000000000000001f0000004fe168a10100000000000000030000\
             000000000009000000000000000102000000686907050000000000000008000000476d5ea80400000000000000"
        );
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let mut frame = FrameBuilder::default();
        frame.push(Kind::Vote, 1, |out| put_vote(out, &Vote::new(3, 4)));
        frame.push(Kind::Removed, 2, |_| {});
        let good = frame.finish(1);
        assert_eq!(Frame::at(&good.clone().into(), 0).expect("good").records.len(), 2);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Frame::at(&bad.into(), 0).is_err(), "bit={bit}");
        }
        for len in 0..good.len() {
            assert!(Frame::at(&good[..len].to_vec().into(), 0).is_err(), "len={len}");
        }
    }

    #[test]
    fn a_later_frame_is_found_behind_damage() {
        let frame = |sequence| {
            let mut frame = FrameBuilder::default();
            frame.push(Kind::Removed, 2, |_| {});
            frame.finish(sequence)
        };
        let mut bytes = frame(1);
        let second = bytes.len();
        bytes.extend(frame(2));
        bytes[3] ^= 1;
        let bytes = Bytes::from(bytes);
        assert!(Frame::exists_behind(&bytes, 0, 1));
        assert!(
            !Frame::exists_behind(&bytes, 0, 3),
            "an old frame inside a payload proves nothing"
        );
        assert!(!Frame::exists_behind(&bytes, second, 1));
    }

    #[test]
    fn a_version_of_the_future_is_named() {
        let mut header =
            SegmentHeader { number: 7, cluster: ClusterId(2), node: NodeId(3) }.encode();
        header[8] = 2;
        assert_eq!(SegmentHeader::decode(&header.into()), Err(Fault::Version(2)));
    }
}
