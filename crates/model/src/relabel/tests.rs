use super::*;
use crate::labels::Labels;

fn rule(action: RelabelAction, sources: &[&str]) -> RelabelConfig {
    let source_labels = sources.iter().map(|s| s.to_string()).collect();
    RelabelConfig { source_labels, action, ..RelabelConfig::default() }
}

impl RelabelConfig {
    fn matching(mut self, pattern: &str) -> Self {
        self.regex = GoRegex::new(pattern).unwrap();
        self
    }

    fn into(mut self, target: &str) -> Self {
        self.target_label = target.to_string();
        self
    }

    fn giving(mut self, replacement: &str) -> Self {
        self.replacement = replacement.to_string();
        self
    }
}

const INPUT: [(&str, &str); 4] =
    [("a", "foo"), ("b", "bar"), ("__address__", "h:90"), ("__meta_x_team", "Ops")];

/// What `rules` make of [`INPUT`]; `None` where they drop it.
fn run(rules: &[RelabelConfig]) -> Option<String> {
    let mut labels = Labels::from_pairs(INPUT).to_builder();
    apply(&mut labels, rules)
        .then(|| labels.build().iter().map(|(name, value)| format!("{name}={value} ")).collect())
}

fn check(rules: &[RelabelConfig], want: Option<&str>) {
    for rule in rules {
        rule.validate().unwrap();
    }
    let all = |rest: &str| format!("__address__=h:90 __meta_x_team=Ops {rest}");
    assert_eq!(run(rules), want.map(all));
}

#[test]
fn replace_sets_moves_and_removes() {
    use RelabelAction::Replace;
    let replace = |sources: &[&str]| rule(Replace, sources);
    check(&[replace(&["a"]).into("new")], Some("a=foo b=bar new=foo "));
    check(&[replace(&["a", "b"]).into("new")], Some("a=foo b=bar new=foo;bar "));
    let port = replace(&["__address__"]).matching(r"([^:]+)(?::\d+)?").giving("$1:9");
    check(&[port.into("new")], Some("a=foo b=bar new=h:9 "));
    // No match: nothing happens. An empty result: the label goes.
    check(&[replace(&["a"]).matching("x.*").into("b")], Some("a=foo b=bar "));
    check(&[replace(&["a"]).matching("(f).*(x)?").giving("$2").into("b")], Some("a=foo "));
    check(&[replace(&[]).giving("").into("b")], Some("a=foo "));
    check(&[replace(&[]).giving("const").into("b")], Some("a=foo b=const "));
    // An absent source is an empty text, which `(.*)` matches, too.
    check(&[replace(&["none"]).into("b")], Some("a=foo "));
    // The target may be a template; if it comes out as no name, nothing happens.
    let into_named = replace(&["a"]).matching("f(.*)").giving("x").into("l_$1");
    check(std::slice::from_ref(&into_named), Some("a=foo b=bar l_oo=x "));
    check(&[replace(&["none"]).giving("x").into("$1")], Some("a=foo b=bar "));
    let legacy = RelabelConfig { name_scheme: NameScheme::Legacy, ..replace(&["__address__"]) };
    check(&[legacy.into("$1").giving("x")], Some("a=foo b=bar "));
    // Later rules see what earlier ones did.
    check(&[into_named, replace(&["l_oo"]).into("a")], Some("a=x b=bar l_oo=x "));
}

#[test]
fn keep_and_drop() {
    use RelabelAction::{Drop, DropEqual, Keep, KeepEqual};
    let kept = Some("a=foo b=bar ");
    check(&[rule(Keep, &["a", "b"]).matching("foo;.*")], kept);
    check(&[rule(Keep, &["a"]).matching("fo")], None);
    check(&[rule(Drop, &["a"]).matching("fo")], kept);
    check(&[rule(Drop, &["a"]).matching("fo+")], None);
    check(&[rule(KeepEqual, &["a"]).into("b")], None);
    check(&[rule(KeepEqual, &["a"]).into("a")], kept);
    check(&[rule(DropEqual, &["a"]).into("b")], kept);
    check(&[rule(DropEqual, &["none"]).into("nothing")], None);
}

#[test]
fn hashmod_equals_prometheus() {
    // Values computed with Prometheus 3.14.
    for (modulus, want) in [(8, "6"), (1000, "750"), (u64::MAX, "15973639978189266750")] {
        let hash = RelabelConfig { modulus, ..rule(RelabelAction::HashMod, &["a", "b"]).into("h") };
        check(&[hash], Some(&format!("a=foo b=bar h={want} ")));
    }
}

#[test]
fn actions_on_names() {
    use RelabelAction::{LabelDrop, LabelKeep, LabelMap};
    let map = rule(LabelMap, &[]).matching("__meta_x_(.+)");
    check(std::slice::from_ref(&map), Some("a=foo b=bar team=Ops "));
    check(&[map.giving("pod_${1}_x")], Some("a=foo b=bar pod_team_x=Ops "));
    check(&[rule(LabelDrop, &[]).matching("a|c")], Some("b=bar "));
    check(&[rule(LabelKeep, &[]).matching("__.*|b")], Some("b=bar "));
}

#[test]
fn case_is_changed_character_by_character() {
    let lower = |text: &str| text.chars().map(simple_lower).collect::<String>();
    let upper = |text: &str| text.chars().map(simple_upper).collect::<String>();
    assert_eq!(lower("ÀΑΣ İ"), "àασ i", "no final sigma, no second character");
    assert_eq!(upper("straße ŉ ǆ ᾳ ᾀ"), "STRAßE ŉ Ǆ ᾼ ᾈ");
    check(
        &[
            rule(RelabelAction::Uppercase, &["a", "b"]).into("a"),
            rule(RelabelAction::Lowercase, &["__meta_x_team"]).into("b"),
        ],
        Some("a=FOO;BAR b=ops "),
    );
}

#[test]
fn refuses_what_prometheus_refuses_in_its_words() {
    use RelabelAction::*;
    let legacy = |rule: RelabelConfig| RelabelConfig { name_scheme: NameScheme::Legacy, ..rule };
    let cases = [
        (rule(HashMod, &["a"]).into("x"), "hashmod requires non-zero modulus"),
        (rule(Replace, &["a"]), "for replace action requires 'target_label' value"),
        (rule(Uppercase, &["a"]), "for uppercase action requires 'target_label' value"),
        (rule(KeepEqual, &["a"]), "for keepequal action requires 'target_label' value"),
        (legacy(rule(Replace, &[]).into("a-b")), "\"a-b\" is invalid 'target_label' for replace"),
        (legacy(rule(Replace, &[]).into("${1}-b")), "\"${1}-b\" is invalid 'target_label'"),
        (legacy(rule(Lowercase, &[]).into("1a")), "\"1a\" is invalid 'target_label' for lowercase"),
        (rule(Lowercase, &[]).into("a").giving("x"), "'replacement' can not be set for lowercase"),
        (rule(LabelMap, &[]).giving(""), "\"\" is invalid 'replacement' for labelmap action"),
        (legacy(rule(LabelMap, &[]).giving("a-$1")), "\"a-$1\" is invalid 'replacement'"),
        (
            rule(DropEqual, &["a"]).into("b").matching("x"),
            "dropequal action requires only 'source_l",
        ),
        (rule(LabelDrop, &["a"]), "labeldrop action requires only 'regex', and no other fields"),
        (rule(LabelKeep, &[]).into("a"), "labelkeep action requires only 'regex'"),
        (rule(LabelKeep, &[]).giving("a"), "labelkeep action requires only 'regex'"),
    ];
    for (rule, message) in cases {
        let error = rule.validate().expect_err(message).to_string();
        assert!(error.contains(message), "{error}");
    }
    legacy(rule(Replace, &[]).into("a_${1}$name_b")).validate().unwrap();
    rule(Replace, &[]).into("any thing").validate().unwrap();
    let unknown = RelabelAction::parse("Kepp").expect_err("no such action").to_string();
    assert_eq!(unknown, "unknown relabel action \"Kepp\"");
    for action in RelabelAction::ALL {
        assert_eq!(RelabelAction::parse(&action.as_str().to_uppercase()), Ok(action));
    }
}
