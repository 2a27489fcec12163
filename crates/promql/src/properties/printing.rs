//! What is printed reads back as the same tree; and another parser reads what we read, but for what is named here.

use crate::syntax::{Expr, ExprKind, parse};

use crate::testing::{Chance, Expressions, SYNTAX, each_seed};

const CASES: u64 = 2_000;

/// A tree without the places of its parts, and without the way in which numbers and matchers were written: `[300]` and
/// `[5m]` are the same, and so are `{a="1",b="2"}` and `{b="2",a="1"}`.
fn shape(expr: &Expr) -> String {
    let mut expr = expr.clone();
    sort_matchers(&mut expr);
    let mut text = format!("{expr:?}");
    for flag in ["duration: true", "duration: false"] {
        text = text.replace(flag, "");
    }
    without(&text, "PosRange {", '}')
}

fn sort_matchers(expr: &mut Expr) {
    let selector = match &mut expr.kind {
        ExprKind::Vector(selector) => Some(&mut **selector),
        ExprKind::Matrix(matrix) => Some(&mut matrix.selector),
        _ => None,
    };
    if let Some(selector) = selector {
        selector.matchers.sort_by_key(|m| m.to_string());
    }
    expr.children_mut().into_iter().for_each(sort_matchers);
}

/// `text` without what stands from each `begin` to the next `end`.
fn without(text: &str, begin: &str, end: char) -> String {
    let mut parts = text.split(begin);
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |out, part| out + part.split_once(end).map_or(part, |(_, rest)| rest))
}

/// `text`, which is one, with its printed form, which is checked.
pub(crate) fn assert_printed(text: &str) {
    assert!(parse(text, &SYNTAX).is_ok(), "{text}: {:?}", parse(text, &SYNTAX));
    assert_printed_if_read(text);
}

/// The same for a text that may be refused; whether it was read.
fn assert_printed_if_read(text: &str) -> bool {
    let Ok(tree) = parse(text, &SYNTAX) else { return false };
    let printed = tree.to_string();
    let again = parse(&printed, &SYNTAX).unwrap_or_else(|e| panic!("{text}\n{printed}\n{e}"));
    assert_eq!(shape(&tree), shape(&again), "\n{text}\n{printed}\n{again}");
    assert_eq!(printed, again.to_string(), "{text}");
    true
}

#[test]
fn what_is_generated_is_printed_faithfully() {
    each_seed(CASES, |seed| {
        let mut chance = Chance::new(seed, "printing");
        assert_printed(&Expressions::new(&mut chance).query(true));
    });
}

#[test]
fn numbers_are_printed_faithfully_where_signs_bind() {
    for text in [
        "Inf ^ 2",
        "+Inf ^ 2",
        "-Inf ^ 2",
        "2 ^ Inf",
        "2 ^ -Inf",
        "-1 ^ 2",
        "(-1) ^ 2",
        "-(1 ^ 2)",
        "- -1",
        "-+-a",
        "1 - -1",
        "1 - +Inf - Inf",
        "5m ^ 2",
        "-5m ^ 2",
        "1s1ms + 7ms",
        "1s1ms",
        "a[1s1ms]",
        "a[min_of(90, 5m)]",
        "a[max_of(-90, 5m)]",
        "a[min_of(1, +90) ^ 2]",
        "a[(-1) ^ 2 * 2]",
        "a[2 ^ -1 * 600]",
        "a + fill (-Inf) b",
        "a + fill (NaN) b",
        "a @ -0.001",
        "a @ 1e9",
        "vector(1e300) * 1e-300 + 4.9e-324 + 1.7976931348623157e308",
    ] {
        assert_printed(text);
    }
}

/// A duration of signs, parentheses and operators.
fn duration(chance: &mut Chance, depth: usize) -> String {
    let leaves = ["5m", "90", "0", "1.5", "step()", "range()", "min_of(1m, -step())"];
    if depth == 0 || chance.one_in(3) {
        return chance.pick(&leaves).to_string();
    }
    let inner = duration(chance, depth - 1);
    match chance.below(4) {
        0 => format!("({inner})"),
        1 => format!("-{inner}"),
        2 => format!("+{inner}"),
        _ => {
            let op = chance.pick(&["+", "-", "*", "/", "%", "^"]);
            format!("{inner} {op} {}", duration(chance, depth - 1))
        }
    }
}

#[test]
fn durations_are_printed_faithfully() {
    let (mut read, mut asked) = (0, 0);
    each_seed(CASES, |seed| {
        let mut chance = Chance::new(seed, "durations");
        let duration = duration(&mut chance, 4);
        for around in [
            "a offset #",
            "a offset # @ 5",
            "a @ start() offset # * 2",
            "a offset # smoothed - b",
            "rate(a[#] offset 5m)",
            "rate(a[5m] anchored offset #)",
            "a[#:#] offset #",
            "a offset # == b",
        ] {
            asked += 1;
            read += usize::from(assert_printed_if_read(&around.replace('#', &duration)));
        }
    });
    assert!(read > asked / 4, "read={read} asked={asked}");
}

/// Names that are words of the language can be written in quotes only, most of them.
#[test]
fn names_that_are_words_are_printed_faithfully() {
    let words = [
        "on",
        "ignoring",
        "group_left",
        "group_right",
        "bool",
        "atan2",
        "and",
        "or",
        "unless",
        "offset",
        "by",
        "without",
        "fill",
        "fill_left",
        "fill_right",
        "anchored",
        "smoothed",
        "start",
        "end",
        "step",
        "range",
        "min_of",
        "max_of",
        "inf",
        "nan",
        "Inf",
        "NaN",
        "ON",
        "sum",
        "topk",
        "limit_ratio",
        "rate",
        "info",
        "a:b",
        "a.b",
        "1a",
        "",
        " ",
        "é",
        "\\\"",
        "x\\n",
    ];
    let (mut read, mut asked) = (0, 0);
    for word in words {
        for around in [
            "{\"W\"}",
            "{\"W\",a=\"b\"}",
            "{\"W\"}[5m]",
            "-{\"W\"}",
            "{\"W\"} + {\"W\"}",
            "a + on (b) {\"W\"}",
            "a + bool {\"W\"}",
            "a > bool {\"W\"}",
            "sum by (a) ({\"W\"})",
            "sum({\"W\"}) by (a)",
            "rate({\"W\"}[1m] offset 5m)",
            "{\"W\"} @ start()",
            "({\"W\"})[1h:1m]",
            "sum by (\"W\") (a)",
            "a * on (\"W\") group_left (\"W\") b",
            "a * ignoring (\"W\") group_right (\"W\") b",
            "{a=\"b\",\"W\"=~\"x\"}",
            "{a=\"W\"}",
        ] {
            asked += 1;
            read += usize::from(assert_printed_if_read(&around.replace('W', word)));
        }
    }
    // Some are refused: an empty name, a backslash that nothing follows.
    assert!(read > asked / 2, "read={read} asked={asked}");
}
