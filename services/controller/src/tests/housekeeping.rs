//! Orphans: refused, then deleted, by the clock that blocks tell.

use std::sync::Arc;

use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use pando_catalog::{Command, CommitGeneration, layout};
use pando_model::{
    BlockId, BlockRecord, BlockSource, Cut, Digest, GenerationId, KeyRange, NodeId, SeriesKey,
    ShardId, TenantId, TenantSpan, TimeRange,
};
use pando_runtime::Clock as _;

use super::fixture::{Controllers, node};
use super::store::TestStore;
use crate::housekeeping::Housekeeping;

const DAY_MS: i64 = 86_400_000;

fn record(id: BlockId, created_ms: i64) -> BlockRecord {
    let time = TimeRange { min_ms: 0, max_ms: 1_000 };
    BlockRecord {
        id,
        format: 1,
        level: 0,
        resolution_ms: 0,
        source: BlockSource::Generation(GenerationId { shard: ShardId(1), cut: Cut(1) }),
        tenants: vec![TenantSpan {
            tenant: TenantId::default_tenant(),
            keys: KeyRange::ALL,
            time,
            first_row: 0,
            rows: 1,
            series: 1,
            samples: 10,
        }],
        time,
        digest: Digest { samples: 10, sum: 1 },
        object_bytes: 1_000,
        footer_offset: 900,
        created_ms,
    }
}

/// Names a block that was made at `made_ms`.
async fn commit(controllers: &Controllers, id: BlockId, made_ms: i64) {
    controllers.ok(Command::RegisterNode { node: node(11), now_ms: 1 }).await;
    let members = vec![vec![NodeId(11)]];
    controllers.ok(Command::OpenShards { members, now_ms: 1 }).await;
    let (tenant, route) = (TenantId::default_tenant(), vec![(SeriesKey(u64::MAX), ShardId(1))]);
    controllers.ok(Command::AssignTenant { tenant, route }).await;
    let record = record(id, made_ms);
    controllers
        .ok(Command::CommitGeneration(Box::new(CommitGeneration {
            shard: ShardId(1),
            cut: Cut(1),
            term: 1,
            reports: vec![(NodeId(11), record.digest)],
            record: Some(record),
        })))
        .await;
}

#[tokio::test]
async fn what_nobody_names_is_refused_and_deleted_when_it_is_old() {
    let controllers = Controllers::start(1, |_| {}).await;
    let now_ms = controllers.clock.now_ms();
    let store: Arc<dyn ObjectStore> = Arc::new(TestStore::default());
    let [orphan, named] = [1, 2].map(|n| BlockId::new(now_ms, n));
    let stranger = object_store::path::Path::from("blocks/readme.txt");
    for path in [layout::block_path(orphan), layout::block_path(named), stranger.clone()] {
        store.put(&path, PutPayload::from_static(b"x")).await.expect("put");
    }
    let keeping = Housekeeping::of(controllers.leader().clone(), store.clone());
    let is_there = async |block| store.head(&layout::block_path(block)).await.is_ok();
    let refused = || controllers.leader().state().read(|catalog| catalog.is_refused(orphan));

    commit(&controllers, named, now_ms).await;
    controllers.clock.set_wall(now_ms + DAY_MS);
    keeping.remove_orphans().await.expect("the store answers");
    assert!(is_there(orphan).await && !refused(), "it is too young");
    controllers.clock.set_wall(now_ms + 1_000 * DAY_MS);
    keeping.remove_orphans().await.expect("the store answers");
    assert!(is_there(orphan).await && !refused(), "the clock is far ahead of all blocks");
}

#[tokio::test]
async fn orphans_go_and_named_blocks_stay() {
    let controllers = Controllers::start(1, |_| {}).await;
    let now_ms = controllers.clock.now_ms();
    let store: Arc<dyn ObjectStore> = Arc::new(TestStore::default());
    let orphan = BlockId::new(now_ms, 1);
    let later_ms = now_ms + 4 * DAY_MS;
    let named = BlockId::new(now_ms, 2);
    for block in [orphan, named] {
        store.put(&layout::block_path(block), PutPayload::from_static(b"x")).await.expect("put");
    }
    commit(&controllers, named, later_ms).await;
    controllers.clock.set_wall(later_ms);
    let keeping = Housekeeping::of(controllers.leader().clone(), store.clone());
    keeping.remove_orphans().await.expect("the store answers");
    assert!(store.head(&layout::block_path(orphan)).await.is_err(), "it is gone");
    assert!(store.head(&layout::block_path(named)).await.is_ok(), "it is named");
    let catalog = controllers.leader().state();
    assert!(catalog.read(|catalog| catalog.is_refused(orphan)), "nobody can commit it any more");
    assert_eq!(controllers.leader().metrics().orphans_deleted.get(), 1);
}
