//! `Ring`: a consistent-hash ring with virtual nodes and lists of successors.
//!
//! Each member has 512 tokens, xxh3 of its id and the token's number, so that every process
//! computes the same ring from the same members. A hash belongs to the member of the first token at
//! or after it. For each token the list of the next distinct members, other zones first, is
//! computed once per ring: a lookup finds the token and copies nothing. Adding a member takes keys
//! from all others alike, and moves none between them.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hash, Hasher};

use hashring::HashRing;
use pando_model::{NodeId, ShardId};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Tokens of a member: the fullest of 12 members has 7 % more than the mean.
pub const VIRTUAL_NODES: u32 = 512;

/// The length of the precomputed lists: as many replicas as anything has.
const SUCCESSORS: usize = 3;

/// Part of what all members must agree on: never change it.
const SEED: u64 = 0x72_696e_6731; // "ring1"

/// What can stand on a ring.
pub trait RingMember: Copy + Ord {
    /// The number that makes its tokens.
    fn number(self) -> u64;
}

impl RingMember for NodeId {
    fn number(self) -> u64 {
        self.0
    }
}

impl RingMember for ShardId {
    fn number(self) -> u64 {
        self.0
    }
}

/// A place on the ring: of a token, or of what is looked up.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Place {
    hash: u64,
    /// Of a token: its position in the order of hashes.
    at: u32,
}

impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Places are hashes already.
#[derive(Clone, Copy, Default, Debug)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Never reached: a place writes one u64. Any total function will do.
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[derive(Clone, Default, Debug)]
struct IdentityBuilder;

impl BuildHasher for IdentityBuilder {
    type Hasher = Identity;

    fn build_hasher(&self) -> Identity {
        Identity::default()
    }
}

/// An immutable ring of members. Make a new one when the members change.
#[derive(Clone, Debug)]
pub struct Ring<T> {
    members: Vec<T>,
    ring: HashRing<Place, IdentityBuilder>,
    /// For each token its member.
    owners: Vec<u32>,
    /// For each token `width` members, one list after the other.
    successors: Vec<T>,
    width: usize,
}

impl<T: RingMember> Ring<T> {
    /// The ring of `members` with their zones; the order and repetitions do not matter.
    pub fn new<'a>(members: impl IntoIterator<Item = (T, &'a str)>) -> Self {
        let members: BTreeSet<(T, &str)> = members.into_iter().collect();
        let mut zones: Vec<&str> = vec![];
        let mut ids: Vec<T> = vec![];
        for (id, zone) in members {
            if ids.last() != Some(&id) {
                ids.push(id);
                zones.push(zone);
            }
        }
        let mut tokens: Vec<(u64, u32)> = Vec::with_capacity(ids.len() * VIRTUAL_NODES as usize);
        for (at, id) in ids.iter().enumerate() {
            let hash = |n| (token(id.number(), n), at as u32);
            tokens.extend((0..VIRTUAL_NODES).map(hash));
        }
        tokens.sort_unstable();
        // Of two equal tokens the lower member's counts: a lookup must not depend on a search's
        // luck.
        tokens.dedup_by_key(|(hash, _)| *hash);
        let owners: Vec<u32> = tokens.iter().map(|(_, owner)| *owner).collect();
        let width = ids.len().min(SUCCESSORS);
        let successors = successors(&owners, &zones, width).into_iter();
        let successors = successors.map(|at| ids[at as usize]).collect();
        let mut ring = HashRing::with_hasher(IdentityBuilder);
        let places = tokens.iter().enumerate();
        ring.batch_add(
            places.map(|(at, (hash, _))| Place { hash: *hash, at: at as u32 }).collect(),
        );
        Ring { members: ids, ring, owners, successors, width }
    }

    /// The members, ascending.
    pub fn members(&self) -> &[T] {
        &self.members
    }

    /// Whether nobody is on the ring.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The member that `hash` belongs to; `None` on an empty ring.
    pub fn owner(&self, hash: u64) -> Option<T> {
        self.replicas(hash).first().copied()
    }

    /// Up to 3 distinct members for `hash`, its owner first, then members of other zones as long as
    /// there are any.
    pub fn replicas(&self, hash: u64) -> &[T] {
        match self.token_of(hash) {
            Some(at) => &self.successors[at * self.width..(at + 1) * self.width],
            None => &[],
        }
    }

    /// All members in the order in which the ring meets them from `hash` on, whatever their zones.
    pub fn walk(&self, hash: u64) -> Vec<T> {
        let Some(start) = self.token_of(hash) else { return vec![] };
        let mut seen = BTreeSet::new();
        let owners = self.owners[start..].iter().chain(&self.owners[..start]);
        let distinct = owners.filter(|owner| seen.insert(**owner)).take(self.members.len());
        distinct.map(|owner| self.members[*owner as usize]).collect()
    }

    fn token_of(&self, hash: u64) -> Option<usize> {
        self.ring.get(&Place { hash, at: 0 }).map(|place| place.at as usize)
    }
}

fn token(member: u64, number: u32) -> u64 {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&member.to_le_bytes());
    bytes[8..].copy_from_slice(&number.to_le_bytes());
    xxh3_64_with_seed(&bytes, SEED)
}

/// For each token the next `width` distinct members: its own first, then others of new zones while
/// there are any, then whoever comes next.
fn successors(owners: &[u32], zones: &[&str], width: usize) -> Vec<u32> {
    let zone_count = zones.iter().collect::<BTreeSet<_>>().len();
    let spread = width.min(zone_count);
    let mut lists = Vec::with_capacity(owners.len() * width);
    for start in 0..owners.len() {
        let mut list: Vec<u32> = Vec::with_capacity(width);
        let around = || owners[start..].iter().chain(&owners[..start]).copied();
        for owner in around() {
            if list.len() == spread {
                break;
            }
            let zone = zones[owner as usize];
            if !list.iter().any(|known| zones[*known as usize] == zone) {
                list.push(owner);
            }
        }
        for owner in around() {
            if list.len() == width {
                break;
            }
            if !list.contains(&owner) {
                list.push(owner);
            }
        }
        lists.extend(list);
    }
    lists
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn ring(members: impl IntoIterator<Item = (u64, &'static str)>) -> Ring<NodeId> {
        Ring::new(members.into_iter().map(|(id, zone)| (NodeId(id), zone)))
    }

    fn hashes() -> impl Iterator<Item = u64> {
        (0..20_000u64).map(|n| xxh3_64_with_seed(&n.to_le_bytes(), 1))
    }

    #[test]
    fn load_is_even_and_a_new_member_takes_its_share_from_all() {
        let twelve = ring((1..=12).map(|id| (id, "")));
        let thirteen = ring((1..=13).map(|id| (id, "")));
        let mut load: BTreeMap<NodeId, u32> = BTreeMap::new();
        let mut moved = 0;
        for hash in hashes() {
            let (before, after) =
                (twelve.owner(hash).expect("one"), thirteen.owner(hash).expect("one"));
            *load.entry(before).or_default() += 1;
            if before != after {
                assert_eq!(after, NodeId(13), "a key moved between old members");
                moved += 1;
            }
        }
        let mean = 20_000 / 12;
        assert!(load.values().all(|n| *n > mean * 8 / 10 && *n < mean * 12 / 10), "{load:?}");
        assert!((1_000..2_200).contains(&moved), "about one in 13 moves: {moved}");
    }

    #[test]
    fn replicas_are_distinct_and_spread_over_zones() {
        let three = ring([(1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "c")]);
        let two = ring([(1, "a"), (2, "a"), (3, "a"), (4, "b")]);
        let zone = |id: NodeId| match id.0 {
            4 => "b",
            5 => "c",
            _ => "a",
        };
        for hash in hashes().take(2_000) {
            let zones: BTreeSet<&str> = three.replicas(hash).iter().map(|id| zone(*id)).collect();
            assert_eq!(zones.len(), 3);
            let nodes: BTreeSet<NodeId> = two.replicas(hash).iter().copied().collect();
            assert_eq!(nodes.len(), 3);
            assert!(nodes.contains(&NodeId(4)), "the only node of zone b");
            assert_eq!(two.owner(hash), Some(two.walk(hash)[0]));
            assert_eq!(two.walk(hash).len(), 4);
        }
    }

    #[test]
    fn small_rings_give_what_they_have() {
        let none = ring([]);
        assert!(none.is_empty() && none.owner(5).is_none() && none.walk(5).is_empty());
        let one = ring([(7, "a")]);
        assert_eq!(one.replicas(u64::MAX), [NodeId(7)]);
    }

    #[test]
    fn the_ring_is_a_function_of_its_members_alone() {
        let one = ring([(3, "a"), (1, "b"), (2, "c"), (1, "b")]);
        let other = ring([(1, "b"), (2, "c"), (3, "a")]);
        assert!(hashes().take(1_000).all(|hash| one.replicas(hash) == other.replicas(hash)));
        assert_eq!(token(1, 0), PINNED_TOKEN, "members of two versions must agree");
    }
    const PINNED_TOKEN: u64 = 12_640_309_752_419_727_924;
}
