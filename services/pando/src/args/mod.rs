//! The command line: one subcommand a role, with Prometheus' flags where a flag has the same meaning.

mod foreign;
mod refused;
mod shared;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{
    ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum,
};

pub(crate) use shared::{
    AgentArgs, ClusterArgs, ControllerArgs, GrpcArgs, IngesterArgs, LogArgs, QueryArgs,
    StorageArgs, StoreArgs, TlsArgs, WebArgs,
};

/// Flags by name, without dashes, and their values.
pub(crate) type Flags = BTreeMap<String, String>;

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
    /// Check files and expressions before they are used.
    #[command(subcommand)]
    Check(CheckCommand),
    /// Ask a running Pando, or any server with Prometheus' API.
    #[command(subcommand)]
    Query(QueryCommand),
    /// Test what PromQL expressions answer.
    #[command(subcommand)]
    Test(TestCommand),
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
    /// Check a PromQL expression: all that is wrong with it.
    Query {
        /// The expression.
        expression: String,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum QueryCommand {
    /// Evaluate an expression at one time.
    Instant {
        /// Such as http://localhost:9090.
        url: String,
        /// The expression; one that begins with a sign stands behind `--`.
        expression: String,
        /// Unix seconds or RFC 3339; now where absent.
        #[arg(long)]
        time: Option<String>,
        #[command(flatten)]
        explain: ExplainArg,
        #[command(flatten)]
        tenant: TenantArg,
    },
    /// Evaluate an expression over a range of time.
    Range {
        /// Such as http://localhost:9090.
        url: String,
        /// The expression; one that begins with a sign stands behind `--`.
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
        explain: ExplainArg,
        #[command(flatten)]
        tenant: TenantArg,
    },
}

#[derive(Args, Debug)]
pub(crate) struct ExplainArg {
    /// Print how a Pando answers instead of the answer: the plan, its fragments, and the members that they are placed
    /// on. With =analyze the query is run, and each fragment says where it ran, what it read, and how long that took.
    #[arg(
        long,
        value_enum,
        value_name = "MODE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "plan"
    )]
    pub(crate) explain: Option<ExplainMode>,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ExplainMode {
    /// Nothing is run.
    Plan,
    /// The query is run.
    Analyze,
}

#[derive(Subcommand, Debug)]
pub(crate) enum TestCommand {
    /// Run PromQL test scripts (load, clear, eval, expect) as Prometheus' own runner does.
    Promql(PromqlTestCommand),
}

#[derive(Args, Debug)]
#[command(after_long_help = SERVER_NEEDS)]
pub(crate) struct PromqlTestCommand {
    /// Ask the server at this URL, such as http://localhost:9090; in this process where absent.
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// Write samples to the server at this URL, where it is not the one that is asked: a receiver of Pando.
    #[arg(long, requires = "url", value_name = "URL")]
    pub(crate) write_url: Option<String>,
    /// What empties the server, run by sh at the begin of each script and at each `clear`. Where absent, each of them
    /// is a tenant of its own (header X-Scope-OrgID), as Pando has them.
    #[arg(long, requires = "url", value_name = "CMD")]
    pub(crate) reset_cmd: Option<String>,
    /// What is run by sh between the two halves of each `load`, so that a border of the storage lies within each
    /// series: `pando admin cut --controller=HOST:PORT` puts the first half into blocks, and leaves the second in
    /// heads.
    #[arg(long, requires = "url", value_name = "CMD")]
    pub(crate) cut_cmd: Option<String>,
    /// Scripts, and folders of *.test files.
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
}

/// What `pando test promql --help` says of servers.
const SERVER_NEEDS: &str = "\
What the server of --url needs:
  Samples are sent by remote write 2.0 with the times that scripts give them, which begin at the Unix epoch, each `load` \
from there anew. A server has to take them: no retention, and out-of-order samples. For Pando (prometheus.yml may be \
empty):
    pando all --config.file=prometheus.yml --limits.out-of-order-time-window=100y \
--enable-feature=promql-experimental-functions,promql-extended-range-selectors,promql-binop-fill-modifiers,promql-delayed-name-removal,use-start-timestamps
  Prometheus takes the same features, promql-duration-expr and st-storage, --web.enable-remote-write-receiver, and \
out_of_order_time_window in its configuration; --reset-cmd has to give it an empty data directory.
  The default step of subqueries (evaluation interval) has to be 1m; lookback is asked for with every query.

Of native histograms the API shows count, sum and the buckets that are not empty: that is what is compared, and neither \
schema nor counter reset hints.";

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
    /// A file; a URL (s3, gs, az, http, https, file), with credentials from the environment; or the block's path in
    /// the bucket given with --objstore.config-file.
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
    /// Show a tenant's limits and retention, and set its own.
    Limits(Box<LimitsCommand>),
}

#[derive(Args, Debug)]
pub(crate) struct AdminTarget {
    #[command(flatten)]
    pub(crate) door: AdminDoor,
    /// The shard; all of them where absent.
    #[arg(long)]
    pub(crate) shard: Option<u64>,
}

/// Where a cluster is operated.
#[derive(Args, Debug)]
pub(crate) struct AdminDoor {
    /// The gRPC addresses of controllers; any that answers will do.
    #[arg(long, default_value = "127.0.0.1:9095", value_delimiter = ',')]
    pub(crate) controller: Vec<String>,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
}

#[derive(Args, Debug)]
pub(crate) struct LimitsCommand {
    /// The tenant.
    pub(crate) tenant: String,
    #[command(flatten)]
    pub(crate) door: AdminDoor,
    /// Back to what applies to tenants without limits and retention of their own, before the rest is set.
    #[arg(long)]
    pub(crate) reset: bool,
    /// Samples a second that receivers take in the whole cluster; 0 for no limit.
    #[arg(long)]
    pub(crate) samples_per_second: Option<u64>,
    /// Active series in the whole cluster; 0 for no limit.
    #[arg(long)]
    pub(crate) max_series: Option<u64>,
    /// How long samples are kept, such as 30d; 0s for ever.
    #[arg(long)]
    pub(crate) retention: Option<String>,
    /// How much older than the tenant's newest sample a sample may be.
    #[arg(long)]
    pub(crate) out_of_order_time_window: Option<String>,
    /// Labels of one series, up to 1024.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) max_labels_per_series: Option<u32>,
    /// Bytes of one label's name, up to 1 MiB.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub(crate) max_label_name_bytes: Option<u32>,
    /// Bytes of one label's value, up to 1 MiB.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub(crate) max_label_value_bytes: Option<u32>,
}

/// The message for the first argument that clap would only call unexpected, although more is known of it.
pub(crate) fn refuse_flags(args: impl Iterator<Item = OsString>) -> Result<(), String> {
    // What is no text is no flag's name; clap says so of the rest.
    let args: Vec<String> = args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    refused::refuse_prometheus_flags(&args)?;
    foreign::refuse_flags_of_others(&args)
}

/// What was asked for on the command line. Ends the process where that makes no sense, as clap does.
pub(crate) fn parse() -> (Cli, Flags) {
    let matches = Cli::command().get_matches();
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => (cli, flags(&matches)),
        Err(error) => error.exit(),
    }
}

/// All flags of the subcommand by name, without dashes, and their values, for `/api/v1/status/flags`.
fn flags(matches: &ArgMatches) -> Flags {
    let mut command = Cli::command();
    command.build();
    let Some((name, matches)) = matches.subcommand() else { return Flags::new() };
    let Some(command) = command.find_subcommand(name) else { return Flags::new() };
    let named = command.get_arguments().filter_map(|arg| Some((arg.get_long()?, arg.get_id())));
    let shown = named.filter(|(name, _)| !["help", "version"].contains(name));
    shown.map(|(name, id)| (name.to_string(), value(matches, id.as_str()))).collect()
}

fn value(matches: &ArgMatches, id: &str) -> String {
    let raw = matches.try_get_raw(id).ok().flatten();
    let texts = raw.into_iter().flatten().map(|text| text.to_string_lossy());
    texts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn scripts_need_a_path_and_a_command_that_resets_needs_a_server() {
        let parse = |rest: &[&str]| {
            let args = ["pando", "test", "promql"].into_iter().chain(rest.iter().copied());
            Cli::try_parse_from(args).map(|cli| match cli.command {
                Command::Test(TestCommand::Promql(command)) => command,
                other => panic!("{other:?}"),
            })
        };
        let local = parse(&["a.test", "folder"]).expect("good");
        assert_eq!((local.paths.len(), local.url), (2, None));
        let remote = parse(&["--url=http://x", "--reset-cmd", "rm -r data", "a.test"]);
        assert_eq!(remote.expect("good").reset_cmd.as_deref(), Some("rm -r data"));
        assert!(parse(&[]).is_err());
        assert!(parse(&["--reset-cmd=x", "a.test"]).is_err());
    }

    #[test]
    fn all_flags_are_shown_with_their_values() {
        let args = ["pando", "all", "--storage.path=d", "--web.enable-lifecycle"];
        let two = ["--web.listen-address=:1", "--web.listen-address", ":2"];
        let matches = Cli::command().try_get_matches_from(args.iter().chain(&two));
        let flags = flags(&matches.expect("good"));
        for (name, value) in [
            ("storage.tsdb.path", "d"),
            ("web.enable-lifecycle", "true"),
            ("web.enable-admin-api", "false"),
            ("web.listen-address", ":1,:2"),
            ("query.timeout", "2m"),
            ("query.max-samples", "50000000"),
            ("objstore.config-file", ""),
            ("enable-feature", ""),
        ] {
            assert_eq!(flags.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(!flags.contains_key("help") && !flags.contains_key("storage.path"), "{flags:?}");
    }
}
