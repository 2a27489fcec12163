//! `pando admin cut|seal|limits`: operates a running cluster over gRPC.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::{StreamExt as _, stream};
use pando_catalog::wire::StreamedView as _;
use pando_catalog::{Command, RoutingView, ShardStage, TenantLimits};
use pando_cluster::ControllerClient;
use pando_model::duration::{format_duration, parse_duration};
use pando_model::{CatalogVersion, ClusterId, NodeId, ShardId, TenantId};
use pando_proto::v1::CutRequest;
use pando_proto::v1::ingester_client::IngesterClient;
use pando_rpc::{Channels, Identity};
use pando_runtime::Rng;

use super::output::Output;
use crate::args::{AdminCommand, AdminDoor, AdminTarget, LimitsCommand};

/// How many shards are cut side by side.
const CUTS_AT_ONCE: usize = 8;
/// A cut waits until its block is in the catalog.
const CUT_TIMEOUT: Duration = Duration::from_secs(120);

/// A controller hears of what its leader has decided by then.
const NEWS_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs one command.
pub(crate) async fn run(command: &AdminCommand) -> Result<()> {
    match command {
        AdminCommand::Cut(target) => cut(target).await,
        AdminCommand::Seal { target, split } => seal(target, *split).await,
        AdminCommand::Limits(command) => limits(command).await,
    }
}

async fn cut(target: &AdminTarget) -> Result<()> {
    let (client, channels) = connect(&target.door).await?;
    let routing = routing(&client, CatalogVersion(0)).await?;
    let shards = open_shards(&routing, target)?;
    let cuts = shards.iter().map(|shard| cut_shard(&routing, &channels, *shard));
    let mut cuts = stream::iter(cuts).buffered(CUTS_AT_ONCE);
    let (mut out, mut failed) = (Output::stdout(), Vec::new());
    while let Some(cut) = cuts.next().await {
        match cut {
            Ok(lines) => lines.into_iter().try_for_each(|line| out.line(line))?,
            // The others are cut all the same.
            Err(error) => failed.push(error.to_string()),
        }
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    Ok(())
}

/// Cuts one shard, and says what has become of its generations.
async fn cut_shard(
    routing: &RoutingView,
    channels: &Channels,
    shard: ShardId,
) -> Result<Vec<String>> {
    let info = routing.shard(shard).context("the shard was there a moment ago")?;
    let mut trouble = "it has no member".to_string();
    for member in &info.members {
        let Some(node) = routing.node(*member) else { continue };
        let peer = match channels.peer(&node.grpc_address, Some(*member)) {
            Ok(peer) => peer,
            Err(status) => {
                trouble = status.message().to_string();
                continue;
            }
        };
        let mut request = tonic::Request::new(CutRequest { shard: shard.0, wait_committed: true });
        request.set_timeout(CUT_TIMEOUT);
        match IngesterClient::new(peer).cut(request).await {
            Ok(answer) => {
                let generations = answer.into_inner().generations.into_iter();
                let lines: Vec<String> = generations
                    .map(|name| {
                        format!("shard {} generation {} is in a block", name.shard, name.cut)
                    })
                    .collect();
                let nothing = || vec![format!("shard {shard} has nothing to cut")];
                return Ok(if lines.is_empty() { nothing() } else { lines });
            }
            Err(status) if status.code() == tonic::Code::PermissionDenied => {
                bail!("shard={shard}: {}", status.message())
            }
            Err(status) => trouble = status.message().to_string(),
        }
    }
    bail!("shard cannot be cut: shard={shard}: {trouble}")
}

async fn seal(target: &AdminTarget, split: bool) -> Result<()> {
    let (client, _) = connect(&target.door).await?;
    let routing = routing(&client, CatalogVersion(0)).await?;
    let (mut out, mut failed, mut refused) = (Output::stdout(), Vec::new(), true);
    for shard in open_shards(&routing, target)? {
        match client.seal_shard(shard, split).await {
            Ok(answer) => out.line(sealed(shard, split, &answer.successors))?,
            // The others can be sealed all the same.
            Err(status) => {
                refused &= status.code() == tonic::Code::PermissionDenied;
                failed.push(format!("shard={shard}: {}", status.message()));
            }
        }
    }
    if !failed.is_empty() {
        let what = if refused { "not sealed" } else { "not known to be sealed, ask again" };
        bail!("{what}: {}", failed.join("; "));
    }
    Ok(())
}

fn sealed(shard: ShardId, split: bool, successors: &[u64]) -> String {
    let whole = split && successors.len() == 1;
    let why =
        if whole { " (not split: it holds too few series, or was sealed before)" } else { "" };
    let successors: Vec<String> = successors.iter().map(u64::to_string).collect();
    format!("shard {shard} is sealed; successors: {}{why}", successors.join(", "))
}

async fn limits(command: &LimitsCommand) -> Result<()> {
    let tenant = TenantId::parse(&command.tenant).context("tenant")?;
    let (client, _) = connect(&command.door).await?;
    let mut version = CatalogVersion(0);
    for change in changes(command, &tenant, &routing(&client, version).await?)? {
        (_, version) = client.propose(&change).await?;
    }
    let view = routing(&client, version).await?;
    let shown = describe(&tenant, &view.limits(&tenant), view.retention_ms(&tenant));
    Output::stdout().line(shown)
}

/// What `command` changes of a tenant. What it does not name stays as it is; once a tenant has limits of its
/// own, the defaults have no part in them any more.
fn changes(command: &LimitsCommand, tenant: &TenantId, view: &RoutingView) -> Result<Vec<Command>> {
    let (mut changes, some) = (Vec::new(), Some(tenant.clone()));
    let mut limits = view.limits(tenant);
    if command.reset {
        let own = view.tenants().get(tenant);
        if own.is_some_and(|own| own.limits.is_some()) {
            changes.push(Command::SetTenantLimits { tenant: some.clone(), limits: None });
        }
        if own.is_some_and(|own| own.retention_ms.is_some()) {
            changes.push(Command::SetRetention { tenant: some.clone(), retention_ms: None });
        }
        limits = view.default_limits();
    }
    let before = limits;
    let ms = |flag: &str, text: &String| {
        let ms = parse_duration(text).with_context(|| format!("{flag}={text}"))?;
        Ok::<u64, anyhow::Error>(ms.max(0) as u64)
    };
    let set = |to: &mut u64, from: Option<u64>| *to = from.unwrap_or(*to);
    let set_u32 = |to: &mut u32, from: Option<u32>| *to = from.unwrap_or(*to);
    set(&mut limits.samples_per_s_max, command.samples_per_second);
    set(&mut limits.series_max, command.max_series);
    if let Some(window) = &command.out_of_order_time_window {
        limits.ooo_window_ms = ms("--out-of-order-time-window", window)?;
    }
    set_u32(&mut limits.labels_per_series_max, command.max_labels_per_series);
    set_u32(&mut limits.label_name_bytes_max, command.max_label_name_bytes);
    set_u32(&mut limits.label_value_bytes_max, command.max_label_value_bytes);
    if limits != before {
        changes.push(Command::SetTenantLimits { tenant: some.clone(), limits: Some(limits) });
    }
    if let Some(retention) = &command.retention {
        let retention_ms = Some(ms("--retention", retention)?);
        changes.push(Command::SetRetention { tenant: some, retention_ms });
    }
    Ok(changes)
}

fn describe(tenant: &TenantId, limits: &TenantLimits, retention_ms: u64) -> String {
    format!(
        "tenant {tenant}: samples_per_second={} max_series={} retention={} \
         out_of_order_time_window={} max_labels_per_series={} max_label_name_bytes={} \
         max_label_value_bytes={} (0: no limit)",
        limits.samples_per_s_max,
        limits.series_max,
        format_duration(i64::try_from(retention_ms).unwrap_or(i64::MAX)),
        format_duration(i64::try_from(limits.ooo_window_ms).unwrap_or(i64::MAX)),
        limits.labels_per_series_max,
        limits.label_name_bytes_max,
        limits.label_value_bytes_max,
    )
}

fn open_shards(routing: &RoutingView, target: &AdminTarget) -> Result<Vec<ShardId>> {
    let open = routing.shards().values().filter(|shard| shard.stage == ShardStage::Open);
    let open: Vec<ShardId> = open.map(|shard| shard.id).collect();
    let wanted = |shard: &&ShardId| target.shard.is_none_or(|wanted| wanted == shard.0);
    let shards: Vec<ShardId> = open.iter().filter(wanted).copied().collect();
    if shards.is_empty() {
        let open: Vec<String> = open.iter().map(ShardId::to_string).collect();
        let wanted = target.shard.map(|shard| format!("shard={shard} ")).unwrap_or_default();
        if open.is_empty() {
            bail!(
                "{wanted}no shard is open: a new cluster opens its first ones when enough ingesters are there"
            );
        }
        bail!("no such open shard: {wanted}open={}", open.join(","));
    }
    Ok(shards)
}

/// A client that belongs to the cluster which answers at the target.
async fn connect(target: &AdminDoor) -> Result<(ControllerClient, Channels)> {
    let identity = Identity::new(NodeId(Rng::system().id()));
    let channels = Channels::new(identity.clone(), crate::run::tls(&target.tls)?);
    let client = ControllerClient::new(channels.clone(), target.controller.clone());
    let mut silent = Vec::new();
    let mut answered = None;
    for controller in &target.controller {
        match client.hello(controller).await {
            Ok(hello) => {
                answered = Some(hello);
                break;
            }
            Err(s) => {
                silent.push(format!("controller={controller}: {:?}: {}", s.code(), s.message()))
            }
        }
    }
    let Some(hello) = answered else { bail!("no controller answers: {}", silent.join("; ")) };
    if hello.cluster == 0 {
        bail!("the cluster is not founded yet: controller={}", target.controller.join(","));
    }
    identity.set_cluster(ClusterId(hello.cluster));
    Ok((client, channels))
}

/// The view of the controller that is asked, at least at `version`: it may follow another one.
async fn routing(client: &ControllerClient, version: CatalogVersion) -> Result<RoutingView> {
    let failed = |status: tonic::Status| anyhow::anyhow!("catalog: {}", status.message());
    let mut deltas = client.watch_routing(CatalogVersion(0)).await.map_err(failed)?;
    let mut view = RoutingView::new();
    let reached = async {
        loop {
            let delta = deltas.next().await.map_err(failed)?;
            view.advance(&delta)?;
            if view.version() >= version {
                return Ok::<RoutingView, anyhow::Error>(view);
            }
        }
    };
    let late = || format!("the controller does not hear of its leader's news: version={version}");
    tokio::time::timeout(NEWS_TIMEOUT, reached).await.with_context(late)?
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use pando_catalog::Catalog;

    use super::*;
    use crate::args::{Cli, Command as Subcommand};

    fn parsed(flags: &[&str]) -> LimitsCommand {
        let args = ["pando", "admin", "limits", "a"].iter().chain(flags);
        match Cli::try_parse_from(args).expect("good flags").command {
            Subcommand::Admin(AdminCommand::Limits(command)) => *command,
            other => panic!("something else: {other:?}"),
        }
    }

    #[test]
    fn a_tenant_gets_what_was_named_and_keeps_the_rest() {
        let (tenant, mut catalog) = (TenantId::parse("a").expect("good"), Catalog::new());
        let apply = |catalog: &mut Catalog, flags: &[&str]| {
            let mut view = RoutingView::new();
            view.apply(&catalog.routing_since(CatalogVersion(0)).expect("full")).expect("fits");
            let changes = changes(&parsed(flags), &tenant, &view).expect("good values");
            let count = changes.len();
            for change in changes {
                let index = catalog.applied() + 1;
                catalog.apply(index, &change).expect("it fits");
            }
            count
        };
        let init = Command::InitCluster { cluster: ClusterId(1), feature_level: 1 };
        catalog.apply(1, &init).expect("it fits");
        let defaults = catalog.limits(&tenant);
        assert_eq!(apply(&mut catalog, &[]), 0, "a look changes nothing");
        assert_eq!(apply(&mut catalog, &["--samples-per-second=5", "--retention=30d"]), 2);
        assert_eq!(apply(&mut catalog, &["--max-series=7"]), 1);
        let limits = catalog.limits(&tenant);
        assert_eq!((limits.samples_per_s_max, limits.series_max), (5, 7));
        assert_eq!(limits.label_value_bytes_max, defaults.label_value_bytes_max);
        assert_eq!(catalog.retention_ms(&tenant), 30 * 86_400_000);
        assert_eq!(apply(&mut catalog, &["--reset", "--max-series=9"]), 3);
        let limits = catalog.limits(&tenant);
        assert_eq!((limits.samples_per_s_max, limits.series_max), (0, 9));
        assert_eq!(catalog.retention_ms(&tenant), 0);
        let mut view = RoutingView::new();
        view.apply(&catalog.routing_since(CatalogVersion(0)).expect("full")).expect("fits");
        assert!(changes(&parsed(&["--retention=soon"]), &tenant, &view).is_err());
    }

    #[test]
    fn a_split_that_was_none_is_told() {
        assert_eq!(sealed(ShardId(3), true, &[4, 5]), "shard 3 is sealed; successors: 4, 5");
        assert_eq!(sealed(ShardId(3), false, &[4]), "shard 3 is sealed; successors: 4");
        assert!(
            sealed(ShardId(3), true, &[4])
                .ends_with("(not split: it holds too few series, or was sealed before)")
        );
    }

    #[test]
    fn the_tool_speaks_mutual_tls() {
        let flags = ["--grpc.tls-cert=c", "--grpc.tls-key=k", "--grpc.tls-ca=a"];
        let tls = parsed(&flags).door.tls;
        assert_eq!(tls.tls_cert.as_deref(), Some("c"));
        assert_eq!(tls.tls_server_name, "pando");
    }
}
