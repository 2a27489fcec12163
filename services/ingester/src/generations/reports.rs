//! What the members of a shard say of a generation, gathered before its block is committed.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use pando_model::{Cut, Digest, NodeId};
use pando_proto::v1::GenerationDigestRequest;
use pando_proto::v1::ingester_client::IngesterClient;
use tonic::{Request, Status};

use crate::context::Context;
use crate::error::IngesterError;
use crate::local_shard::LocalShard;

/// A member that takes longer has no say.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks the other members for their digests until a majority, this member included, has `own`.
pub(super) async fn gather(
    context: &Context,
    shard: &LocalShard,
    cut: Cut,
    own: Digest,
) -> Result<Vec<(NodeId, Digest)>, IngesterError> {
    let (here, need) = (context.config.node, shard.majority());
    let mut reports = vec![(here, own)];
    let others = shard.members.iter().filter(|node| **node != here);
    let mut asked: FuturesUnordered<_> =
        others.map(|node| async move { (*node, ask(context, shard, cut, *node).await) }).collect();
    let agree = |reports: &[(NodeId, Digest)]| reports.iter().filter(|(_, d)| *d == own).count();
    while agree(&reports) < need {
        let Some((node, answer)) = asked.next().await else {
            let agree = agree(&reports);
            return Err(IngesterError::NoMajority { shard: shard.id, cut, agree, need });
        };
        match answer {
            Ok(Some(digest)) => {
                if digest != own {
                    let (ours, theirs) = (own.samples, digest.samples);
                    let shard = shard.id;
                    tracing::error!(%shard, %cut, %node, ours, theirs, "replicas differ");
                    context.metrics.replicas_differ.inc();
                }
                reports.push((node, digest));
            }
            Ok(None) => {
                tracing::debug!(shard = %shard.id, %cut, %node, "member has no such cut yet")
            }
            Err(status) => {
                let status = status.message();
                tracing::debug!(shard = %shard.id, %cut, %node, status, "member does not answer");
            }
        }
    }
    Ok(reports)
}

async fn ask(
    context: &Context,
    shard: &LocalShard,
    cut: Cut,
    node: NodeId,
) -> Result<Option<Digest>, Status> {
    let unknown = || Status::unavailable(format!("address of a member is not known: node={node}"));
    let address = context.address(node).ok_or_else(unknown)?;
    let peer = context.channels.peer(&address, Some(node))?;
    let mut request = Request::new(GenerationDigestRequest { shard: shard.id.0, cut: cut.0 });
    request.set_timeout(TIMEOUT);
    let call = async { IngesterClient::new(peer).generation_digest(request).await };
    let late = |_| Status::deadline_exceeded("no answer in time");
    let answer = tokio::time::timeout(TIMEOUT, call).await.map_err(late)??.into_inner();
    if !answer.known {
        return Ok(None);
    }
    let sum: [u8; 16] = answer
        .sum
        .as_ref()
        .try_into()
        .map_err(|_| Status::internal("multiset hash is not 16 bytes long"))?;
    Ok(Some(Digest { samples: answer.samples, sum: u128::from_be_bytes(sum) }))
}
