//! Good texts: the expressions of Prometheus' own test scripts, where they are, and generated ones.

use std::fs;
use std::path::Path;

use crate::testing::{Chance, Expressions};

/// Generated expressions beside those of the scripts.
const GENERATED: u64 = 300;

/// The expressions, each once.
pub(super) fn expressions() -> Vec<String> {
    let mut out = scripts();
    for seed in 0..GENERATED {
        let mut chance = Chance::new(seed, "corpus");
        out.push(Expressions::new(&mut chance).query(seed % 2 == 0));
    }
    out.sort();
    out.dedup();
    out
}

/// The expressions of the scripts: what follows the times of `eval instant at t` and `eval range from a to b step c`.
fn scripts() -> Vec<String> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/promqltest"));
    let Ok(files) = fs::read_dir(path) else {
        let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!ci, "no test scripts at {}", path.display());
        println!("skipped: no test scripts at {}", path.display());
        return Vec::new();
    };
    let mut out = Vec::new();
    for file in files {
        let text = fs::read_to_string(file.expect("a file").path()).expect("a script");
        for line in text.lines().map(str::trim).filter(|line| line.starts_with("eval")) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let times = if words.get(1) == Some(&"range") { 8 } else { 4 };
            out.push(words.get(times..).unwrap_or_default().join(" "));
        }
    }
    assert!(out.len() > 2_000, "evals={}", out.len());
    out
}
