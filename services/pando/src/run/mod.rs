//! Running roles: one process, any set of them. This is the one place that wires; it decides nothing.

mod base;
mod features;
mod home;
mod join;
mod plan;
mod ready;
mod roles;
mod serve;
mod settings;
mod shutdown;
mod timeouts;

use anyhow::Result;

pub(crate) use base::tls;
pub(crate) use plan::Plan;

/// Runs the roles of `plan` until the process is told to end.
pub(crate) async fn run(plan: Plan) -> Result<()> {
    settings::check(&plan)?;
    let mut signals = shutdown::Signals::install()?;
    let base = base::Base::open(&plan).await?;
    let started = tokio::select! {
        started = roles::start(&base, &plan) => Some(started),
        () = shutdown::told(&base, &mut signals) => None,
    };
    let result = match started {
        Some(Ok(running)) => shutdown::until_told(&base, running, signals).await,
        Some(Err(error)) => Err(error),
        None => Ok(()),
    };
    base.end().await;
    result
}
