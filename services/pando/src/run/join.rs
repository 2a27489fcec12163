//! Joining the cluster: learning its id, from the bucket (controllers) or from the controllers (everyone
//! else), and never another one's with the same data directory.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use pando_catalog::ClusterFile;
use pando_cluster::CatalogFollower;
use pando_consensus::{GrpcTransport, Host, HostConfig};
use pando_model::ClusterId;
use pando_runtime::Tasks;

use crate::checked_text;
use crate::run::base::Base;

const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// The file that says to which cluster a data directory belongs.
const FILE: &str = "cluster";
const HEADER: &str = "pando cluster 1";
/// The bucket's file, as a controller has followed it.
const KEPT_FILE: &str = "cluster.json";

/// The cluster that this data directory belongs to, if it has joined one.
pub(crate) fn known_cluster(base: &Base) -> Result<Option<ClusterId>> {
    let path = base.data.path().join(FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let broken = || format!("broken file path={}", path.display());
            parse_cluster(&text).map(Some).with_context(broken)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read path={}", path.display())),
    }
}

/// Remembers the cluster; an error where the data directory belongs to another one.
pub(crate) fn belong_to(base: &Base, cluster: ClusterId) -> Result<()> {
    if let Some(known) = known_cluster(base)?
        && known != cluster
    {
        bail!("data directory belongs to another cluster: ours={known} theirs={cluster}");
    }
    base.disk
        .replace(&base.data.path().join(FILE), cluster_text(cluster).as_bytes())
        .context("cannot remember the cluster")?;
    if !base.identity.set_cluster(cluster) {
        bail!("this process has joined another cluster: theirs={cluster}");
    }
    Ok(())
}

fn cluster_text(cluster: ClusterId) -> String {
    checked_text::seal(HEADER, &format!("id {cluster}\n"))
}

fn parse_cluster(text: &str) -> Result<ClusterId> {
    let id = checked_text::open(HEADER, text)?.strip_prefix("id ");
    id.and_then(|id| ClusterId::parse(id.trim())).context("the id is not 16 hex digits")
}

/// The `cluster.json` that this controller has followed before, if it has.
pub(crate) fn kept_file(base: &Base) -> Result<Option<ClusterFile>> {
    let path = base.data.path().join(KEPT_FILE);
    match std::fs::read(&path) {
        Ok(bytes) => {
            let file = ClusterFile::decode(&bytes);
            file.map(Some).with_context(|| format!("broken file path={}", path.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read path={}", path.display())),
    }
}

/// Keeps the bucket's `cluster.json`, so that the next start needs no bucket.
pub(crate) fn keep_file(base: &Base, file: &ClusterFile) -> Result<()> {
    let path = base.data.path().join(KEPT_FILE);
    base.disk.replace(&path, &file.encode()).context("cannot keep cluster.json")
}

/// Asks the controllers for the cluster's id until one knows it.
pub(crate) async fn learn_cluster(base: &Base) -> Result<ClusterId> {
    // One that was told before need not ask: it serves on while no controller answers.
    if let Some(known) = known_cluster(base)? {
        belong_to(base, known)?;
        return Ok(known);
    }
    let mut told = false;
    loop {
        for address in base.client.addresses() {
            match base.client.hello(address).await {
                Ok(hello) if hello.cluster != 0 => {
                    let cluster = ClusterId(hello.cluster);
                    belong_to(base, cluster)?;
                    return Ok(cluster);
                }
                Ok(_) => {}
                Err(status) if !told => {
                    let status = status.message();
                    tracing::info!(controller = address, status, "waiting for a controller");
                    told = true;
                }
                Err(_) => {}
            }
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// Opens the log of this process' Raft groups. The cluster is known.
pub(crate) fn open_host(base: &Base) -> Result<(Host, GrpcTransport)> {
    let cluster = base.identity.cluster().context("the cluster is known by now")?;
    let transport = GrpcTransport::new(base.channels.clone());
    let host = Host::open(
        HostConfig::new(base.identity.node(), cluster, base.data.folder(&*base.disk, "raft")?),
        base.disk.clone(),
        std::sync::Arc::new(transport.clone()),
        base.clock.clone(),
        base.rng.clone(),
        &base.tasks,
    )?;
    let _ = base.host.set(host.clone());
    Ok((host, transport))
}

/// Ends the process when the cluster needs a newer one: this one would not understand what the others write.
pub(crate) fn follow_feature_level(own: u32, follower: &CatalogFollower, tasks: &Tasks) {
    let (mut routing, failing) = (follower.watch_routing(), tasks.clone());
    tasks.spawn_until_stopped("feature level", async move {
        let newer = routing.wait_for(|view| view.feature_level() > own).await;
        if let Ok(cluster) = newer.map(|view| view.feature_level()) {
            failing.fail(format!(
                "this version of pando is too old for its cluster: feature_level={own} cluster={cluster}"
            ));
        }
    });
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use pando_catalog::wire::StreamedView as _;
    use pando_catalog::{Catalog, Command, RoutingView};
    use pando_cluster::{ControllerClient, Streams};
    use pando_model::{CatalogVersion, NodeId};
    use pando_rpc::{Channels, Identity};
    use pando_runtime::disk::{Disk as _, SimDisk};

    use super::*;

    #[test]
    fn version_one_of_the_cluster_file_is_pinned() {
        let text = "pando cluster 1\nid 0000000000c0ffee\ncheck 4a180e196aff040d\n";
        assert_eq!(cluster_text(ClusterId(0xc0_ffee)), text);
        assert_eq!(parse_cluster(text).expect("as it was written"), ClusterId(0xc0_ffee));
        assert!(parse_cluster(&text.replace("ee\n", "ef\n")).is_err(), "its check is another");
    }

    #[tokio::test]
    async fn a_process_that_is_older_than_its_cluster_ends() {
        let (tasks, disk, mut catalog) = (Tasks::new(), SimDisk::new(), Catalog::new());
        let command = Command::InitCluster { cluster: ClusterId(7), feature_level: 3 };
        catalog.apply(1, &command).expect("it fits");
        let mut view = RoutingView::new();
        view.apply(&catalog.routing_since(CatalogVersion(0)).expect("a delta")).expect("it fits");
        disk.create_dir(Path::new("/catalog")).expect("a folder");
        disk.replace(Path::new("/catalog/routing"), &view.to_bytes()).expect("written");
        // No controller answers: what was kept on disk is enough to tell.
        let channels = Channels::new(Identity::new(NodeId(1)), None);
        let client = ControllerClient::new(channels, vec!["127.0.0.1:1".to_string()]);
        let folder = PathBuf::from("/catalog");
        let follower =
            CatalogFollower::start(client, Streams::Routing, disk.shared(), folder, &tasks);
        follow_feature_level(3, &follower, &tasks);
        let young = Tasks::new();
        follow_feature_level(2, &follower, &young);
        let why = tokio::time::timeout(Duration::from_secs(20), young.failed()).await;
        let why = why.expect("it is told");
        assert!(why.contains("feature_level=2 cluster=3"), "{why}");
        assert_eq!(tasks.failure(), None, "one of the same level goes on");
        young.shutdown(Duration::from_secs(5)).await;
        tasks.shutdown(Duration::from_secs(5)).await;
    }
}
