//! Log output: logfmt or JSON, to standard error.

use anyhow::Result;
use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

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
    ] {
        filter = filter.add_directive(format!("pando_{name}={}", args.level).parse()?);
    }
    let lines = lines(&args.format, std::io::stderr);
    tracing_subscriber::registry().with(lines).with(filter).init();
    Ok(())
}

/// One line for each event, to `writer`.
fn lines<S, W>(format: &str, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    match format {
        "json" => tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_span_events(FmtSpan::NONE)
            .with_writer(writer)
            .boxed(),
        _ => tracing_logfmt::builder().layer().with_writer(writer).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: &str) -> String {
        let written = Lines::default();
        let writer = written.clone();
        let layer = lines(format, move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::info!(shard = 3, error = "a \"b\" c", "it happened");
        });
        let bytes = written.0.lock().expect("not poisoned").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn lines_are_logfmt_or_json() {
        let text = logged("logfmt");
        for part in ["ts=", "level=info", "message=\"it happened\"", "shard=3", r#"\"b\" c""#] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        let json: serde_json::Value = serde_json::from_str(&logged("json")).expect("JSON");
        assert_eq!((&json["level"], &json["shard"]), (&"INFO".into(), &3.into()));
        assert_eq!(json["message"], "it happened");
    }
}
