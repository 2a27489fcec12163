//! What the tools do when their standard output does not take what they print.

use std::fs::File;
use std::process::{Command, Stdio};

/// The exit code and standard error of `pando check config` with `stdout`.
fn check_config(stdout: Stdio) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("p.yml");
    std::fs::write(&file, "scrape_configs: [{job_name: a}]\nrule_files: [a.yml]\n")
        .expect("writes");
    let mut pando = Command::new(env!("CARGO_BIN_EXE_pando"));
    let output = pando.args(["check", "config"]).arg(&file).stdout(stdout).output();
    let output = output.expect("starts");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_closed_pipe_is_no_fault() {
    let (reader, writer) = std::io::pipe().expect("pipe");
    drop(reader);
    assert_eq!(check_config(writer.into()), (Some(0), String::new()));
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_one() {
    let full = File::options().write(true).open("/dev/full").expect("opens");
    let (code, text) = check_config(full.into());
    assert_eq!(code, Some(1));
    assert!(text.starts_with("pando: cannot write to standard output: "), "{text}");
}
