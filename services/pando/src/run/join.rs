//! Joining the cluster: learning its id, from the bucket (controllers) or from the controllers (everyone
//! else), and never another one's with the same data directory.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use pando_consensus::{GrpcTransport, Host, HostConfig};
use pando_model::ClusterId;

use crate::run::base::Base;

const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// The file that says to which cluster a data directory belongs.
const FILE: &str = "cluster";

/// The cluster that this data directory belongs to, if it has joined one.
pub(crate) fn known_cluster(base: &Base) -> Result<Option<ClusterId>> {
    let path = base.data.path().join(FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let id = ClusterId::parse(text.trim());
            id.map(Some).with_context(|| format!("not a cluster id: path={}", path.display()))
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
        .replace(&base.data.path().join(FILE), format!("{cluster}\n").as_bytes())
        .context("cannot remember the cluster")?;
    if !base.identity.set_cluster(cluster) {
        bail!("this process has joined another cluster: theirs={cluster}");
    }
    Ok(())
}

/// Asks the controllers for the cluster's id until one knows it.
pub(crate) async fn learn_cluster(base: &Base) -> Result<()> {
    // One that was told before need not ask: it serves on while no controller answers.
    if let Some(known) = known_cluster(base)? {
        return belong_to(base, known);
    }
    let mut told = false;
    loop {
        for address in base.client.addresses() {
            match base.client.hello(address).await {
                Ok(hello) if hello.cluster != 0 => {
                    return belong_to(base, ClusterId(hello.cluster));
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
        HostConfig::new(base.identity.node(), cluster, base.data.folder("raft")?),
        base.disk.clone(),
        std::sync::Arc::new(transport.clone()),
        base.clock.clone(),
        base.rng.clone(),
        &base.tasks,
    )?;
    let _ = base.host.set(host.clone());
    Ok((host, transport))
}
