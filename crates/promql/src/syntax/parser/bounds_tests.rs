//! What the parser refuses, and after how much work. Work is counted in tokens, never in time.

use super::*;

const FEATURES: SyntaxFeatures = SyntaxFeatures {
    experimental_functions: true,
    extended_range_selectors: true,
    fill_modifiers: true,
};

/// The error of `text`, and how many tokens were read before it was found.
fn refusal(text: &str) -> (String, usize) {
    if let Err(error) = check_length(text) {
        return (error.to_string(), 0);
    }
    let mut parser = Parser::new(text, &FEATURES);
    let error = parser.query().expect_err("a text beyond a bound");
    (error.to_string(), parser.lexer.tokens())
}

fn repeated(before: &str, times: usize, between: &str, after: &str) -> String {
    format!("{}{between}{}", before.repeat(times), after.repeat(times))
}

#[test]
fn a_long_text_is_refused_before_it_is_read() {
    let parentheses = repeated("(", 44_544, "1", ")");
    assert_eq!(parentheses.len(), 87 * 1024 + 1);
    assert_eq!(refusal(&parentheses), {
        let error = "1:65537: parse error: query is too long: bytes=89089 query_bytes_max=65536";
        (error.to_string(), 0)
    });
    let lines = "#\n".repeat(QUERY_BYTES_MAX);
    let place = format!("{}:1: parse error: query is too long", QUERY_BYTES_MAX / 2 + 1);
    assert!(refusal(&lines).0.starts_with(&place));
    let longest = format!("1{}", " ".repeat(QUERY_BYTES_MAX - 1));
    assert!(parse(&longest, &FEATURES).is_ok());
}

#[test]
fn nesting_is_refused_at_the_level_that_is_too_deep() {
    for (before, between, after, tokens_a_level) in [
        ("(", "1", ")", 1),
        ("-", "a", "", 1),
        ("abs(", "a", ")", 2),
        ("sum by (a) (", "a", ")", 6),
        ("1 ^ ", "1", "", 2),
        ("a + on (b) (", "a", ")", 7),
        ("max_over_time(", "a[1m]", "[1h:])", 2),
    ] {
        let text = repeated(before, 3_000, between, after);
        let (error, tokens) = refusal(&text);
        assert!(error.contains("query nests too deep: depth_max=100"), "{before}: {error}");
        // The token at hand and the one behind it are read, too.
        let most = (DEPTH_MAX + 1) * tokens_a_level + 2;
        assert!(tokens <= most, "{before}: tokens={tokens} most={most}");
    }
    let (error, _) = refusal(&repeated("(", 30_000, "1", ")"));
    assert_eq!(error, "1:102: parse error: query nests too deep: depth_max=100");
}

#[test]
fn durations_nest_no_deeper_than_queries() {
    for (before, after) in [("(", ")"), ("-", ""), ("2 ^ ", ""), ("min_of(1, ", ")")] {
        let text = format!("a[{}]", repeated(before, 5_000, "1", after));
        let (error, tokens) = refusal(&text);
        assert!(error.contains("query nests too deep: depth_max=100"), "{before}: {error}");
        assert!(tokens <= (DEPTH_MAX + 1) * 4 + 4, "{before}: tokens={tokens}");
    }
}

#[test]
fn operators_are_refused_at_the_one_too_many() {
    let (error, tokens) = refusal(&format!("1{}", "+1".repeat(20_000)));
    assert_eq!(error, "1:1002: parse error: query has too many operators: operators_max=500");
    // Two tokens an operator, the one too many, and the one behind it.
    assert_eq!(tokens, 2 * OPERATORS_MAX + 3);
    let (error, tokens) = refusal(&format!("a[1{}]", "+1".repeat(20_000)));
    assert_eq!(error, "1:1004: parse error: query has too many operators: operators_max=500");
    assert_eq!(tokens, 2 * OPERATORS_MAX + 5);
    // Those of durations and arguments count with those around them.
    let mixed = format!("clamp(a[1{0}:], 1{0}, 1{0})", "+1".repeat(200));
    assert!(refusal(&mixed).0.ends_with("query has too many operators: operators_max=500"));
}

/// Each of these is some megabytes, and a query could name a thousand of them.
#[test]
fn regular_expressions_have_one_limit_together() {
    let many = |count| vec!["a=~`\\pL{100}`"; count].join(",");
    assert!(Parser::new(&format!("{{{}}}", many(1)), &FEATURES).query().is_ok());
    let (error, tokens) = refusal(&format!("{{{}}}", many(1_000)));
    assert!(error.ends_with("regular expressions: regex_bytes_max=67108864"), "{error}");
    assert!(tokens < 2_000, "{tokens}");
}

/// Each of these is refused alone, once 10 MiB of it were compiled.
#[test]
fn regular_expressions_that_are_too_large_count_too() {
    for (before, text) in [("", "{a=~`\\pL{1000}`}+"), ("{", "a!~`\\pL{1000}`,")] {
        let text = format!("{before}{}", text.repeat(1_000));
        let mut parser = Parser::new(&text, &FEATURES);
        let report = parser.query().expect_err("too large").report();
        assert_eq!(report.matches("expression too large").count(), 7, "{report}");
        assert_eq!(report.matches("regex_bytes_max=67108864").count(), 1, "{report}");
        assert!(parser.lexer.tokens() <= 7 * 6, "{}", parser.lexer.tokens());
    }
}

#[test]
fn what_is_within_the_bounds_is_read_once() {
    for (text, tokens) in [
        (repeated("(", DEPTH_MAX, "1", ")"), 2 * DEPTH_MAX + 2),
        (repeated("-", DEPTH_MAX, "a", ""), DEPTH_MAX + 2),
        (format!("1{}", "+1".repeat(OPERATORS_MAX)), 2 * OPERATORS_MAX + 2),
        (format!("a[1{}]", "+1".repeat(OPERATORS_MAX)), 2 * OPERATORS_MAX + 5),
    ] {
        let mut parser = Parser::new(&text, &FEATURES);
        assert!(parser.query().is_ok(), "{text}");
        assert_eq!(parser.lexer.tokens(), tokens, "{text}");
    }
}
