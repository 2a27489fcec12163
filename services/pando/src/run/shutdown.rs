//! The end: unready, drain, flush, stop. A second signal exits at once.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use pando_runtime::Phase;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::run::base::Base;
use crate::run::roles::Running;

/// How long agents and ingesters may flush.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);

/// The signals that mean something. They are installed before anything else: a signal that comes during the start is
/// kept, and kills nobody.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// From now on signals wait here.
    pub(crate) fn install() -> Result<Self> {
        let listen = |kind, name| signal(kind).with_context(|| format!("cannot listen for {name}"));
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt(), "SIGINT")?,
            terminate: listen(SignalKind::terminate(), "SIGTERM")?,
            hangup: listen(SignalKind::hangup(), "SIGHUP")?,
        })
    }

    /// Waits for SIGINT or SIGTERM.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Waits for SIGINT, SIGTERM or `/-/quit`.
pub(crate) async fn told(base: &Base, signals: &mut Signals) {
    tokio::select! {
        () = signals.end() => {}
        () = base.lifecycle.reached(Phase::Unready) => {}
    }
}

/// Runs until the process is told to end, then ends its roles in order.
pub(crate) async fn until_told(base: &Base, running: Running, mut signals: Signals) -> Result<()> {
    loop {
        tokio::select! {
            _ = signals.interrupt.recv() => break,
            _ = signals.terminate.recv() => break,
            () = base.lifecycle.reached(Phase::Unready) => break,
            why = base.tasks.failed() => bail!("the process cannot go on: {why}"),
            _ = signals.hangup.recv() => {
                // The hook has logged how it went.
                let _ = (running.reload)();
            }
        }
    }
    tracing::info!("pando is told to end");
    base.lifecycle.advance(Phase::Unready);
    let orderly = async {
        base.lifecycle.advance(Phase::Draining);
        if let Some(agent) = &running.agent {
            agent.shutdown().await;
        }
        base.lifecycle.advance(Phase::Flushing);
        if let Some(ingester) = &running.ingester {
            ingester.flush().await;
        }
    };
    tokio::select! {
        flushed = tokio::time::timeout(FLUSH_TIMEOUT, orderly) => {
            if flushed.is_err() {
                tracing::warn!(timeout = ?FLUSH_TIMEOUT, "flush did not end in time");
            }
        }
        () = signals.end() => tracing::warn!("second signal: pando ends at once"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_signal_during_the_start_is_kept() {
        let mut signals = Signals::install().expect("installs");
        let own = std::process::id().to_string();
        let status = std::process::Command::new("kill").args(["-HUP", &own]).status();
        assert!(status.expect("kill runs").success());
        signals.hangup.recv().await.expect("is kept");
    }
}
