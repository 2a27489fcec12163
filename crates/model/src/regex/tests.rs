use super::*;

/// A pattern, texts that match it, texts that do not; checked against Go 1.26.
type Case = (&'static str, &'static [&'static str], &'static [&'static str]);

#[rustfmt::skip]
const MATCHES: &[Case] = &[
    (r"a{", &["a{"], &["a"]),
    (r"{", &["{"], &["{{"]),
    (r"a{,3}", &["a{,3}"], &["aaa"]),
    (r"x{2", &["x{2"], &["xx"]),
    (r"{{.+}}", &["{{x}}"], &["{x}", "{{}}"]),
    (r"\Qa.b\E", &["a.b"], &["axb"]),
    (r"[[a]", &["[", "a"], &["]"]),
    (r"[\d-z]", &["1", "-", "z"], &["a"]),
    (r"\07", &["\u{7}"], &["7"]),
    (r"\101", &["A"], &["1"]),
    (r"[a&&b]", &["a", "b", "&"], &["c"]),
    (r"[a~~b]", &["a", "~"], &["c"]),
    (r"\<a\>", &["<a>"], &["a"]),
    (r"\d+", &["12"], &["1٣", "٣"]),
    (r"\w+", &["aZ_0"], &["é", "a-b"]),
    (r"\s", &["\t", "\n", " "], &["\u{b}", "\u{a0}"]),
    (r"\S", &["\u{b}", "\u{a0}"], &[" "]),
    (r"\bab\b", &["ab"], &[]),
    (r"a\Bb", &["ab"], &[]),
    (r"é\Bé", &["éé"], &[]),
    (r".*", &["", "x", "a\nb"], &[]),
    (r"(?-s).*", &["", "x"], &["a\nb"]),
    (r"a.b", &["a\nb", "axb"], &["ab"]),
    (r"foo|bar", &["foo", "bar"], &["foobar"]),
    (r"(foo|bar)-[xy]", &["foo-x", "bar-y"], &["foo-z"]),
    (r"fo?o", &["fo", "foo"], &["fooo"]),
    (r"(?i)foo", &["foo", "FOO", "fOo"], &["fo"]),
    (r"(?i)k", &["k", "K", "\u{212a}"], &[]),
    (r"(?i)ſ", &["s", "S", "ſ"], &[]),
    (r"(?i)\w", &["ſ", "\u{212a}"], &["é"]),
    (r"(?i)\W", &["é"], &["ſ", "\u{212a}"]),
    (r"(?i)[^k]", &["x"], &["\u{212a}", "K"]),
    (r"(?i)a(?-i)b", &["ab", "Ab"], &["aB"]),
    (r"(?i:a)b", &["Ab"], &["AB"]),
    (r"(?i)api-server-1", &["API-Server-1"], &["api-server-2"]),
    (r"foo.*", &["foo", "foobar"], &["xfoo"]),
    (r".*foo", &["foo", "xfoo"], &["foox"]),
    (r".*foo.*", &["xfoox", "foo"], &["fo"]),
    (r".+foo", &["xfoo"], &["foo"]),
    (r"foo.+", &["foox"], &["foo"]),
    (r".+foo.+", &["xfoox"], &["foo", "xfoo", "foofoo"]),
    (r".+", &["x"], &[""]),
    (r".+.+", &["xy"], &["x"]),
    (r"^foo$", &["foo"], &["xfoo"]),
    (r"^(foo|bar)$", &["foo", "bar"], &[]),
    (r"(?m)a$\n^b", &["a\nb"], &[]),
    (r"(?m)^a$", &["a"], &["a\na"]),
    (r"a^b", &[], &["ab"]),
    (r"[]a]", &["]", "a"], &[]),
    (r"[^\x00-\x{10FFFF}]", &[], &["a", ""]),
    (r"[[:alpha:]-]+", &["a-b"], &["a1"]),
    (r"[[:^digit:]]", &["a"], &["1"]),
    (r"\pL\pN", &["a1", "é٣"], &["ab"]),
    (r"\p{Greek}+", &["αβγ"], &["abc"]),
    (r"\p{greek}", &["α"], &["a"]),
    (r"\p{^Lu}", &["a"], &["A"]),
    (r"\P{^Lu}", &["A"], &["a"]),
    (r"\p{Letter}", &["a"], &["1"]),
    (r"[\x{1F600}-\x{1F64F}]", &["😀"], &["a"]),
    (r"\x{D800}", &[], &["a", "\u{d7ff}"]),
    (r"a{2,3}", &["aa", "aaa"], &["a", "aaaa"]),
    (r"(ab){2}", &["abab"], &["ab"]),
    (r"a{0}", &[""], &["a"]),
    (r"(a){0}b", &["b"], &["ab"]),
    (r"(?:)*", &[""], &["a"]),
    (r"|", &[""], &["a"]),
    (r"a||b", &["a", "b", ""], &[]),
    (r"\.", &["."], &["a"]),
    (r"[.]", &["."], &["a"]),
    (r"日本|東京", &["日本", "東京"], &["日"]),
    (r"a\b{start}", &["a{start}"], &["a"]),
    (r"\Qa", &["a"], &["\\Qa"]),
    (r"\Qab\E*", &["a", "abb"], &["abab"]),
    (r"(?P<n>a)(?P<n>b)", &["ab"], &["a"]),
];

/// A pattern that Go refuses, what it says, and the expression that it names.
#[rustfmt::skip]
const ERRORS: &[(&str, &str, &str)] = &[
    (r"(a", "missing closing )", r"(a"),
    (r"a)", "unexpected )", r"a)"),
    (r"[a", "missing closing ]", r"[a"),
    (r"[z-a]", "invalid character class range", r"z-a"),
    (r"[a-\d]", "invalid escape sequence", r"\d"),
    (r"\", "trailing backslash at end of expression", r""),
    (r"*", "missing argument to repetition operator", r"*"),
    (r"a|*", "missing argument to repetition operator", r"*"),
    (r"(*)", "missing argument to repetition operator", r"*"),
    (r"(?i)*", "missing argument to repetition operator", r"*"),
    (r"a**", "invalid nested repetition operator", r"**"),
    (r"a*+", "invalid nested repetition operator", r"*+"),
    (r"a???", "invalid nested repetition operator", r"???"),
    (r"a{2}{3}", "invalid nested repetition operator", r"{2}{3}"),
    (r"a{2,1}", "invalid repeat count", r"{2,1}"),
    (r"a{1001}", "invalid repeat count", r"{1001}"),
    (r"a{1001,}", "invalid repeat count", r"{1001,}"),
    (r"a{99999999999}", "invalid repeat count", r"{99999999999}"),
    (r"(a{100}){11}", "invalid repeat count", r"{11}"),
    (r"((a{10}){10}){11}", "invalid repeat count", r"{11}"),
    (r"(?P<>a)", "invalid named capture", r"(?P<>"),
    (r"(?P<n", "invalid named capture", r"(?P<n"),
    (r"(?P<n!>a)", "invalid named capture", r"(?P<n!>"),
    (r"(?P=n)", "invalid or unsupported Perl syntax", r"(?P"),
    (r"(?<=a)", "invalid named capture", r"(?<=a)"),
    (r"(?!a)", "invalid or unsupported Perl syntax", r"(?!"),
    (r"(?x)", "invalid or unsupported Perl syntax", r"(?x"),
    (r"(?R)", "invalid or unsupported Perl syntax", r"(?R"),
    (r"(?u)a", "invalid or unsupported Perl syntax", r"(?u"),
    (r"(?", "invalid or unsupported Perl syntax", r"(?"),
    (r"(?-)a", "invalid or unsupported Perl syntax", r"(?-)"),
    (r"(?--i)a", "invalid or unsupported Perl syntax", r"(?--"),
    (r"(?>a)", "invalid or unsupported Perl syntax", r"(?>"),
    (r"[[:foo:]]", "invalid character class range", r"[:foo:]"),
    (r"\p", "invalid character class range", r"\p"),
    (r"\p{", "invalid character class range", r"\p{"),
    (r"\p{Alphabetic}", "invalid character class range", r"\p{Alphabetic}"),
    (r"\pX", "invalid character class range", r"\pX"),
    (r"\x{110000}", "invalid escape sequence", r"\x{110000"),
    (r"\x{}", "invalid escape sequence", r"\x{}"),
    (r"\xg1", "invalid escape sequence", r"\xg1"),
    (r"\x4", "invalid escape sequence", r"\x4"),
    (r"\u0041", "invalid escape sequence", r"\u"),
    (r"\8", "invalid escape sequence", r"\8"),
    (r"\1", "invalid escape sequence", r"\1"),
    (r"\18", "invalid escape sequence", r"\1"),
    (r"\é", "invalid escape sequence", r"\é"),
    (r"\C", "invalid escape sequence", r"\C"),
    (r"\Z", "invalid escape sequence", r"\Z"),
    (r"\G", "invalid escape sequence", r"\G"),
    (r"\cA", "invalid escape sequence", r"\c"),
];

#[test]
fn matches_as_go_does() {
    for (pattern, yes, no) in MATCHES {
        let regex = GoRegex::new(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}"));
        for text in *yes {
            assert!(regex.is_match(text), "{pattern} must match {text:?}");
            assert!(text.starts_with(regex.literal_prefix()), "{pattern}: prefix of {text:?}");
        }
        for text in *no {
            assert!(!regex.is_match(text), "{pattern} must not match {text:?}");
        }
    }
}

#[test]
fn refuses_as_go_does_in_its_words() {
    for (pattern, what, expression) in ERRORS {
        let error = GoRegex::new(pattern).expect_err(pattern);
        assert_eq!(error.to_string(), format!("error parsing regexp: {what}: `{expression}`"));
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}

/// A shortcut must answer what the engine answers: in a larger expression none applies.
#[test]
fn shortcuts_agree_with_the_engine() {
    let texts = ["", "a", "b", "ab", "aXb", "foo", "xfoo", "foox", "xfoox", "FOO", "foobar", "\n"];
    let patterns = MATCHES.iter().map(|case| case.0);
    for pattern in patterns.chain(["foo|bar|", "[ab]?", "(foo)?x?", "(?i)foo.*", "f(o|x)o"]) {
        if pattern.contains("\\Q") {
            continue;
        }
        let short = GoRegex::new(pattern).unwrap();
        let long = GoRegex::new(&format!("(?:{pattern}|never(q)+)")).unwrap();
        assert!(long.0.shortcut.is_none());
        for text in texts {
            assert_eq!(short.is_match(text), long.is_match(text), "{pattern} on {text:?}");
        }
    }
}

#[test]
fn tells_sets_of_literals() {
    let set = |pattern: &str| GoRegex::new(pattern).unwrap().set_matches().map(<[_]>::to_vec);
    let strings = |values: &[&str]| Some(values.iter().map(|v| v.to_string()).collect::<Vec<_>>());
    assert_eq!(set("foo"), strings(&["foo"]));
    assert_eq!(set(""), strings(&[""]));
    assert_eq!(set("b|a|b"), strings(&["a", "b"]));
    assert_eq!(set("^(?:x-(a|b))$"), strings(&["x-a", "x-b"]));
    assert_eq!(set("api-[13]|db"), strings(&["api-1", "api-3", "db"]));
    assert_eq!(set("ab?"), strings(&["a", "ab"]));
    assert_eq!(set(r"a\.b\|c"), strings(&["a.b|c"]));
    assert_eq!(set("(?i)ab"), strings(&["AB", "Ab", "aB", "ab"]));
    assert_eq!(set("a.b"), None);
    assert_eq!(set("a|b.*"), None);
    assert_eq!(set("[a-z][a-z]"), None, "676 values are over the limit");
    let many: Vec<String> = (10_000..30_000).map(|i| format!("host-{i}")).collect();
    assert_eq!(set(&many.join("|")), Some(many.clone()), "an alternation as written may be long");
    let regex = GoRegex::new(&many.join("|")).unwrap();
    assert!(regex.is_match("host-29999") && !regex.is_match("host-30000"));
}

#[test]
fn simple_patterns_need_no_engine() {
    for pattern in
        ["foo", "a|b", "(.*)", ".*", ".+", "(?:foo).*", ".*foo", ".*foo.+", "(?i)some-long-name"]
    {
        let regex = GoRegex::new(pattern).unwrap();
        assert!(regex.0.engine.is_none(), "{pattern}");
    }
}

#[test]
fn tells_prefixes() {
    let prefix = |pattern: &str| GoRegex::new(pattern).unwrap().literal_prefix().to_string();
    assert_eq!(prefix("^foo[a-c]+"), "foo");
    assert_eq!(prefix("foo-a|foo-b.*"), "foo-");
    assert_eq!(prefix("foo|bar"), "");
    assert_eq!(prefix("(?i)foo.*"), "");
    assert_eq!(prefix("fo*"), "f");
}

#[test]
fn expands_as_go_does() {
    let cases = [
        ("(.*)", "$1", "abc", Some("abc")),
        ("(a)(b)?", "<$0|$1|$2|$3>", "a", Some("<a|a||>")),
        ("(a)(b)", "$1x", "ab", Some("")),
        ("(a)(b)", "${1}x", "ab", Some("ax")),
        ("(a)(b)", "$2$1", "ab", Some("ba")),
        ("(a)(b)", "$$1 $ ${ ${1 $-", "ab", Some("$1 $ ${ ${1 $-")),
        ("(a)(b)", "$01|${00}|$0", "ab", Some("||ab")),
        ("(?P<host>[^:]+):(?P<port>.*)", "${port}-$host", "h:9", Some("9-h")),
        ("(?P<n>a)|(?P<n>b)", "$n", "b", Some("b")),
        ("(.+)-(.+)", "$1|$2", "a-b-c", Some("a-b|c")),
        ("(.+?)-(.+)", "$1|$2", "a-b-c", Some("a|b-c")),
        ("(?U)(.+)-(.+)", "$1|$2", "a-b-c", Some("a|b-c")),
        ("(a|ab)(c|bcd)(d*)", "$1|$2|$3", "abcd", Some("a|bcd|")),
        ("foo|(bar)", "<$1>", "foo", Some("<>")),
        ("(foo)", "<$1>", "bar", None),
        ("foo", "<$0>", "foo", Some("<foo>")),
    ];
    for (pattern, template, text, want) in cases {
        let regex = GoRegex::new(pattern).unwrap();
        assert_eq!(regex.expand(template, text).as_deref(), want, "{pattern} {template} {text}");
    }
}

#[test]
fn a_thousand_levels_overflow_no_stack() {
    for (depth, fine) in [(990, true), (1100, false), (100_000, false)] {
        let pattern = format!("{}a.b{}", "(".repeat(depth), ")".repeat(depth));
        match GoRegex::new(&pattern) {
            Ok(regex) => assert!(fine && regex.is_match("axb")),
            Err(e) => {
                assert!(!fine && e.message.starts_with("expression nests too deeply"), "{e}")
            }
        }
    }
    let stars = GoRegex::new(&format!("{}x{}", "(?:".repeat(600), ")*".repeat(600))).unwrap();
    assert!(stars.is_match("xxx") && !stars.is_match("y"));
}

#[test]
fn every_limit_has_a_name() {
    let refused = |pattern: &str, fact: &str| {
        let error = GoRegex::new(pattern).expect_err(fact);
        assert!(error.message.contains(fact), "{}", error.message);
        assert!(error.message.len() < 300);
    };
    refused(&"a".repeat(PATTERN_BYTES_MAX + 1), "pattern_bytes=1048577 limit=1048576");
    refused(&"\\pL".repeat(10_000), "class_ranges over limit=1048576");
    refused(r"(?:\pL\pN){1000}", "compiled_bytes over limit=10485760");
    // Long, but not large: one literal, and braces that begin no count.
    assert!(GoRegex::new(&"{".repeat(PATTERN_BYTES_MAX)).is_ok());
}
