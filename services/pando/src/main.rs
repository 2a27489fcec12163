//! The `pando` binary: arguments, configuration files, wiring, tools. The only part that reads any of them.

mod args;
mod build_info;
mod checked_text;
mod config_file;
mod data_dir;
mod logging;
mod memory;
mod object_stores;
mod run;
mod timed_store;
mod tools;

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::args::{CheckCommand, Command, Flags, TestCommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Err(text) = args::refuse_flags(std::env::args_os()) {
        return fail(&text);
    }
    let (cli, flags) = args::parse();
    match run(&cli.command, flags) {
        Ok(code) => code,
        Err(error) => fail(&format!("{error:#}")),
    }
}

#[expect(clippy::print_stderr, reason = "the last word of a command line program")]
fn fail(text: &str) -> ExitCode {
    eprintln!("pando: {text}");
    ExitCode::FAILURE
}

fn run(command: &Command, flags: Flags) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let result = runtime.block_on(async {
        if let Some(plan) = run::Plan::of(command, flags) {
            plan.check()?;
            logging::install(&plan.log)?;
            return run::run(plan).await.map(|()| ExitCode::SUCCESS);
        }
        pando_rpc::tls::install_provider();
        if let Command::Test(TestCommand::Promql(command)) = command {
            // What failed is said already.
            let all = tools::promql_test::run(command)?;
            return Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        match command {
            Command::Check(CheckCommand::Config { file }) => tools::check::config(file),
            Command::Check(CheckCommand::Query { expression }) => tools::check::query(expression),
            Command::Query(command) => tools::query::run(command).await,
            Command::Block(command) => tools::block::run(command).await,
            Command::Admin(command) => tools::admin::run(command).await,
            _ => Ok(()),
        }
        .map(|()| ExitCode::SUCCESS)
    });
    // Blocking work of a process that was told to end is not waited for.
    runtime.shutdown_background();
    result
}
