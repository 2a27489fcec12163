//! `pando test promql`: runs Prometheus' PromQL test scripts in process or against a server, and prints what failed.
//!
//! It knows files and what is printed; what a script means is `pando_promql::promqltest`'s to know.

mod answer;
mod remote;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use pando_promql::promqltest::{Engine, InProcess, Script, ScriptError, Subject};

use self::remote::Remote;
use super::output::Output;
use crate::args::PromqlTestCommand;

/// What the name of a script in a folder ends with.
const EXTENSION: &str = "test";

/// Runs all scripts; whether all that they ask for came to be.
pub(crate) fn run(command: &PromqlTestCommand) -> Result<bool> {
    let files = files(&command.paths)?;
    let mut out = Output::stdout();
    match &command.url {
        None => run_all(&files, &mut InProcess::new(Engine::OF_SCRIPTS), &mut out),
        Some(url) => {
            let mut server = Remote::new(url, command.reset_cmd.as_deref())?;
            server.write_to(command.write_url.as_deref())?;
            server.cut_between_halves(command.cut_cmd.clone());
            run_all(&files, &mut server, &mut out)
        }
    }
}

/// The files of `paths`: those named, and of folders all `*.test` in them, by name, but not of folders within.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for path in paths {
        if !path.is_dir() {
            all.push(path.clone());
            continue;
        }
        let at = || format!("cannot read {}", path.display());
        let entries = fs::read_dir(path).with_context(at)?.collect::<Result<Vec<_>, _>>();
        let found = entries.with_context(at)?.into_iter().map(|entry| entry.path());
        let is_script = |file: &PathBuf| file.extension().is_some_and(|e| e == EXTENSION);
        let mut found: Vec<PathBuf> =
            found.filter(|file| is_script(file) && file.is_file()).collect();
        if found.is_empty() {
            // It cannot be read as a script, and is told with those.
            all.push(path.clone());
        }
        found.sort();
        all.append(&mut found);
    }
    Ok(all)
}

/// Reads all files before the first one runs: a fault in the last one is not found after minutes. A file that is no
/// script has failed as a whole. The sum comes last, whatever happens.
fn run_all<W: Write>(
    files: &[PathBuf],
    subject: &mut impl Subject,
    out: &mut Output<W>,
) -> Result<bool> {
    let (mut passed, mut failed, mut scripts) = (0, 0, Vec::new());
    for file in files {
        match read(file) {
            Ok(script) => scripts.push((file, script)),
            Err(error) => {
                out.line(format_args!("{error:#}"))?;
                failed += 1;
            }
        }
    }
    let mut broken = None;
    for (file, script) in &scripts {
        let report = match script.run(subject) {
            Ok(report) => report,
            Err(error) => {
                broken = Some(placed(file, &error));
                failed += 1;
                break;
            }
        };
        for failure in &report.failures {
            let (line, expr, why) = (failure.line, &failure.expr, &failure.why);
            out.line(format_args!("{}:{line}: {expr}: {why}", file.display()))?;
        }
        let (good, bad) = (report.passed, report.failures.len());
        out.line(format_args!("{}: {good} passed, {bad} failed", file.display()))?;
        passed += good;
        failed += bad;
    }
    out.line(format_args!("{passed} passed, {failed} failed"))?;
    broken.map_or(Ok(failed == 0), Err)
}

fn read(file: &Path) -> Result<Script> {
    ensure!(!file.is_dir(), "no *.{EXTENSION} in {}", file.display());
    let text = fs::read_to_string(file);
    let text = text.with_context(|| format!("cannot read {}", file.display()))?;
    Script::parse(&text).map_err(|error| placed(file, &error))
}

fn placed(file: &Path, error: &ScriptError) -> anyhow::Error {
    anyhow!("{}:{}: {}", file.display(), error.line, error.why)
}

#[cfg(test)]
mod tests {
    use pando_promql::promqltest::{Answer, EvalTimes, LoadedSeries, SubjectError};

    use super::*;

    const GOOD: &str = "load 1m\n  a 0+1x5\n\neval instant at 2m a\n  a 2\n";

    fn check(files: &[PathBuf]) -> (Result<bool>, String) {
        let mut bytes = Vec::new();
        let mut out = Output::to(&mut bytes);
        let result = run_all(files, &mut InProcess::new(Engine::OF_SCRIPTS), &mut out);
        (result, String::from_utf8(bytes).expect("text"))
    }

    #[test]
    fn failures_are_printed_with_their_place_and_the_sum_comes_last() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text);
        let bad = format!("{GOOD}\neval instant at 3m a * 2\n  {{}} 7\n");
        write("b.test", &bad).and_then(|()| write("a.test", GOOD)).expect("files");
        write("c.txt", "no script").expect("a file");
        let files = files(&[folder.path().to_path_buf()]).expect("a folder of scripts");
        let (all, text) = check(&files);
        assert_eq!(all.ok(), Some(false));
        let text = text.replace(&format!("{}/", folder.path().display()), "");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert_eq!(lines[0], "a.test: 1 passed, 0 failed");
        let why = "as written: series {} at 180: 6, expected 7 at 180";
        assert_eq!(lines[1], format!("b.test:7: a * 2: {why}"));
        assert_eq!(lines[2..], ["b.test: 1 passed, 1 failed", "2 passed, 1 failed"]);
        let (all, text) = check(&files[..1]);
        assert!(all.is_ok_and(|all| all) && text.ends_with("\n1 passed, 0 failed\n"), "{text}");
    }

    #[test]
    fn what_is_no_script_has_failed_and_the_others_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let (good, bad) = (folder.path().join("a.test"), folder.path().join("b.test"));
        fs::write(&good, GOOD).expect("a file");
        fs::write(&bad, "load 1m\n  a 1\n\nevil instant a\n").expect("a file");
        let absent = folder.path().join("x.test");
        let (result, text) = check(&[good, bad, absent]);
        assert_eq!(result.ok(), Some(false));
        let text = text.replace(&format!("{}/", folder.path().display()), "");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "b.test:4: unknown command \"evil\"");
        assert!(lines[1].starts_with("cannot read x.test: "), "{text}");
        assert_eq!(lines[2..], ["a.test: 1 passed, 0 failed", "1 passed, 2 failed"]);
    }

    /// A server that is not there.
    struct Absent;

    impl Subject for Absent {
        fn clear(&mut self) -> Result<(), SubjectError> {
            Err(SubjectError::Broken("nobody listens".to_string()))
        }

        fn load(&mut self, _: Vec<LoadedSeries>) -> Result<(), SubjectError> {
            unreachable!("nothing was cleared")
        }

        fn ask(&mut self, _: &str, _: EvalTimes) -> Result<Answer, SubjectError> {
            unreachable!("nothing was cleared")
        }
    }

    #[test]
    fn what_a_broken_server_ends_is_one_failure() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = ["a.test", "b.test"].map(|name| folder.path().join(name));
        files.iter().for_each(|file| fs::write(file, GOOD).expect("a file"));
        let mut bytes = Vec::new();
        let result = run_all(&files, &mut Absent, &mut Output::to(&mut bytes));
        let error = result.expect_err("broken").to_string();
        assert!(error.ends_with("a.test:1: nobody listens"), "{error}");
        assert_eq!(String::from_utf8(bytes).expect("text"), "0 passed, 1 failed\n");
    }

    #[test]
    fn a_folder_without_scripts_has_failed() {
        let folder = tempfile::tempdir().expect("a folder");
        let good = folder.path().join("a.test");
        let empty = folder.path().join("empty.test");
        fs::write(&good, GOOD).and_then(|()| fs::create_dir(&empty)).expect("a file");
        let files = files(&[empty, good]).expect("a file and a folder");
        let (result, text) = check(&files);
        assert_eq!(result.ok(), Some(false));
        let text = text.replace(&format!("{}/", folder.path().display()), "");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            ["no *.test in empty.test", "a.test: 1 passed, 0 failed", "1 passed, 1 failed"]
        );
    }
}
