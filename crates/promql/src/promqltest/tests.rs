//! The upstream corpus: how many evals of each file must answer right, and that all of them can be read.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::script::{self, Command};
use super::{Engine, run_script_with};
use crate::query::Features;
use crate::syntax;

/// Evals that answer right, of all evals of the file. What is missing needs native histograms. Never lower a
/// number.
const FLOORS: [(&str, usize, usize); 21] = [
    ("aggregators.test", 154, 160),
    ("at_modifier.test", 78, 78),
    ("collision.test", 2, 2),
    ("duration_expression.test", 59, 59),
    ("extended_vectors.test", 126, 169),
    ("fill-modifier.test", 46, 46),
    ("functions.test", 410, 431),
    ("histograms.test", 64, 185),
    ("info.test", 53, 53),
    ("limit.test", 37, 37),
    ("literals.test", 25, 25),
    ("name_label_dropping.test", 30, 30),
    ("native_histograms.test", 85, 522),
    ("operators.test", 212, 214),
    ("range_queries.test", 17, 18),
    ("selectors.test", 31, 31),
    ("staleness.test", 17, 17),
    ("start_timestamps.test", 18, 26),
    ("subquery.test", 32, 34),
    ("trig_functions.test", 19, 19),
    ("type_and_unit.test", 58, 58),
];

fn scripts() -> Vec<(String, String)> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/promqltest"));
    if !path.is_dir() {
        println!("skipped: no test scripts at {}", path.display());
        return Vec::new();
    }
    let read = |(name, ..): &(&str, usize, usize)| {
        (name.to_string(), fs::read_to_string(path.join(name)).expect("a script"))
    };
    FLOORS.iter().map(read).collect()
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
fn upstream_scripts_answer_as_before() {
    check(Engine { features: FEATURES, push_down: true }, &[]);
}

#[test]
fn upstream_scripts_answer_the_same_without_push_down() {
    check(Engine { features: FEATURES, push_down: false }, &[]);
}

#[test]
fn upstream_scripts_answer_the_same_when_names_are_dropped_at_once() {
    let features = Features { delayed_name_removal: false, ..FEATURES };
    check(Engine { features, push_down: true }, &LATE_NAMES);
    check(Engine { features, push_down: false }, &LATE_NAMES);
}

fn check(engine: Engine, allowance: &[(&str, usize)]) {
    let verbose = std::env::var_os("PROMQLTEST_VERBOSE").is_some();
    let mut fallen = Vec::new();
    for ((name, text), (_, floor, total)) in scripts().into_iter().zip(FLOORS) {
        let less = allowance.iter().find(|(n, _)| *n == name).map_or(0, |(_, less)| *less);
        let floor = floor - less;
        let report = run_script_with(&text, engine).expect("a script");
        println!("{name}: {} of {total}", report.passed);
        if verbose || report.passed < floor {
            for f in &report.failures {
                println!("  {name}:{} {} -- {}", f.line, f.expr, f.why);
            }
        }
        let all = report.passed + report.failures.len();
        if report.passed < floor || all != total {
            fallen.push(format!("{name}: {} of {all}, floor {floor} of {total}", report.passed));
        }
    }
    assert!(fallen.is_empty(), "{fallen:#?}");
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
