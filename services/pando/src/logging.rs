//! Log output: text in logfmt's spirit or JSON, to standard error.

use anyhow::Result;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::args::LogArgs;

/// Installs the log output of the process.
pub(crate) fn install(args: &LogArgs) -> Result<()> {
    // Libraries speak only when they warn: their chatter would bury our own.
    // openraft calls every unanswered vote an error; what matters of it comes back to us as one.
    let directives = format!("warn,openraft=off,pando={0}", args.level);
    let mut filter = EnvFilter::try_new(directives)?;
    for name in [
        "agent",
        "block",
        "catalog",
        "cluster",
        "compactor",
        "config",
        "consensus",
        "controller",
        "executor",
        "head",
        "ingester",
        "promql",
        "query_frontend",
        "receiver",
        "rpc",
        "runtime",
        "shipper",
        "store_gateway",
    ] {
        filter = filter.add_directive(format!("pando_{name}={}", args.level).parse()?);
    }
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::NONE)
        .with_writer(std::io::stderr);
    match args.format.as_str() {
        "json" => builder.json().flatten_event(true).init(),
        _ => builder.with_ansi(false).init(),
    }
    Ok(())
}
