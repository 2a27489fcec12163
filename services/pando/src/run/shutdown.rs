//! The end: unready, drain, flush, stop. A second signal exits at once.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use pando_runtime::Phase;
use tokio::signal::unix::{SignalKind, signal};

use crate::run::base::Base;
use crate::run::roles::Running;

/// How long agents and ingesters may flush.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);

/// Waits for SIGINT, SIGTERM or `/-/quit`.
pub(crate) async fn told(base: &Base) {
    let signals = async {
        let (Ok(mut interrupt), Ok(mut terminate)) =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    tokio::select! {
        () = signals => {}
        () = base.lifecycle.reached(Phase::Unready) => {}
    }
}

/// Runs until the process is told to end, then ends its roles in order.
pub(crate) async fn until_told(base: &Base, running: Running) -> Result<()> {
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    loop {
        tokio::select! {
            () = told(base) => break,
            why = log_failed(base) => bail!("raft log has failed, and nothing can be acknowledged: {why}"),
            _ = hangup.recv() => {
                if let Err(error) = (running.reload)() {
                    tracing::error!(error, "configuration is not reloaded");
                }
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
        () = again() => tracing::warn!("second signal: pando ends at once"),
    }
    Ok(())
}

/// Ends when the disk has failed the log of this process' Raft groups: it takes nothing more (fail-stop).
async fn log_failed(base: &Base) -> String {
    match base.host.get() {
        Some(host) => host.failed().await,
        None => std::future::pending().await,
    }
}

async fn again() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
