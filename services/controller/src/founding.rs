//! Founding a cluster, once: the bucket's `cluster.json` names its id and its controllers.
//!
//! Whoever finds the file follows it. Whoever does not, asks all controllers who they are and proposes a file
//! that names them; the bucket lets exactly one proposal win. A controller that the file does not name is a
//! stranger, a wiped one too (its node id went with its disk): it never founds a second cluster. Nor does one
//! that has a cluster, or hears of one from the others: then the bucket is a wrong one, or was emptied.
//!
//! A controller that has followed the file once keeps it in its data directory, and needs no bucket to start
//! again: [`watch_bucket`] looks for the same file in the bucket when it can.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use pando_catalog::bucket::{self, PutRetry};
use pando_catalog::{CatalogError, ClusterFile, Voter};
use pando_cluster::ControllerClient;
use pando_model::{ClusterId, NodeId};
use pando_rpc::Identity;
use pando_runtime::{Rng, SharedClock};

use crate::config::ControllerConfig;
use crate::error::ControllerError;
use crate::told::Told;

const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How often a bucket that does not answer is asked for its `cluster.json`.
const LOOK_PAUSE: Duration = Duration::from_secs(5);

/// Finds or founds the cluster; waits for the other controllers and the bucket as long as it takes. With the
/// file that was `kept` from an earlier start it waits for nobody.
///
/// # Errors
/// This controller is not one of the cluster's, or its data belong to another cluster, or the bucket is not
/// the cluster's or cannot be relied on.
pub async fn found(
    config: &ControllerConfig,
    identity: &Identity,
    kept: Option<ClusterFile>,
    store: &Arc<dyn ObjectStore>,
    client: &ControllerClient,
    clock: &SharedClock,
    rng: &Rng,
) -> Result<ClusterFile, ControllerError> {
    let founding = Founding { config, identity, store: store.as_ref(), client, clock, rng };
    let file = match kept {
        Some(file) => file,
        None => founding.until_there().await?,
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

/// Waits until the bucket answers, and says what is wrong with it; ends without an error where its
/// `cluster.json` is that of `cluster`.
///
/// # Errors
/// The bucket is not this cluster's.
pub async fn watch_bucket(
    store: &Arc<dyn ObjectStore>,
    cluster: ClusterId,
) -> Result<(), ControllerError> {
    let mut told = Told::default();
    loop {
        match bucket::read_cluster(store.as_ref()).await {
            Ok(Some(found)) if found.cluster == cluster => return Ok(()),
            Ok(Some(found)) => {
                return Err(ControllerError::OtherCluster { ours: cluster, theirs: found.cluster });
            }
            Ok(None) => {
                let (bucket, who) = (store.to_string(), "this data directory".to_string());
                return Err(ControllerError::NotTheBucket { bucket, who, cluster });
            }
            Err(error) if is_unreachable(&error) => tell(&mut told, &with_source(&error)),
            Err(error) => return Err(ControllerError::Bucket(error)),
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

struct Founding<'a> {
    config: &'a ControllerConfig,
    identity: &'a Identity,
    store: &'a dyn ObjectStore,
    client: &'a ControllerClient,
    clock: &'a SharedClock,
    rng: &'a Rng,
}

impl Founding<'_> {
    /// The file of the bucket, once it is there.
    async fn until_there(&self) -> Result<ClusterFile, ControllerError> {
        // One name for all probes: the trouble stays the same.
        let (mut told, mut probe) = (Told::default(), Some(self.rng.u128()));
        loop {
            let trouble = match self.found_or_trouble(&mut probe).await {
                Ok(Ok(file)) => return Ok(file),
                Ok(Err(trouble)) => trouble,
                Err(error) if is_unreachable(&error) => with_source(&error),
                Err(error) => return Err(ControllerError::Bucket(error)),
            };
            if let Some((who, cluster)) = self.known_cluster().await
                // The others may have founded it just now.
                && let Ok(None) = bucket::read_cluster(self.store).await
            {
                let bucket = self.store.to_string();
                return Err(ControllerError::NotTheBucket { bucket, who, cluster });
            }
            tell(&mut told, &trouble);
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// The file of the bucket, or what is still missing for it to be there.
    async fn found_or_trouble(
        &self,
        probe: &mut Option<u128>,
    ) -> Result<Result<ClusterFile, String>, CatalogError> {
        if let Some(file) = bucket::read_cluster(self.store).await? {
            return Ok(Ok(file));
        }
        if let Some((who, cluster)) = self.known_cluster().await {
            return Ok(Err(format!("{who} belongs to a cluster: cluster={cluster}")));
        }
        let voters = match self.voters().await {
            Ok(voters) => voters,
            Err(trouble) => return Ok(Err(trouble)),
        };
        // What a cluster is founded on must keep its promises.
        if let Some(random) = *probe {
            bucket::probe(self.store, random).await?;
            *probe = None;
        }
        let cluster = ClusterId(self.rng.id());
        let proposal = ClusterFile { cluster, created_ms: self.clock.now_ms(), voters };
        let retry = PutRetry::default();
        bucket::create_or_read_cluster(self.store, &proposal, retry).await.map(Ok)
    }

    /// A cluster that this process or another controller belongs to.
    async fn known_cluster(&self) -> Option<(String, ClusterId)> {
        if let Some(cluster) = self.identity.cluster() {
            return Some(("this data directory".to_string(), cluster));
        }
        for address in self.others() {
            if let Ok(hello) = self.client.hello(address).await
                && hello.cluster != 0
            {
                return Some((format!("controller={address}"), ClusterId(hello.cluster)));
            }
        }
        None
    }

    fn others(&self) -> impl Iterator<Item = &String> {
        self.config.controllers.iter().filter(|address| **address != self.config.own_address)
    }

    /// All controllers, as they answer for themselves.
    async fn voters(&self) -> Result<Vec<Voter>, String> {
        let own = self.config.own_address.clone();
        let mut voters = vec![Voter { node: self.identity.node(), address: own }];
        for address in self.others() {
            let hello = self.client.hello(address).await;
            let hello = hello.map_err(|e| format!("controller={address}: {}", e.message()))?;
            if !hello.controller {
                return Err(format!("controller={address}: not a controller"));
            }
            voters.push(Voter { node: NodeId(hello.node), address: address.clone() });
        }
        voters.sort_by_key(|voter| voter.node);
        if voters.windows(2).any(|pair| pair[0].node == pair[1].node) {
            return Err("two addresses are one controller".to_string());
        }
        Ok(voters)
    }
}

/// Whether the bucket may answer better later.
fn is_unreachable(error: &CatalogError) -> bool {
    matches!(error, CatalogError::Store { .. } | CatalogError::UnknownOutcome { .. })
}

fn with_source(error: &CatalogError) -> String {
    match error {
        CatalogError::Store { source, .. } => format!("{error}: {}", without_body(source)),
        other => other.to_string(),
    }
}

/// What a store says, its answer in XML cut down to code and message: the rest differs from try to try.
fn without_body(source: &object_store::Error) -> String {
    let text = source.to_string();
    let part = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(part, _)| part.to_string())
    };
    match (text.find("<?xml").or_else(|| text.find("<Error>")), part("Code"), part("Message")) {
        (Some(body), Some(code), message) => {
            format!("{}{code}: {}", &text[..body], message.unwrap_or_default())
        }
        _ => text,
    }
}

/// Says what is waited for, whenever it is something else.
fn tell(told: &mut Told, trouble: &str) {
    if told.is_news(trouble) {
        tracing::warn!(trouble, "waiting to find the cluster in the bucket");
    }
}

#[cfg(test)]
mod tests;
