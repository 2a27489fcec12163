//! The upstream corpus: every eval of every file passes, and all of them can be read and printed.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use pando_model::SampleValue;

use super::points::Point;
use super::script::Command;
use super::{
    Answer, Engine, EvalTimes, InProcess, LoadedSeries, Script, ScriptError, Subject, SubjectError,
};
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

const FEATURES: Features = Engine::OF_SCRIPTS.features;

/// Evals whose answer depends on names being dropped late, or on the type and unit labels of its matching; and those
/// whose notes name metrics, which are not known any more where names are dropped at once.
const LATE_NAMES: [(&str, usize); 4] = [
    ("histograms.test", 12),
    ("name_label_dropping.test", 8),
    ("native_histograms.test", 13),
    ("type_and_unit.test", 4),
];

#[test]
fn upstream_scripts_pass() {
    check(Engine::OF_SCRIPTS, &[]);
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

#[test]
fn own_cases_pass() {
    for push_down in [true, false] {
        let engine = Engine { features: FEATURES, push_down };
        let report = run(include_str!("cases.test"), engine).expect("a script");
        assert!(report.failures.is_empty(), "{:#?}", report.failures);
        assert_eq!(report.passed, 19);
    }
}

/// The label of a quantile may be the name, which is taken before where names are dropped at once.
#[test]
fn quantiles_may_be_names() {
    let features = Features { delayed_name_removal: false, ..FEATURES };
    let script = "load 1m\n  b_bucket{le=\"0.1\"} 1\n  b_bucket{le=\"+Inf\"} 2\n\n\
        eval instant at 0 histogram_quantiles(b_bucket, \"__name__\", 0, 0.5)\n  {__name__=\"0.0\"} 0\n  \
        {__name__=\"0.5\"} 0.1\n";
    let report = run(script, Engine { features, push_down: true }).expect("a script");
    assert!(report.failures.is_empty() && report.passed == 1, "{:#?}", report.failures);
}

fn run(text: &str, engine: Engine) -> Result<super::Report, ScriptError> {
    Script::parse(text)?.run(&mut InProcess::new(engine))
}

/// Runs every eval of every file. `allowance` is how many fail in a file, exactly.
fn check(engine: Engine, allowance: &[(&str, usize)]) {
    let (mut wrong, mut evals) = (Vec::new(), 0);
    let scripts = scripts();
    for ((name, text), (_, total)) in scripts.iter().zip(FILES) {
        let allowed = allowance.iter().find(|(n, _)| n == name).map_or(0, |(_, n)| *n);
        let report = run(text, engine).expect("a script");
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
        for (line, command) in Script::parse(&text).expect("a script").commands {
            let Command::Eval(eval) = command else { continue };
            match syntax::parse(&eval.expr, &features) {
                Ok(tree) => {
                    let printed = tree.to_string();
                    let again = syntax::parse(&printed, &features);
                    let again = again.unwrap_or_else(|e| panic!("{printed}: {e}"));
                    assert_eq!(printed, again.to_string(), "{}", eval.expr);
                }
                Err(e) if eval.expect.fail.is_none() => {
                    unread.insert(format!("{name}:{line} {}: {e}", eval.expr));
                }
                Err(_) => {}
            }
        }
    }
    assert!(unread.is_empty(), "{unread:#?}");
}

/// The evals whose expected histograms the API cannot show whole: a zero bucket with less than nothing in it, or with
/// NaN, is left out by Prometheus' and Pando's JSON alike. The rest of each of them is compared.
#[test]
fn what_the_api_does_not_show_is_in_six_evals() {
    let mut found = Vec::new();
    let scripts = scripts();
    for (name, text) in &scripts {
        for (line, command) in Script::parse(text).expect("a script").commands {
            let Command::Eval(eval) = command else { continue };
            let mut points = eval.expect.series.iter().flat_map(|series| &series.points);
            let unseen = |point: &Point| match point {
                Some(SampleValue::Histogram(h)) => h.zero_count < 0.0 || h.zero_count.is_nan(),
                _ => false,
            };
            if points.any(unseen) {
                found.push(format!("{name}:{line}"));
            }
        }
    }
    let lines = [960, 964, 968, 988, 1020, 1596];
    let known = lines.map(|line| format!("native_histograms.test:{line}"));
    assert!(scripts.is_empty() || found == known, "{found:#?}");
}

#[test]
fn faults_have_the_line_in_which_they_are() {
    let fault = |text: &str| Script::parse(text).err().map(|e| (e.line, e.why));
    for (text, line, why) in [
        ("# A comment\n\nlaod 5m\n  a 1\n", 3, "unknown command \"laod\""),
        ("load 5m\n  a 1\n  b y\n", 3, "not a number: item=\"y\""),
        ("load 5m\n  a 1\n\neval instant at 1m a\n  expect nothing\n", 5, "unknown expectation"),
        ("load x\n  a 1\n", 1, "duration"),
        ("load -5m\n  a 1\n", 1, "duration"),
        ("eval instant a\n  a 1\n", 1, "at is expected"),
        ("eval instant at -1m a\n", 1, "duration"),
        ("eval range from 5m to 1m step 1m a\n", 1, "the end is before the start"),
        ("eval instant at 1m 5\n  5\n  a 6\n", 3, "unknown command \"a\""),
        ("eval instant at 1m a\n  a 1 2\n", 2, "several values at one time"),
        ("eval instant at 1m a\n  expect fail msg: x\n  expect fail\n", 3, "a second expect fail"),
        ("eval instant at 1m a\n  expect warn\n  expect no_warn\n", 3, "both expected"),
        ("eval instant at 1m a\n  expect string x\n", 2, "not a quoted string: x"),
        ("eval instant at 1m a\n  expect string\n", 2, "not a quoted string"),
        ("load 1m garbage here\n  a 1\n", 1, "behind the step: \"garbage here\""),
        ("load 1m\n  a 1\neval instant at 0 a\n  a 1\n", 3, ": a blank line ends a load"),
        ("eval instant at 1m a\n  expect\n", 2, "unknown expectation"),
        ("eval instant at 1m a[2m]\n  expect range vector from 0 to 1m\n", 2, "step is expected"),
    ] {
        let (at, said) = fault(text).expect("a fault");
        assert!(at == line && said.contains(why), "{text}: {at} {said}");
    }
}

#[test]
fn failures_name_line_expression_and_reason() {
    let text = "load 1m\n  a 1\n\neval instant at 0 a\n  a 1\n\neval instant at 0 a + 1\n  {} 3\n";
    let report = run(text, Engine::OF_SCRIPTS).expect("a script");
    assert_eq!((report.passed, report.failures.len()), (1, 1));
    let failure = &report.failures[0];
    assert_eq!((failure.line, failure.expr.as_str()), (7, "a + 1"));
    assert_eq!(failure.why, "as written: series {} at 0: 2, expected 3 at 0");
}

/// A subject that writes down what it is asked for.
struct Noted {
    engine: InProcess,
    asked: Vec<(String, EvalTimes)>,
}

impl Subject for Noted {
    fn clear(&mut self) -> Result<(), SubjectError> {
        self.engine.clear()
    }

    fn load(&mut self, series: Vec<LoadedSeries>) -> Result<(), SubjectError> {
        self.engine.load(series)
    }

    fn ask(&mut self, expr: &str, times: EvalTimes) -> Result<Answer, SubjectError> {
        self.asked.push((expr.to_string(), times));
        self.engine.ask(expr, times)
    }
}

/// Prometheus' runner asks for an instant query also as a step of a range, and at other times by `@`.
#[test]
fn an_instant_is_asked_for_in_all_variants() {
    let asked = |text: &str| {
        let engine = InProcess::new(Engine::OF_SCRIPTS);
        let mut subject = Noted { engine, asked: Vec::new() };
        let report = Script::parse(text).and_then(|script| script.run(&mut subject));
        let report = report.expect("a script");
        assert!(report.failures.is_empty(), "{:?}", report.failures);
        let word = |times| match times {
            EvalTimes::Instant { t_ms } => format!("{t_ms}"),
            EvalTimes::Range { start_ms, end_ms, step_ms } => {
                format!("{start_ms}..{end_ms}/{step_ms}")
            }
        };
        let all = subject.asked.into_iter().map(|(expr, times)| format!("{expr} {}", word(times)));
        all.collect::<Vec<_>>()
    };
    let load = "load 1m\n  a 1 2 3\n\n";
    let all = asked(&format!("{load}eval instant at 2m a offset 1m\n  a 2\n"));
    let [fixed, as_step] = ["a @ 120.000 offset 1m ", "/60000"];
    let wanted = [
        "a offset 1m 120000".to_string(),
        "a offset 1m 60000..180000/60000".to_string(),
        format!("{fixed}-1200000"),
        format!("{fixed}-1260000..-1140000{as_step}"),
        format!("{fixed}0"),
        format!("{fixed}-60000..60000{as_step}"),
        format!("{fixed}24000"),
        format!("{fixed}-36000..84000{as_step}"),
        format!("{fixed}120000"),
        format!("{fixed}60000..180000{as_step}"),
        format!("{fixed}1200000"),
        format!("{fixed}1140000..1260000{as_step}"),
    ];
    assert_eq!(all, wanted);
    // `@` does not fix the evaluation time.
    let all = asked(&format!("{load}eval instant at 2m time()\n  120\n"));
    assert_eq!(all, ["time() 120000", "time() 60000..180000/60000"]);
}

/// A slip in a word that begins a line is a series that is not there.
#[test]
fn what_is_expected_has_to_be_there() {
    let load = "load 1m\n  a 1 2 3\n\n";
    for (eval, why) in [
        (
            "eval instant at 1m a\n  expect_fail\n  a 2\n",
            "missing series {__name__=\"expect_fail\"}",
        ),
        ("eval instant at 1m a\n  a 2\n  nosuch _\n", "missing series {__name__=\"nosuch\"}"),
        (
            "eval range from 0 to 2m step 1m a\n  a 1 2 3\n  nosuch _ _ _\n",
            "missing series {__name__=\"nosuch\"}",
        ),
        (
            "eval instant at 2m a[3m]\n  expect range vector from 0 to 9m step 1m\n  a 1 2 3\n",
            "missing series {__name__=\"a\"}",
        ),
        ("eval instant at 1m sum(1)\n  expect fail msg: x\n", "got scalar, expected \"x\""),
        ("eval instant at 1m a\n  5\n", "unexpected vector: {__name__=\"a\"} 2 @ 60"),
        ("eval range from 0 to 1m step 1m sum(a\n  expect fail\n", "unclosed left parenthesis"),
        ("eval instant at 1m sum(a\n  expect fail\n", "unclosed left parenthesis"),
    ] {
        let report = run(&format!("{load}{eval}"), Engine::OF_SCRIPTS).expect("a script");
        let said: Vec<&str> = report.failures.iter().map(|failure| &*failure.why).collect();
        assert!(report.passed == 0 && said.len() == 1 && said[0].contains(why), "{eval}: {said:?}");
    }
    // What the first line says is no line of its own.
    let fails = "eval_fail instant at 0 a\n  expect fail regex: x\n\neval_warn instant at 0 a\n  expect no_warn\n";
    assert!(Script::parse(fails).is_ok());
    // Of two lines of one series the later one is it; what follows a number without a blank line is a command.
    let good = "eval instant at 1m a\n  a 9\n  a 2\n\neval instant at 1m 5\n  5\neval instant at 0 a\n  a 1\n";
    let report = run(&format!("{load}{good}"), Engine::OF_SCRIPTS).expect("a script");
    assert_eq!((report.passed, report.failures.len()), (3, 0), "{:?}", report.failures);
}

#[test]
fn the_later_line_of_a_series_in_a_load_is_the_series() {
    let load = "load 1m\n  a 1 2 3\n  b 1 2\n  a 5\n\n";
    let evals = "eval instant at 0 a\n  a 5\n\neval instant at 2m count_over_time(a[5m])\n  {} 1\n";
    let report = run(&format!("{load}{evals}"), Engine::OF_SCRIPTS).expect("a script");
    assert_eq!((report.passed, report.failures.len()), (2, 0), "{:?}", report.failures);
}

/// Scripts of later versions than Prometheus 3.14.0 say where in the text an annotation points.
#[test]
fn the_place_of_an_annotation_may_be_left_out() {
    let note = "PromQL info: metric might not be a counter, name does not end in \
                _total/_sum/_count/_bucket: \"m\"";
    let passes = |wanted: &str| {
        let eval = format!("eval instant at 2m rate(m[2m])\n  expect info {wanted}\n  {{}} 0.1\n");
        let text = format!("load 1m\n  m 0+6x5\n\n{eval}");
        let report = run(&text, Engine::OF_SCRIPTS).expect("a script");
        assert_eq!(report.passed + report.failures.len(), 1);
        report.failures.first().map(|failure| failure.why.clone())
    };
    assert_eq!(passes(&format!("msg: {note} (1:6)")), None);
    assert_eq!(passes(&format!("msg: {note}")), None);
    assert_eq!(passes("regex: .*counter.*\"m\"$"), None);
    let why = passes(&format!("msg: {note} (1:7)")).expect("another place");
    assert!(
        why.contains("missing info: ") && why.contains("(1:7)") && why.contains("(1:6)"),
        "{why}"
    );
    assert!(passes("msg: PromQL info: metric might").is_some());
}
