//! The command line: one subcommand a role, with Prometheus' flags where a flag has the same meaning.

mod refused;
mod shared;

use clap::{Args, Parser, Subcommand};

pub(crate) use refused::refuse_prometheus_flags;
pub(crate) use shared::{
    AgentArgs, ClusterArgs, ControllerArgs, GrpcArgs, IngesterArgs, LogArgs, QueryArgs,
    StorageArgs, StoreArgs, WebArgs,
};

/// Pando: a distributed, Prometheus-compatible metrics cluster.
#[derive(Parser, Debug)]
#[command(name = "pando", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Every role in one process: alone, or three that are given each other's addresses.
    All(Box<AllArgs>),
    /// Scrapes targets and ships their samples.
    Agent(Box<AgentRole>),
    /// Takes remote write.
    Receiver(Box<ReceiverRole>),
    /// Takes, replicates and keeps samples, and uploads them as blocks.
    Ingester(Box<IngesterRole>),
    /// Answers queries from blocks.
    StoreGateway(Box<StoreGatewayRole>),
    /// The HTTP API: plans queries and asks ingesters and store gateways.
    QueryFrontend(Box<QueryFrontendRole>),
    /// Merges blocks and applies retention.
    Compactor(Box<CompactorRole>),
    /// Keeps the catalog: members, shards, routes, blocks, leases.
    Controller(Box<ControllerRole>),
    /// Check files before they are used.
    #[command(subcommand)]
    Check(CheckCommand),
    /// Ask a running Pando, or any server with Prometheus' API.
    #[command(subcommand)]
    Query(QueryCommand),
    /// Look into a block.
    #[command(subcommand)]
    Block(BlockCommand),
    /// Operate a running cluster.
    #[command(subcommand)]
    Admin(AdminCommand),
}

#[derive(Args, Debug)]
pub(crate) struct AllArgs {
    #[command(flatten)]
    pub(crate) web: WebArgs,
    #[command(flatten)]
    pub(crate) grpc: GrpcArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) storage: StorageArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(flatten)]
    pub(crate) agent: AgentArgs,
    #[command(flatten)]
    pub(crate) ingester: IngesterArgs,
    #[command(flatten)]
    pub(crate) query: QueryArgs,
    #[command(flatten)]
    pub(crate) controller: ControllerArgs,
}

macro_rules! role_args {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $kind:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Args, Debug)]
        pub(crate) struct $name {
            #[command(flatten)]
            pub(crate) web: WebArgs,
            #[command(flatten)]
            pub(crate) grpc: GrpcArgs,
            #[command(flatten)]
            pub(crate) log: LogArgs,
            #[command(flatten)]
            pub(crate) cluster: ClusterArgs,
            #[command(flatten)]
            pub(crate) storage: StorageArgs,
            $(#[command(flatten)] pub(crate) $field: $kind,)*
        }
    )*};
}

role_args! {
    AgentRole { agent: AgentArgs }
    ReceiverRole {}
    IngesterRole { store: StoreArgs, ingester: IngesterArgs }
    StoreGatewayRole { store: StoreArgs }
    QueryFrontendRole { query: QueryArgs }
    CompactorRole { store: StoreArgs }
    ControllerRole { store: StoreArgs, controller: ControllerArgs }
}

#[derive(Subcommand, Debug)]
pub(crate) enum CheckCommand {
    /// Check a prometheus.yml.
    Config {
        /// The file.
        file: String,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum QueryCommand {
    /// Evaluate an expression at one time.
    Instant {
        /// Such as http://localhost:9090.
        url: String,
        /// The expression.
        expression: String,
        /// Unix seconds or RFC 3339; now where absent.
        #[arg(long)]
        time: Option<String>,
        #[command(flatten)]
        tenant: TenantArg,
    },
    /// Evaluate an expression over a range of time.
    Range {
        /// Such as http://localhost:9090.
        url: String,
        /// The expression.
        expression: String,
        /// Unix seconds or RFC 3339; five minutes before the end where absent.
        #[arg(long)]
        start: Option<String>,
        /// Unix seconds or RFC 3339; now where absent.
        #[arg(long)]
        end: Option<String>,
        /// Seconds or a duration.
        #[arg(long, default_value = "15s")]
        step: String,
        #[command(flatten)]
        tenant: TenantArg,
    },
}

#[derive(Args, Debug)]
pub(crate) struct TenantArg {
    /// The tenant (header X-Scope-OrgID).
    #[arg(long)]
    pub(crate) tenant: Option<String>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum BlockCommand {
    /// Print what a block holds.
    Inspect(BlockTarget),
    /// Read a whole block and compare every checksum and digest.
    Verify(BlockTarget),
}

#[derive(Args, Debug)]
pub(crate) struct BlockTarget {
    /// A file, or the block's path in the bucket given with --objstore.config-file.
    pub(crate) block: String,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[derive(Subcommand, Debug)]
pub(crate) enum AdminCommand {
    /// End the open generation of a shard, or of all, and wait for its block.
    Cut(AdminTarget),
    /// Seal a shard; its successors take over.
    Seal {
        #[command(flatten)]
        target: AdminTarget,
        /// Split each of its key ranges in two.
        #[arg(long)]
        split: bool,
    },
}

#[derive(Args, Debug)]
pub(crate) struct AdminTarget {
    /// The gRPC address of a controller.
    #[arg(long, default_value = "127.0.0.1:9095")]
    pub(crate) controller: String,
    /// The shard; all of them where absent.
    #[arg(long)]
    pub(crate) shard: Option<u64>,
}

/// The flags that were given, by name without dashes, for `/api/v1/status/flags`.
pub(crate) fn given_flags(
    args: impl Iterator<Item = String>,
) -> std::collections::BTreeMap<String, String> {
    let mut flags = std::collections::BTreeMap::new();
    let mut args = args.peekable();
    while let Some(arg) = args.next() {
        let Some(flag) = arg.strip_prefix("--") else { continue };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, value.to_string()),
            None => match args.next_if(|next| !next.starts_with("--")) {
                Some(value) => (flag, value),
                None => (flag, "true".to_string()),
            },
        };
        flags.insert(name.to_string(), value);
    }
    flags
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn given_flags_are_named_without_dashes() {
        let args = ["--a.b=1", "--c", "2", "--d"].map(str::to_string);
        let flags = given_flags(args.into_iter());
        let pairs: Vec<(&str, &str)> =
            flags.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("a.b", "1"), ("c", "2"), ("d", "true")]);
    }
}
