//! `pando admin cut|seal`: operates a running cluster over gRPC.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use pando_catalog::{RoutingView, ShardStage, wire};
use pando_cluster::ControllerClient;
use pando_model::{CatalogVersion, ClusterId, NodeId, ShardId};
use pando_proto::v1::CutRequest;
use pando_proto::v1::ingester_client::IngesterClient;
use pando_rpc::{Channels, Identity};
use pando_runtime::Rng;

use crate::args::{AdminCommand, AdminTarget};

/// A cut waits until its block is in the catalog.
const CUT_TIMEOUT: Duration = Duration::from_secs(120);

/// Runs one command.
pub(crate) async fn run(command: &AdminCommand) -> Result<()> {
    match command {
        AdminCommand::Cut(target) => cut(target).await,
        AdminCommand::Seal { target, split } => seal(target, *split).await,
    }
}

async fn cut(target: &AdminTarget) -> Result<()> {
    let (client, channels) = connect(target).await?;
    let routing = routing(&client).await?;
    for shard in open_shards(&routing, target)? {
        let info = routing.shard(shard).context("the shard was there a moment ago")?;
        let mut trouble = "it has no member".to_string();
        let mut done = false;
        for member in &info.members {
            let Some(node) = routing.node(*member) else { continue };
            let peer = channels.peer(&node.grpc_address, Some(*member))?;
            let mut request =
                tonic::Request::new(CutRequest { shard: shard.0, wait_committed: true });
            request.set_timeout(CUT_TIMEOUT);
            match IngesterClient::new(peer).cut(request).await {
                Ok(answer) => {
                    for name in answer.into_inner().generations {
                        println!("shard {} generation {} is in a block", name.shard, name.cut);
                    }
                    done = true;
                    break;
                }
                Err(status) => trouble = status.message().to_string(),
            }
        }
        if !done {
            bail!("shard cannot be cut: shard={shard}: {trouble}");
        }
    }
    Ok(())
}

async fn seal(target: &AdminTarget, split: bool) -> Result<()> {
    let (client, _) = connect(target).await?;
    let routing = routing(&client).await?;
    for shard in open_shards(&routing, target)? {
        let answer = client.seal_shard(shard, split).await;
        let answer = answer.map_err(|s| anyhow::anyhow!("shard={shard}: {}", s.message()))?;
        let successors: Vec<String> = answer.successors.iter().map(u64::to_string).collect();
        println!("shard {shard} is sealed; successors: {}", successors.join(", "));
    }
    Ok(())
}

fn open_shards(routing: &RoutingView, target: &AdminTarget) -> Result<Vec<ShardId>> {
    let open = routing.shards().values().filter(|shard| shard.stage == ShardStage::Open);
    let shards: Vec<ShardId> = open
        .map(|shard| shard.id)
        .filter(|shard| target.shard.is_none_or(|wanted| wanted == shard.0))
        .collect();
    if shards.is_empty() {
        bail!("no such open shard");
    }
    Ok(shards)
}

/// A client that belongs to the cluster which answers at the target.
async fn connect(target: &AdminTarget) -> Result<(ControllerClient, Channels)> {
    let identity = Identity::new(NodeId(Rng::system().id()));
    let channels = Channels::new(identity.clone(), None);
    let client = ControllerClient::new(channels.clone(), vec![target.controller.clone()]);
    let hello = client.hello(&target.controller).await;
    let hello = hello.map_err(|s| {
        anyhow::anyhow!("no controller answers: controller={}: {}", target.controller, s.message())
    })?;
    if hello.cluster == 0 {
        bail!("the cluster is not founded yet: controller={}", target.controller);
    }
    identity.set_cluster(ClusterId(hello.cluster));
    Ok((client, channels))
}

async fn routing(client: &ControllerClient) -> Result<RoutingView> {
    let failed = |status: tonic::Status| anyhow::anyhow!("catalog: {}", status.message());
    let mut stream = client.watch_routing(CatalogVersion(0)).await.map_err(failed)?;
    let message = stream.message().await.map_err(failed)?.context("the catalog says nothing")?;
    let mut view = RoutingView::new();
    view.apply(&wire::decode_routing_delta(&message.delta)?)?;
    Ok(view)
}
