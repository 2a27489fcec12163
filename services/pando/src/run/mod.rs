//! Running roles: one process, any set of them. This is the one place that wires; it decides nothing.

mod base;
mod features;
mod home;
mod join;
mod plan;
mod ready;
mod roles;
mod serve;
mod shutdown;
mod timeouts;

use anyhow::Result;

pub(crate) use plan::Plan;

/// Runs the roles of `plan` until the process is told to end.
pub(crate) async fn run(plan: Plan) -> Result<()> {
    let base = base::Base::open(&plan).await?;
    let result = tokio::select! {
        started = roles::start(&base, &plan) => match started {
            Ok(running) => shutdown::until_told(&base, running).await,
            Err(error) => Err(error),
        },
        () = shutdown::told(&base) => Ok(()),
    };
    base.end().await;
    result
}
