//! Identities: one newtype each, so that a shard is never taken for a node.

use std::fmt;

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(pub u64);

        impl $name {
            /// The next one.
            pub fn next(self) -> Self {
                $name(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(pub u64);

        impl $name {
            /// Reads the 16 hex digits that `Display` writes.
            pub fn parse(text: &str) -> Option<Self> {
                (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok().map($name)).flatten()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }
    };
}

random_id! {
    /// A cluster: random, made once in the bucket, checked by every RPC.
    ClusterId
}
random_id! {
    /// A member process: random, kept in its data directory, never used again. Never 0.
    NodeId
}
random_id! {
    /// Who numbers write blocks: random per data directory. Never 0.
    ProducerId
}
number_id! {
    /// A shard: the Raft group that takes the writes of some key ranges until it is sealed. From 1.
    ShardId
}
number_id! {
    /// Counts the starts of a producer, the grants of a lease, the assignments of a target.
    Epoch
}
number_id! {
    /// The number of a write block in its stream, from 1 without gaps.
    Sequence
}
number_id! {
    /// The number of a cut in its shard, from 1: cut n ends generation n.
    Cut
}
number_id! {
    /// The version of the catalog: the index of the last applied command.
    CatalogVersion
}

/// The samples of `shard` between cut `cut - 1` and cut `cut`: a position in a log, never a time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct GenerationId {
    /// The shard.
    pub shard: ShardId,
    /// The cut that ends the generation.
    pub cut: Cut,
}

/// Where write blocks of one producer's run are numbered, within one shard.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct StreamId {
    /// The producer.
    pub producer: ProducerId,
    /// Its start.
    pub epoch: Epoch,
}

/// A block: a ULID. Its order says nothing; only the catalog orders blocks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct BlockId(pub u128);

impl BlockId {
    /// A new id from the time (ms since the epoch, 48 bits are kept) and 80 random bits.
    pub fn new(now_ms: i64, random: u128) -> Self {
        let time = (now_ms.max(0) as u128) & ((1 << 48) - 1);
        BlockId((time << 80) | (random & ((1 << 80) - 1)))
    }

    /// Reads the 26 characters that `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        ulid::Ulid::from_string(text).ok().map(|u| BlockId(u.0))
    }

    /// The object's path in a bucket: `blocks/<xx>/<ulid>.parquet`; xx are two hex digits of the id's xxh3,
    /// so that a busy bucket spreads.
    pub fn object_path(self) -> String {
        let xx = xxhash_rust::xxh3::xxh3_64(&self.0.to_be_bytes()) as u8;
        format!("blocks/{xx:02x}/{self}.parquet")
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&ulid::Ulid(self.0), f)
    }
}

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_through_text() {
        let id = BlockId::new(1_700_000_000_123, 42);
        assert_eq!(BlockId::parse(&id.to_string()), Some(id));
        assert_eq!(NodeId::parse(&NodeId(255).to_string()), Some(NodeId(255)));
        assert_eq!(NodeId::parse("+f"), None);
    }

    #[test]
    fn object_path_is_pinned() {
        assert_eq!(BlockId(1).object_path(), "blocks/bb/00000000000000000000000001.parquet");
    }
}
