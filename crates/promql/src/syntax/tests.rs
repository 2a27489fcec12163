//! Tests of the whole syntax: messages, bounds, printing, and promql-parser as a second opinion.

use proptest::prelude::*;

use super::*;
use crate::testing::FAULTS;

const ALL: SyntaxFeatures = SyntaxFeatures {
    experimental_functions: true,
    extended_range_selectors: true,
    fill_modifiers: true,
};

#[test]
fn messages_are_those_of_prometheus() {
    for (text, message) in FAULTS {
        let error = parse(text, &ALL).expect_err(text);
        assert_eq!(error.to_string(), *message, "{text}");
    }
    let off = parse("max_of(1, 2)", &SyntaxFeatures::default()).expect_err("experimental");
    assert!(off.to_string().ends_with("function \"max_of\" is not enabled"), "{off}");
}

#[test]
fn printing_is_that_of_prometheus() {
    let cases = [
        ("SUM(a)BY(b,c)", "sum by (b, c) (a)"),
        ("sum without()(a)", "sum without () (a)"),
        ("a*ON(x)GROUP_LEFT(y)b", "a * on (x) group_left (y) b"),
        ("a > bool 1", "a > bool 1"),
        ("{\"a.b\",c='d'}", "{__name__=\"a.b\",c=\"d\"}"),
        ("{\"b\",__name__='a'}", "{__name__=\"a\",__name__=\"b\"}"),
        ("a{c='1',\"b.c\"='2',b!='3',b=''}", "a{\"b.c\"=\"2\",b!=\"3\",b=\"\",c=\"1\"}"),
        ("a offset 5m smoothed @ 1.5", "a @ 1.500 smoothed offset 5m"),
        ("rate(a[5m] offset 5m anchored @ 1.5)", "rate(a[5m] anchored @ 1.500 offset 5m)"),
        ("foo offset 5m @ 1.5", "foo @ 1.500 offset 5m"),
        ("foo[300] offset -90", "foo[5m] offset -1m30s"),
        ("foo[1h:]", "foo[1h:]"),
        ("foo[(5m)] offset +5", "foo[5m] offset 5s"),
        ("foo[--5m:+(1m + 1m)] offset 0", "foo[5m:(1m + 1m)]"),
        ("foo offset - -5m", "foo offset 5m"),
        ("rate(foo anchored[5m])", "rate(foo[5m] anchored)"),
        ("foo smoothed[5m]", "foo[5m] smoothed"),
        ("`a\rb`", r#""a\rb""#),
        ("\"a\u{200b}\u{a0}\u{e000}\u{1d173}é\"", r#""a\u200b\u00a0\ue000\U0001d173é""#),
        // These are in no parentheses in Prometheus, or the offset is last, and are not read as they were.
        ("foo offset - +5m * 2", "foo offset (-5m * 2)"),
        ("foo offset + - 0 ^ 2", "foo offset (-0 ^ 2)"),
        ("foo offset (step()) @ 5 * b", "foo offset (step()) @ 5.000 * b"),
        ("foo @ start() [5m]", "foo[5m] @ start()"),
        ("foo offset (1m + 1m) [5m]", "foo[5m] offset (1m + 1m)"),
        // In Prometheus `offset 5m * 2`, which is not read as it was.
        ("foo offset (5m) * 2", "foo offset (5m) * 2"),
        ("\"\\ufffd\"", "\"\\ufffd\""),
        ("-a^2", "-a ^ 2"),
        ("0x10 + 1_000 + 5m + Inf", "16 + 1000 + 5m + +Inf"),
        ("a # comment\n+ b", "a + b"),
        ("a + fill(0) b", "a + fill (0) b"),
        ("rate(a[step() * 2] smoothed)", "rate(a[step() * 2] smoothed)"),
    ];
    for (text, printed) in cases {
        let tree = parse(text, &ALL).expect(text);
        assert_eq!(tree.to_string(), printed);
        let again = parse(printed, &ALL).expect(printed);
        assert_eq!(again.to_string(), printed);
    }
}

#[test]
fn precedence_and_associativity() {
    let shape = |text: &str| {
        fn show(e: &Expr) -> String {
            match &e.kind {
                ExprKind::Binary(b) => {
                    format!("({}{}{})", show(&b.lhs), b.op.as_str(), show(&b.rhs))
                }
                ExprKind::Unary(op, inner) => format!("({}{})", op.as_str(), show(inner)),
                _ => e.to_string(),
            }
        }
        show(&parse(text, &ALL).expect(text))
    };
    for (text, want) in [
        ("a+b*c^d^e", "(a+(b*(c^(d^e))))"),
        ("a-b-c", "((a-b)-c)"),
        ("-a^b", "(-(a^b))"),
        ("-a*b", "((-a)*b)"),
        ("a or b and c unless d", "(aor((bandc)unlessd))"),
        ("a == b + c", "(a==(b+c))"),
        ("a^-b*c", "((a^(-b))*c)"),
    ] {
        assert_eq!(shape(text), want, "{text}");
    }
}

#[test]
fn selectors_of_match_parameters() {
    let matchers = parse_matchers(r#"{__name__=~"a.*", b!="c"}"#).expect("a selector");
    assert_eq!(matchers.len(), 2);
    for bad in ["rate(a[5m])", "a offset 5m", "a[5m]", "{}", "1"] {
        assert!(parse_matchers(bad).is_err(), "{bad}");
    }
}

/// Expressions of the grammar that promql-parser shares, as text.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("foo".to_string()),
        Just("bar{a=\"b\", c=~\"d.*\"}".to_string()),
        Just("{__name__=\"x\"} offset 5m".to_string()),
        Just("foo @ 12 offset -1h".to_string()),
        Just("rate(foo[5m])".to_string()),
        Just("max_over_time(rate(foo[1m])[1h:5m])".to_string()),
        (0u32..1000).prop_map(|n| format!("vector({n})")),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let op = proptest::sample::select(vec![
            "+",
            "-",
            "*",
            "/",
            "%",
            "^",
            "and",
            "or",
            "unless",
            "atan2",
            "> bool",
            "<=",
            "+ on (a)",
            "* ignoring (a, b) group_left (c)",
        ]);
        let call = proptest::sample::select(vec![
            "sum",
            "avg by (a)",
            "topk without (b)",
            "abs",
            "-",
            "(",
        ]);
        prop_oneof![
            (inner.clone(), op, inner.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            (call, inner).prop_map(|(f, e)| match f {
                "-" => format!("-{e}"),
                "(" => format!("({e})"),
                f if f.starts_with("topk") => format!("{f} (3, {e})"),
                f => format!("{f}({e})"),
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn agrees_with_promql_parser_on_what_both_know(text in expression()) {
        let ours = parse(&text, &ALL);
        let theirs = promql_parser::parser::parse(&text);
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{}: {:?} / {:?}", text, ours, theirs);
        if let Ok(tree) = ours {
            let printed = tree.to_string();
            let again = parse(&printed, &ALL).map(|t| t.to_string());
            prop_assert_eq!(again, Ok(printed.clone()));
            // Printed differently, our text still means the same to the other parser.
            let reread = promql_parser::parser::parse(&printed);
            let plain = |e: promql_parser::parser::Expr| e.to_string();
            prop_assert_eq!(reread.map(plain), theirs.map(plain));
        }
    }

    #[test]
    fn garbage_never_panics(text in "\\PC{0,60}", at in 0usize..60, part in "[-+(){}\\[\\],\"':=~!@0-9a-z ]{0,40}") {
        let _ = parse(&text, &ALL);
        let mut mixed: Vec<char> = "sum by (a) (rate(foo{b=\"c\"}[5m:1m] offset 2h))".chars().collect();
        let at = at.min(mixed.len());
        mixed.splice(at..at, part.chars());
        let mixed: String = mixed.into_iter().collect();
        let _ = parse(&mixed, &ALL);
    }
}
