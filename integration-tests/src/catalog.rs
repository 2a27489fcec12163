//! What a cluster's catalog says, read as its members read it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use pando_catalog::wire::StreamedView as _;
use pando_catalog::{BlocksView, Role, RoutingView, ShardStage};
use pando_cluster::{ControllerClient, Deltas};
use pando_model::{CatalogVersion, ClusterId, NodeId};
use pando_rpc::{Channels, Identity};
use pando_runtime::Rng;

use crate::cluster::{Cluster, Member};
use crate::eventually;

/// How long a controller may take to say what it has.
const ANSWER: Duration = Duration::from_secs(10);

/// The newest catalog that a controller of the cluster answers with.
pub struct CatalogNow {
    /// Members, shards, routes.
    pub routing: RoutingView,
    /// The blocks that are named.
    pub blocks: BlocksView,
}

impl CatalogNow {
    /// Asks the controllers.
    ///
    /// # Errors
    /// None of them answers.
    pub async fn of(cluster: &Cluster) -> Result<Self> {
        let first = || cluster.members.first().map(Member::grpc_address);
        let addresses: Vec<String> = match cluster.controllers.is_empty() {
            true => first().into_iter().collect(),
            false => cluster.controllers.split(',').map(String::from).collect(),
        };
        let identity = Identity::new(NodeId(Rng::system().id()));
        let channels = Channels::new(identity.clone(), None);
        let client = ControllerClient::new(channels, addresses.clone());
        for address in &addresses {
            if let Ok(hello) = client.hello(address).await {
                ensure!(hello.cluster != 0, "the cluster is not founded: address={address}");
                identity.set_cluster(ClusterId(hello.cluster));
            }
        }
        let (mut routing, mut blocks) = (RoutingView::new(), BlocksView::new());
        let mut deltas = client.watch_routing(CatalogVersion(0)).await?;
        let delta = next(&mut deltas).await.context("routing")?;
        routing.advance(&delta)?;
        let mut deltas = client.watch_blocks(CatalogVersion(0)).await?;
        let delta = next(&mut deltas).await.context("blocks")?;
        blocks.advance(&delta)?;
        Ok(CatalogNow { routing, blocks })
    }

    /// Waits until `count` shards are open, or more: members that join late are given some of their own.
    ///
    /// # Errors
    /// They never are.
    pub async fn has_open_shards(cluster: &Cluster, count: usize) -> Result<()> {
        eventually("shards are open", || async {
            let open = Self::of(cluster).await?.shards(ShardStage::Open);
            ensure!(open >= count, "open={open} wanted={count}");
            Ok(Some(()))
        })
        .await
    }

    /// Gives the shards of the member that joined first, which may be all, to others, too: successors go where least
    /// is. At least `count` are open then, at several members.
    ///
    /// # Errors
    /// They never are.
    pub async fn spread(cluster: &Cluster, count: usize) -> Result<()> {
        Self::has_shards_at(cluster, count, 1).await?;
        // A member that no controller has heard of yet is given none.
        eventually("two ingesters are known", || async {
            let known = Self::of(cluster).await?.routing.nodes_with(Role::Ingester).count();
            ensure!(known >= 2, "known={known}");
            Ok(Some(()))
        })
        .await?;
        for shard in ["--shard=1", "--shard=2"] {
            cluster.admin(&["seal", shard]).await?;
        }
        Self::has_shards_at(cluster, count, 2).await
    }

    async fn has_shards_at(cluster: &Cluster, count: usize, members_min: usize) -> Result<()> {
        eventually("shards are open", || async {
            let now = CatalogNow::of(cluster).await?;
            let shards = now.routing.shards().values();
            let open = shards.filter(|shard| shard.stage == ShardStage::Open);
            let members: BTreeSet<_> = open.flat_map(|shard| shard.members.clone()).collect();
            // Rounded up for each member that is there at the founding.
            let all = now.shards(ShardStage::Open) >= count;
            Ok((all && members.len() >= members_min).then_some(()))
        })
        .await
    }

    /// How many shards are in a stage.
    pub fn shards(&self, stage: ShardStage) -> usize {
        self.routing.shards().values().filter(|shard| shard.stage == stage).count()
    }
}

async fn next(deltas: &mut Deltas) -> Result<Bytes> {
    Ok(tokio::time::timeout(ANSWER, deltas.next()).await.context("nothing is said")??)
}
