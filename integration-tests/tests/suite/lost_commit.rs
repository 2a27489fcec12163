//! A leader that is killed between the upload of a block and its commit: the next leader commits the generation.
//! The object that nobody committed stays unnamed, and no sample is counted twice because of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use pando_integration_tests::catalog::CatalogNow;
use pando_integration_tests::cluster::Cluster;
use pando_integration_tests::eventually;
use pando_integration_tests::load::{Load, check_ledger};
use pando_model::{BlockId, BlockSource};

/// (shard, cut), as tools and catalog write them.
type Generation = (String, String);

/// The blocks in a bucket that is a folder.
fn objects(bucket: &Path) -> Result<BTreeSet<BlockId>> {
    let mut found = BTreeSet::new();
    let folder = bucket.join("blocks");
    if !folder.exists() {
        return Ok(found);
    }
    for part in std::fs::read_dir(folder)? {
        for entry in std::fs::read_dir(part?.path())? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            // What is not finished has another name.
            found.extend(name.strip_suffix(".parquet").and_then(BlockId::parse));
        }
    }
    Ok(found)
}

/// The generation that an object says it is.
fn generation_of(cluster: &Cluster, block: BlockId) -> Result<Generation> {
    let file = cluster.bucket().join(block.object_path());
    let printed = cluster.tool(&["block", "inspect", &file.display().to_string()])?;
    let words = printed.lines().find_map(|line| line.trim().strip_prefix("shard "));
    let words = words.and_then(|words| words.split_once(" cut "));
    let (shard, cut) = words.with_context(|| format!("no generation in: {printed}"))?;
    Ok((shard.to_string(), cut.to_string()))
}

/// The blocks that the catalog names, by generation. Nothing is compacted here.
async fn named(cluster: &Cluster) -> Result<BTreeMap<Generation, BlockId>> {
    let mut named = BTreeMap::new();
    for entry in CatalogNow::of(cluster).await?.blocks.iter() {
        let BlockSource::Generation(generation) = entry.record.source else {
            anyhow::bail!("block is not of a generation: {:?}", entry.record);
        };
        let generation = (generation.shard.to_string(), generation.cut.to_string());
        let twice = named.insert(generation.clone(), entry.record.id);
        ensure!(twice.is_none(), "generation is in two blocks: {generation:?}");
    }
    Ok(named)
}

/// Three controllers and three ingesters with one shard, which is cut every few seconds.
async fn cluster() -> Result<Cluster> {
    let mut cluster = Cluster::new()?;
    let objstore = cluster.local_bucket()?;
    let flag = format!("--objstore.config-file={}", objstore.display());
    for n in 0..3 {
        cluster.add("controller", &format!("controller-{n}")).flags.push(flag.clone());
    }
    cluster.found();
    for n in 0..3 {
        let ingester = cluster.add("ingester", &format!("ingester-{n}"));
        ingester.flags.extend([flag.clone(), "--ingester.cut-interval=4s".to_string()]);
    }
    cluster.add("store-gateway", "store-gateway").flags.push(flag);
    cluster.add("receiver", "receiver");
    cluster.add("query-frontend", "query-frontend");
    cluster.start()?;
    cluster.ready().await?;
    Ok(cluster)
}

/// The name of the member that leads the shard.
async fn leader(cluster: &Cluster) -> Result<String> {
    eventually("the shard has a leader", || async {
        for member in cluster.members.iter().filter(|m| m.role == "ingester") {
            if member.metric("pando_ingester_shards_led").await? == 1.0 {
                return Ok(Some(member.name.clone()));
            }
        }
        Ok(None)
    })
    .await
}

fn controllers(cluster: &Cluster) -> Vec<String> {
    let controllers = cluster.members.iter().filter(|m| m.role == "controller");
    controllers.map(|m| m.name.clone()).collect()
}

/// Kills the leader when it has uploaded a block and has nobody to commit it to; returns the block.
async fn kill_between_upload_and_commit(cluster: &mut Cluster) -> Result<BlockId> {
    let leader = leader(cluster).await?;
    for name in controllers(cluster) {
        cluster.member(&name).kill();
    }
    let before = objects(&cluster.bucket())?;
    let orphan = eventually("a block is uploaded without controllers", || async {
        Ok(objects(&cluster.bucket())?.difference(&before).next().copied())
    })
    .await?;
    cluster.member(&leader).kill();
    Ok(orphan)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_killed_between_upload_and_commit_leaves_no_block_twice() -> Result<()> {
    let mut cluster = cluster().await?;
    let load = Load::start(vec![cluster.url("receiver", "")], "load");
    load.goes_on(3).await.with_context(|| cluster.log_tails())?;
    eventually("a block is committed", || async {
        Ok((!named(&cluster).await?.is_empty()).then_some(()))
    })
    .await?;

    let orphan = kill_between_upload_and_commit(&mut cluster).await?;
    let generation = generation_of(&cluster, orphan)?;
    for name in controllers(&cluster) {
        let (controllers, flags) = (cluster.controllers.clone(), cluster.flags.clone());
        cluster.member(&name).start(&controllers, &flags)?;
    }
    let winner = eventually("the next leader commits the generation", || async {
        Ok(named(&cluster).await?.get(&generation).copied())
    })
    .await
    .with_context(|| cluster.log_tails())?;
    ensure!(winner != orphan, "nobody was left to commit it: block={orphan}");
    ensure!(generation_of(&cluster, winner)? == generation, "block={winner} is another's");
    let frontend = cluster.url("query-frontend", "");
    load.check(&frontend).await.context("while the leader is down")?;

    // The old leader comes back with its generation and its own object, and learns that another has won.
    cluster.start()?;
    cluster.ready().await?;
    load.goes_on(3).await?;
    let ledger = load.end().await?;
    cluster.admin(&["cut"]).await?;
    check_ledger(&frontend, "load", &ledger).await.with_context(|| cluster.log_tails())?;
    let blocks = named(&cluster).await?;
    ensure!(blocks.get(&generation) == Some(&winner), "winner={winner} blocks={blocks:?}");
    ensure!(!blocks.values().any(|block| *block == orphan), "orphan={orphan} is named");
    for (generation, block) in &blocks {
        ensure!(generation_of(&cluster, *block)? == *generation, "block={block} is another's");
    }
    Ok(())
}
