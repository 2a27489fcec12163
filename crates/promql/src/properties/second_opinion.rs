//! promql-parser, another reader of the language, as a second opinion on what we accept.

use std::collections::BTreeSet;

use crate::syntax::parse;

use crate::testing::{Chance, Expressions, SYNTAX, all_cases, each_seed};

const CASES: u64 = 2_000;

/// A construct, and whether an expression holds it.
type Construct = (&'static str, fn(&str) -> bool);

/// What Prometheus 3.14 knows and promql-parser does not.
const NEWER: [Construct; 5] = [
    ("histogram trims", |text| text.contains("</") || text.contains(">/")),
    ("anchored and smoothed", |text| text.contains(" anchored") || text.contains(" smoothed")),
    ("computed durations", computes_duration),
    ("joined digits", |text| text.contains("1_000")),
    ("info with matchers that all pass what is empty", |text| {
        let matchers = [", {})", ", {version!~\"1.*\"})", ", {__name__!=\"target_info\"})"];
        text.contains("info(") && matchers.iter().any(|written| text.contains(written))
    }),
];

fn computes_duration(text: &str) -> bool {
    let brackets = text.split('[').skip(1).filter_map(|rest| rest.split_once(']'));
    let mut ranges = brackets.map(|(range, _)| range);
    let mut offsets = text.split(" offset ").skip(1);
    ranges.any(|range| range.contains(['(', '+', '-', '*', '/', '%', '^']))
        || offsets
            .any(|rest| rest.trim_start_matches('-').starts_with(|c: char| !c.is_ascii_digit()))
}

#[test]
fn what_we_accept_is_accepted_but_for_what_is_newer() {
    let (mut needed, mut agreed) = (BTreeSet::new(), 0);
    each_seed(CASES, |seed| {
        let mut chance = Chance::new(seed, "opinion");
        let text = Expressions::new(&mut chance).query(true);
        assert!(parse(&text, &SYNTAX).is_ok(), "{text}");
        let Err(error) = promql_parser::parser::parse(&text) else {
            agreed += 1;
            return;
        };
        let reasons: Vec<&str> =
            NEWER.iter().filter(|(_, holds)| holds(&text)).map(|(name, _)| *name).collect();
        assert!(!reasons.is_empty(), "{text}: {error}");
        if let [only] = reasons[..] {
            needed.insert(only);
        }
    });
    let names: BTreeSet<&str> = NEWER.iter().map(|(name, _)| *name).collect();
    assert!(!all_cases() || needed == names, "promql-parser has learned: {needed:?}");
    assert!(!all_cases() || agreed > CASES / 4, "agreed={agreed}");
}
