//! The `pando` binary: arguments, configuration files, wiring, tools. The only part that reads any of them.

mod args;
mod data_dir;
mod logging;
mod object_stores;

use clap::Parser as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let _ = args::Cli::parse();
}
