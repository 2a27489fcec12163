//! The upstream corpus: every eval of every file passes, and all of them can be read and printed.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::script::{self, Command};
use super::{Engine, run_script_with};
use crate::query::Features;
use crate::syntax;

/// The files, and how many evals each has: a corpus that shrinks is noticed.
const FILES: [(&str, usize); 21] = [
    ("aggregators.test", 160),
    ("at_modifier.test", 78),
    ("collision.test", 2),
    ("duration_expression.test", 59),
    ("extended_vectors.test", 169),
    ("fill-modifier.test", 46),
    ("functions.test", 431),
    ("histograms.test", 185),
    ("info.test", 53),
    ("limit.test", 37),
    ("literals.test", 25),
    ("name_label_dropping.test", 30),
    ("native_histograms.test", 522),
    ("operators.test", 214),
    ("range_queries.test", 18),
    ("selectors.test", 31),
    ("staleness.test", 17),
    ("start_timestamps.test", 26),
    ("subquery.test", 34),
    ("trig_functions.test", 19),
    ("type_and_unit.test", 58),
];

/// The sum of them.
const EVALS: usize = 2_214;

fn scripts() -> Vec<(String, String)> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/promqltest"));
    if !path.is_dir() {
        let ci = std::env::var("CI").is_ok_and(|v| v == "true");
        assert!(!ci, "CI=true, and {} is absent", path.display());
        println!("skipped: no test scripts at {}", path.display());
        return Vec::new();
    }
    let read = |(name, _): &(&str, usize)| {
        (name.to_string(), fs::read_to_string(path.join(name)).expect("a script"))
    };
    FILES.iter().map(read).collect()
}

const FEATURES: Features = Features {
    experimental_functions: true,
    extended_range_selectors: true,
    fill_modifiers: true,
    delayed_name_removal: true,
    start_timestamps: true,
};

/// Evals whose answer depends on names being dropped late, or on the type and unit labels of its matching.
const LATE_NAMES: [(&str, usize); 3] =
    [("name_label_dropping.test", 8), ("operators.test", 1), ("type_and_unit.test", 4)];

#[test]
fn upstream_scripts_pass() {
    check(Engine { features: FEATURES, push_down: true }, &[]);
}

#[test]
fn upstream_scripts_pass_without_push_down() {
    check(Engine { features: FEATURES, push_down: false }, &[]);
}

#[test]
fn upstream_scripts_pass_when_names_are_dropped_at_once() {
    let features = Features { delayed_name_removal: false, ..FEATURES };
    check(Engine { features, push_down: true }, &LATE_NAMES);
    check(Engine { features, push_down: false }, &LATE_NAMES);
}

/// Runs every eval of every file. `allowance` is how many fail in a file, exactly.
fn check(engine: Engine, allowance: &[(&str, usize)]) {
    let (mut wrong, mut evals) = (Vec::new(), 0);
    let scripts = scripts();
    for ((name, text), (_, total)) in scripts.iter().zip(FILES) {
        let allowed = allowance.iter().find(|(n, _)| n == name).map_or(0, |(_, n)| *n);
        let report = run_script_with(text, engine).expect("a script");
        let all = report.passed + report.failures.len();
        evals += all;
        if report.failures.len() != allowed || all != total {
            wrong.push(format!("{name}: {} of {all} pass, expected {total}", report.passed));
            for f in &report.failures {
                wrong.push(format!("  {name}:{} {} -- {}", f.line, f.expr, f.why));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(scripts.is_empty() || evals == EVALS, "evals={evals}");
}

#[test]
fn every_expression_is_read_and_printed_to_itself() {
    let features = FEATURES.syntax();
    let mut unread = BTreeSet::new();
    for (name, text) in scripts() {
        for command in script::parse(&text).expect("a script") {
            let Command::Eval(eval) = command else { continue };
            match syntax::parse(&eval.expr, &features) {
                Ok(tree) => {
                    let printed = tree.to_string();
                    let again = syntax::parse(&printed, &features);
                    let again = again.unwrap_or_else(|e| panic!("{printed}: {e}"));
                    assert_eq!(printed, again.to_string(), "{}", eval.expr);
                }
                Err(e) if eval.expect.fail.is_none() => {
                    unread.insert(format!("{name}:{} {}: {e}", eval.line, eval.expr));
                }
                Err(_) => {}
            }
        }
    }
    assert!(unread.is_empty(), "{unread:#?}");
}
