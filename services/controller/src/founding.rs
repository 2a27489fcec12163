//! Founding a cluster, once: the bucket's `cluster.json` names its id and its controllers.
//!
//! Whoever finds the file follows it. Whoever does not, asks all controllers who they are and proposes a file
//! that names them; the bucket lets exactly one proposal win. A controller that the file does not name is a
//! stranger, a wiped one too (its node id went with its disk): it never founds a second cluster.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use pando_catalog::bucket::{self, PutRetry};
use pando_catalog::{ClusterFile, Voter};
use pando_cluster::ControllerClient;
use pando_model::{ClusterId, NodeId};
use pando_rpc::Identity;
use pando_runtime::{Rng, SharedClock};

use crate::config::ControllerConfig;
use crate::error::ControllerError;

const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Finds or founds the cluster; waits for the other controllers and the bucket as long as it takes.
///
/// # Errors
/// This controller is not one of the cluster's, or its data belong to another cluster.
pub async fn found(
    config: &ControllerConfig,
    identity: &Identity,
    store: &Arc<dyn ObjectStore>,
    client: &ControllerClient,
    clock: &SharedClock,
    rng: &Rng,
) -> Result<ClusterFile, ControllerError> {
    let mut warned = false;
    let file = loop {
        match bucket::read_cluster(store.as_ref()).await {
            Ok(Some(file)) => break file,
            Ok(None) => {}
            Err(error) => {
                warn_once(&mut warned, &format!("bucket does not answer: {error}"));
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            }
        }
        match voters(config, identity.node(), client).await {
            Ok(voters) => {
                let cluster = ClusterId(rng.id());
                let proposal = ClusterFile { cluster, created_ms: clock.now_ms(), voters };
                let retry = PutRetry::default();
                match bucket::create_or_read_cluster(store.as_ref(), &proposal, retry).await {
                    Ok(file) => break file,
                    Err(error) => warn_once(&mut warned, &format!("cluster.json: {error}")),
                }
            }
            Err(trouble) => warn_once(&mut warned, &trouble),
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    };
    let own = identity.node();
    if !file.voters.iter().any(|voter| voter.node == own) {
        return Err(ControllerError::NotAVoter { node: own, cluster: file.cluster });
    }
    if !identity.set_cluster(file.cluster) {
        let ours = identity.cluster().unwrap_or_default();
        return Err(ControllerError::OtherCluster { ours, theirs: file.cluster });
    }
    Ok(file)
}

/// All controllers, as they answer for themselves.
async fn voters(
    config: &ControllerConfig,
    own: NodeId,
    client: &ControllerClient,
) -> Result<Vec<Voter>, String> {
    let mut voters = Vec::new();
    for address in &config.controllers {
        let node = if *address == config.own_address {
            own
        } else {
            let hello = client.hello(address).await;
            let hello = hello.map_err(|e| format!("controller={address}: {}", e.message()))?;
            if !hello.controller {
                return Err(format!("controller={address}: not a controller"));
            }
            NodeId(hello.node)
        };
        voters.push(Voter { node, address: address.clone() });
    }
    voters.sort_by_key(|voter| voter.node);
    if voters.windows(2).any(|pair| pair[0].node == pair[1].node) {
        return Err("two addresses are one controller".to_string());
    }
    Ok(voters)
}

fn warn_once(warned: &mut bool, trouble: &str) {
    if !std::mem::replace(warned, true) {
        tracing::info!(trouble, "waiting to found or join a cluster");
    }
}
