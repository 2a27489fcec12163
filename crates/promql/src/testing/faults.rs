//! Texts that are no PromQL, with what Prometheus says of them.

/// Each text, and the words of Prometheus 3.14 with all of its syntax switched on.
pub const FAULTS: &[(&str, &str)] = &[
    ("", "unknown position: parse error: no expression found in input"),
    ("1+", "1:3: parse error: unexpected end of input"),
    (".", "1:1: parse error: unexpected character: '.'"),
    ("*1", "1:1: parse error: unexpected <op:*>"),
    ("(1))", "1:5: parse error: unexpected right parenthesis ')'"),
    ("((1)", "1:5: parse error: unclosed left parenthesis"),
    ("1 /", "1:4: parse error: unexpected end of input"),
    ("1 == 1", "1:3: parse error: comparisons between scalars must use BOOL modifier"),
    ("1 and 1", "1:1: parse error: set operator \"and\" not allowed in binary scalar expression"),
    (
        "-test[5m]",
        "1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got \"range vector\"",
    ),
    (
        "1 offset 1d",
        "1:1: parse error: offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
    ),
    ("a - on(b) ignoring(c) d", "1:11: parse error: unexpected <ignoring>"),
    ("foo{", "1:5: parse error: unexpected end of input inside braces"),
    (
        "foo{gibberish}",
        "1:14: parse error: unexpected \"}\" in label matching, expected label matching operator",
    ),
    ("foo{1}", "1:5: parse error: unexpected character inside braces: '1'"),
    ("{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
    (
        "rate(some_metric)",
        "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
    ),
    ("\n  floor(a, b)", "2:3: parse error: expected 1 argument(s) in call to \"floor\", got 2"),
    ("nope(a)", "1:1: parse error: unknown function with name \"nope\""),
    (
        "topk(a, b)",
        "1:6: parse error: expected type scalar in aggregation parameter, got instant vector",
    ),
    ("foo[0m]", "1:5: parse error: duration must be greater than 0"),
    ("foo[5m] offset 1h offset 1h", "1:1: parse error: offset may not be set multiple times"),
    (" ", "1:1: parse error: no expression found in input"),
    // Numbers and durations that look like some.
    ("0deadbeef", "1:1: parse error: bad number or duration syntax: \"0de\""),
    (
        "0x",
        "1:1: parse error: error parsing number: strconv.ParseFloat: parsing \"0x\": invalid syntax",
    ),
    ("1.5.2", "1:1: parse error: bad number or duration syntax: \"1.5.\""),
    (
        ".5.",
        "1:1: parse error: error parsing number: strconv.ParseFloat: parsing \".5.\": invalid syntax",
    ),
    (
        "1_{",
        "1:1: parse error: error parsing number: strconv.ParseFloat: parsing \"1_\": invalid syntax",
    ),
    ("1_", "1:1: parse error: bad number or duration syntax: \"1_\""),
    (
        "1e999",
        "1:1: parse error: error parsing number: strconv.ParseFloat: parsing \"1e999\": value out of range",
    ),
    ("1h1h", "1:1: parse error: not a valid duration string: \"1h1h\""),
    ("1hs", "1:1: parse error: unknown unit \"hs\" in duration \"1hs\""),
    ("300y", "1:1: parse error: duration out of range"),
    ("a @ Inf", "1:1: parse error: timestamp out of bounds for @ modifier: +Inf"),
    // Strings.
    (r#""\q""#, "1:1: parse error: unknown escape sequence U+0071 'q'"),
    (r#""\x4""#, "1:1: parse error: illegal character U+0022 '\"' in escape sequence"),
    (r#""\400""#, "1:1: parse error: escape sequence is an invalid Unicode code point"),
    (r#"'\ud800'"#, "1:1: parse error: escape sequence is an invalid Unicode code point"),
    (r#""\"#, "1:1: parse error: escape sequence not terminated"),
    ("`a", "1:1: parse error: unterminated raw string"),
    ("\"\u{fffd}\"", "1:1: parse error: invalid UTF-8 rune"),
    // Characters that begin nothing.
    ("a)", "1:3: parse error: unexpected right parenthesis ')'"),
    ("}", "1:1: parse error: unexpected character: '}'"),
    ("{{", "1:2: parse error: unexpected left brace '{'"),
    ("\0", "1:1: parse error: unexpected character: '\\x00'"),
    ("!", "1:1: parse error: unexpected character after '!': '\u{fffd}'"),
    // What stands where: aggregations, brackets, offsets, keywords.
    ("min([)", "1:5: parse error: unexpected \"[\" in aggregation"),
    ("sum(rate(a[5m]) b)", "1:17: parse error: unexpected identifier \"b\" in aggregation"),
    (r#"sum by ("")(x)"#, r#"1:9: parse error: invalid label name for grouping: """#),
    (
        r#"a + on(b) group_left("c", "\xff") d"#,
        r#"1:27: parse error: invalid label name for grouping: "\xff""#,
    ),
    (
        "sum by (without) (a)",
        "1:9: parse error: unexpected <without> in grouping opts, expected label",
    ),
    (
        "a{b=by}",
        "1:5: parse error: unexpected identifier \"by\" in label matching, expected string",
    ),
    (
        "{'a' b}",
        "1:6: parse error: unexpected identifier \"b\" in label matching, expected \",\" or \"}\"",
    ),
    ("a[b]", "1:3: parse error: unexpected character in duration expression: 'b'"),
    ("a[5m b]", "1:6: parse error: unexpected character: 'b', expected ':'"),
    ("a[5m:1m:]", "1:8: parse error: unexpected colon ':'"),
    ("a[:5m]", "1:4: parse error: unexpected colon before duration in duration expression"),
    (
        "a[(5m]",
        "1:6: parse error: unexpected \"]\" in subquery or range selector, expected number, duration, step(), or range()",
    ),
    (
        "(a[5m:)]",
        "1:7: parse error: unexpected \")\" in subquery selector, expected number, duration, step(), range(), or \"]\"",
    ),
    (
        "a offset (5m) / b",
        "1:17: parse error: unexpected identifier \"b\" in offset, expected number, duration, step(), or range()",
    ),
    ("a[1h / 0]", "1:6: parse error: division by zero"),
    ("a @ start", "1:10: parse error: unexpected end of input in @, expected timestamp"),
    ("and(1)", "1:4: parse error: unexpected \"(\""),
    ("a:b(1)", "1:4: parse error: unexpected \"(\""),
    ("a + b fill (0)", "1:7: parse error: unexpected <fill>"),
    ("a + b fill", "1:7: parse error: unexpected identifier \"fill\""),
    ("a on", "1:3: parse error: unexpected <on>"),
    ("a step()", "1:3: parse error: unexpected \"step\""),
    ("START()", "1:1: parse error: unknown function with name \"START\""),
    ("max_of(1,,2)", "1:9: parse error: trailing commas not allowed in function call args"),
    ("limitk()", "1:1: parse error: no arguments for aggregate expression provided"),
    ("inf{a='b'}", "1:4: parse error: unexpected \"{\""),
    (
        "sum(max_of(1, 2))",
        "1:5: parse error: expected type instant vector in aggregation expression, got scalar",
    ),
];
