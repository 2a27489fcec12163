//! Tests of what is said of texts with several problems.

use std::thread;

use super::error::Faults;
use super::*;

/// All lines of the report of `text`, and the one that stands for all.
fn problems(text: &str) -> (Vec<String>, String) {
    let error = parse(text, &SyntaxFeatures::default()).expect_err(text);
    (error.report().lines().map(str::to_string).collect(), error.to_string())
}

#[test]
fn every_problem_is_reported_at_its_place_and_the_first_is_the_one_of_prometheus() {
    let cases: [(&str, usize, &[&str]); 10] = [
        (
            "rate(foo) + a{__name__=\"b\",\"c\"}",
            0,
            &[
                "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
                "1:13: parse error: metric name must not be set twice: \"a\" or \"b\"",
                "1:13: parse error: metric name must not be set twice: \"a\" or \"c\"",
            ],
        ),
        (
            "sum(1)\n  + rate(foo)\n  + (foo and 1)",
            0,
            &[
                "1:5: parse error: expected type instant vector in aggregation expression, got scalar",
                "2:10: parse error: expected type range vector in call to function \"rate\", got instant vector",
                "3:6: parse error: set operator \"and\" not allowed in binary scalar expression",
            ],
        ),
        // What Prometheus' grammar refuses comes before types, which it does not look at then.
        (
            "rate(foo) + nope(abs(1)) + {}",
            1,
            &[
                "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
                "1:13: parse error: unknown function with name \"nope\"",
                "1:22: parse error: expected type instant vector in call to function \"abs\", got scalar",
                "1:28: parse error: vector selector must contain at least one non-empty matcher",
            ],
        ),
        // Nothing more can be read behind a text that is no expression, and no types are known.
        (
            "abs(1) + sum() + nope(1) )",
            0,
            &[
                "1:10: parse error: no arguments for aggregate expression provided",
                "1:18: parse error: unknown function with name \"nope\"",
                "1:27: parse error: unexpected right parenthesis ')'",
            ],
        ),
        // The aggregation before its parameter, the number of arguments before their types.
        (
            "topk(rate(a), abs(rate(b), 1))",
            2,
            &[
                "1:6: parse error: expected type scalar in aggregation parameter, got instant vector",
                "1:11: parse error: expected type range vector in call to function \"rate\", got instant vector",
                "1:15: parse error: expected 1 argument(s) in call to \"abs\", got 2",
                "1:24: parse error: expected type range vector in call to function \"rate\", got instant vector",
            ],
        ),
        (
            "a{x=~\"[\"} + a[0s] + a offset 1m offset 2m + sum(a, b)",
            0,
            &[
                "1:3: parse error: error parsing regexp: missing closing ]: `[`",
                "1:13: parse error: binary expression must contain only scalar and instant vector types",
                "1:15: parse error: duration must be greater than 0",
                "1:21: parse error: offset may not be set multiple times",
                "1:45: parse error: wrong number of arguments for aggregate expression provided, expected 1, got 2",
            ],
        ),
        // Of what has no type nothing is said that would be mended with it, nor of what it is a part of.
        (
            "clamp(a, -(nope(1) + 1), (bla())) and (foo + 1)[5m] offset 1m [5m] + -(sum())",
            0,
            &[
                "1:12: parse error: unknown function with name \"nope\"",
                "1:27: parse error: unknown function with name \"bla\"",
                "1:48: parse error: ranges only allowed for vector selectors",
                "1:72: parse error: no arguments for aggregate expression provided",
            ],
        ),
        (
            "limitk(1) + max_of(1) + a[5m] anchored",
            0,
            &[
                "1:1: parse error: limitk() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
                "1:13: parse error: function \"max_of\" is not enabled",
                "1:13: parse error: expected 2 argument(s) in call to \"max_of\", got 1",
                "1:25: parse error: anchored modifier is experimental and not enabled",
                "1:25: parse error: binary expression must contain only scalar and instant vector types",
            ],
        ),
        (
            "vector(1) + info({}, abs(1))",
            0,
            &[
                "1:13: parse error: function \"info\" is not enabled",
                "1:18: parse error: vector selector must contain at least one non-empty matcher",
                "1:22: parse error: expected label selectors only",
                "1:26: parse error: expected type instant vector in call to function \"abs\", got scalar",
            ],
        ),
        (
            "(1)[5m:] + sum(a[5m:][5m:])",
            0,
            &[
                "1:1: parse error: subquery is only allowed on instant vector, got scalar instead",
                "1:1: parse error: binary expression must contain only scalar and instant vector types",
                "1:16: parse error: subquery is only allowed on instant vector, got matrix instead",
                "1:16: parse error: expected type instant vector in aggregation expression, got range vector",
            ],
        ),
    ];
    for (text, first, want) in cases {
        let (lines, error) = problems(text);
        assert_eq!(lines, want, "{text}");
        assert_eq!(error, want[first], "{text}");
    }
}

#[test]
fn more_problems_than_are_kept_are_counted() {
    let (lines, first) = problems(&format!("nope0() {}", vec!["+ rate(m) + nope()"; 25].join(" ")));
    assert_eq!(lines.len(), PROBLEMS_MAX + 1);
    assert_eq!(lines[0], first);
    assert!(lines[1].starts_with("1:16: ") && lines[2].starts_with("1:21: "), "{lines:?}");
    assert_eq!(lines[PROBLEMS_MAX], "and 41 more");
}

/// Work is counted in steps, never in time, and nothing that is refused nests.
#[test]
fn the_work_grows_with_the_text_and_the_stack_does_not() {
    let steps = |text: &str| {
        let expr = parse(text, &SyntaxFeatures::default()).expect("an expression");
        super::check::check(&expr, &mut Faults::default())
    };
    let chain = |operators: usize| vec!["a"; operators + 1].join(" and ");
    assert_eq!(steps(&chain(100)), 3 * 100 + 1);
    assert_eq!(steps(&chain(OPERATORS_MAX)), 3 * OPERATORS_MAX + 1);
    let texts = [
        format!("a{}", "[1m]".repeat(10_000)),
        format!("1 + {}", "sum(1[1m]) + a[1m][1m] offset 5m offset 5m + ".repeat(200)),
        chain(OPERATORS_MAX).replace("a ", "1 "),
        format!("label_join(a{})", ",nope()".repeat(9_000)),
    ];
    let half = thread::Builder::new().stack_size(1 << 20);
    let run = half.spawn(move || {
        // What has no meaning is nested once, whatever follows.
        for text in
            ["[1m][1m:] offset 5m", "[1m:]"].map(|next| format!("sum(a){}", next.repeat(2_000)))
        {
            assert_eq!(problems(&text).0.len(), 1, "{text:.40}");
        }
        for text in &texts {
            let (lines, _) = problems(text);
            assert_eq!(lines.len(), PROBLEMS_MAX + 1, "{lines:?}");
        }
    });
    assert!(run.expect("a thread").join().is_ok());
}
