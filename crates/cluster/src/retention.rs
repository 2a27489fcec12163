//! Blocks that every tenant is done with, and those for which there is no room.

use pando_catalog::limits::BLOCKS_PER_COMMAND_MAX;
use pando_catalog::{Catalog, Command};
use pando_model::BlockId;

/// Blocks that one pass always may expire.
const EXPIRED_PER_PASS_MIN: usize = 100;

/// Ceases to name the blocks that retention takes by time or by size (see `pando_catalog::Expiry`),
/// oldest first. One pass takes at most 100 blocks or 1 % of all, so that a clock that has gone mad,
/// or a limit with a digit too few, destroys little before somebody sees it.
pub fn retention(catalog: &Catalog, now_ms: i64) -> Vec<Command> {
    let expiry = catalog.expiry(now_ms);
    let expired = catalog.blocks().values().filter(|entry| expiry.takes(entry));
    let mut expired: Vec<(i64, BlockId)> =
        expired.map(|entry| (entry.record.time.max_ms, entry.record.id)).collect();
    expired.sort_unstable();
    expired.truncate(EXPIRED_PER_PASS_MIN.max(catalog.blocks().len() / 100));
    let ids: Vec<BlockId> = expired.into_iter().map(|(_, id)| id).collect();
    let chunks = ids.chunks(BLOCKS_PER_COMMAND_MAX);
    chunks.map(|blocks| Command::ExpireBlocks { blocks: blocks.to_vec(), now_ms }).collect()
}

#[cfg(test)]
mod tests {
    use pando_model::{SeriesKey, ShardId};

    use super::*;
    use crate::testdata::{Cluster, record, tenant};

    #[test]
    fn only_what_all_tenants_are_done_with_expires() {
        let mut cluster = Cluster::with_ingesters(&["z"]);
        cluster.open(&[&[1]]);
        for name in ["a", "b"] {
            let route = vec![(SeriesKey(u64::MAX), ShardId(1))];
            cluster.ok(Command::AssignTenant { tenant: tenant(name), route });
        }
        cluster.commit(record(1, (1, 1), (0, 200), &["a"]));
        cluster.commit(record(2, (1, 2), (0, 100), &["a"]));
        cluster.commit(record(3, (1, 3), (0, 100), &["a", "b"]));
        cluster.commit(record(4, (1, 4), (200, 300), &["a"]));
        assert!(retention(&cluster.catalog, i64::MAX).is_empty(), "kept for ever");
        cluster.ok(Command::SetRetention { tenant: Some(tenant("a")), retention_ms: Some(1_000) });
        let expired = |blocks: &[u128], now_ms| {
            let blocks = blocks.iter().map(|id| BlockId(*id)).collect();
            vec![Command::ExpireBlocks { blocks, now_ms }]
        };
        assert_eq!(retention(&cluster.catalog, 1_099), []);
        assert_eq!(retention(&cluster.catalog, 1_200), expired(&[2, 1], 1_200));
        cluster.ok(Command::SetRetention { tenant: None, retention_ms: Some(5_000) });
        let all = retention(&cluster.catalog, 5_100);
        assert_eq!(all, expired(&[2, 3, 1, 4], 5_100));
        cluster.ok(all[0].clone());
        assert!(cluster.catalog.blocks().is_empty());
    }

    fn cluster_of(blocks: u64) -> Cluster {
        let mut cluster = Cluster::with_ingesters(&["z"]);
        cluster.open(&[&[1]]);
        let route = vec![(SeriesKey(u64::MAX), ShardId(1))];
        cluster.ok(Command::AssignTenant { tenant: tenant("a"), route });
        for cut in 1..=blocks {
            let id = u128::from(cut);
            cluster.commit(record(id, (1, cut), (0, 100 * cut as i64), &["a"]));
        }
        cluster
    }

    #[test]
    fn a_mad_clock_expires_nothing() {
        let mut cluster = cluster_of(3);
        let days = |n: u64| n * 86_400_000;
        cluster.ok(Command::SetRetention { tenant: None, retention_ms: Some(days(15)) });
        assert_eq!(retention(&cluster.catalog, days(36_500) as i64), []);
    }

    #[test]
    fn the_oldest_make_room_pass_by_pass() {
        let mut cluster = cluster_of(150);
        assert!(retention(&cluster.catalog, 0).is_empty(), "no limit");
        cluster.ok(Command::SetRetentionSize { bytes: 30_500 });
        for (named, pass) in [(150, 100), (50, 20)] {
            assert_eq!(cluster.catalog.blocks().len(), named);
            let commands = retention(&cluster.catalog, 0);
            let [Command::ExpireBlocks { blocks, .. }] = &commands[..] else {
                panic!("one command: {commands:?}")
            };
            assert_eq!(blocks.len(), pass);
            assert_eq!(blocks[0], BlockId(151 - named as u128), "the oldest first");
            cluster.ok(commands[0].clone());
        }
        assert!(retention(&cluster.catalog, 0).is_empty(), "30 of 1,000 bytes fit");
    }
}
