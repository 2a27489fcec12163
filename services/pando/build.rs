//! Tells the binary what it is built from. The same commit gives the same bytes; without git, and where the
//! environment does not say (`PANDO_BUILD_REVISION`, `_BRANCH`, `_DATE`, `_USER`), it is "unknown".

use std::path::Path;
use std::process::Command;

fn main() {
    let revision = || git(&["rev-parse", "HEAD"]);
    let branch = || git(&["rev-parse", "--abbrev-ref", "HEAD"]);
    let date = || git(&["log", "-1", "--format=%cd", "--date=format-local:%Y%m%d-%H:%M:%S"]);
    tell("PANDO_BUILD_REVISION", revision());
    tell("PANDO_BUILD_BRANCH", branch());
    tell("PANDO_BUILD_DATE", date());
    tell("PANDO_BUILD_USER", None);
    tell("PANDO_BUILD_COMPILER", compiler());
    println!("cargo::rerun-if-changed=build.rs");
    let head = git(&["rev-parse", "--symbolic-full-name", "HEAD"]).unwrap_or_default();
    for name in ["HEAD", &head] {
        // A path that is not there would make each build run this again.
        if let Some(path) =
            git(&["rev-parse", "--git-path", name]).filter(|p| Path::new(p).exists())
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
}

fn tell(name: &str, found: Option<String>) {
    println!("cargo::rerun-if-env-changed={name}");
    let value = std::env::var(name).ok().filter(|value| !value.is_empty()).or(found);
    println!("cargo::rustc-env={name}={}", value.unwrap_or_else(|| "unknown".to_string()));
}

fn compiler() -> Option<String> {
    let version = text(Command::new(std::env::var_os("RUSTC")?).arg("--version"))?;
    // "rustc 1.95.0 (hash date)": what follows the number says nothing more.
    version.split(' ').nth(1).map(|number| format!("rustc{number}"))
}

fn git(args: &[&str]) -> Option<String> {
    text(Command::new("git").args(args).env("TZ", "UTC"))
}

fn text(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_string()).filter(|text| !text.is_empty())
}
