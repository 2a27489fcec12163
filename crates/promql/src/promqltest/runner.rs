//! Runs the commands of a script.

use pando_model::{Labels, SampleValue};

use super::compare::{self, Expected, ExpectedRows, floats_equal};
use super::in_process::Engine;
use super::points::SeriesLine;
use super::script::{Command, Eval, Expect, Script, ScriptError, TextTest};
use super::subject::{
    Answer, AnswerValue, EvalTimes, LoadedSample, LoadedSeries, Rows, Subject, SubjectError,
    seconds,
};
use super::variants;

/// An eval that did not answer as expected, or a load that was refused.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The line of the eval.
    pub line: usize,
    /// Its expression; of a load its first line.
    pub expr: String,
    /// What was wrong, and in which variant.
    pub why: String,
}

/// What came of a script.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Evals that answered as expected in all variants.
    pub passed: usize,
    /// The others, and loads that were refused in part or as a whole.
    pub failures: Vec<Failure>,
}

impl Script {
    /// Runs the script against `subject`, which is cleared first.
    ///
    /// # Errors
    /// The subject is broken: it neither answers nor refuses. The line is that of the command.
    pub fn run(&self, subject: &mut impl Subject) -> Result<Report, ScriptError> {
        let mut report = Report::default();
        let first = self.commands.first().map_or(1, |(line, _)| *line);
        subject.clear().map_err(|e| ScriptError { line: first, why: e.to_string() })?;
        for (line, command) in &self.commands {
            let line = *line;
            let done = match command {
                Command::Clear => subject.clear().map_err(Fault::from),
                Command::Load { step_ms, series, .. } => {
                    subject.load(loaded(series, *step_ms)).map_err(Fault::from)
                }
                Command::Eval(eval) => run_eval(eval, subject).inspect(|()| report.passed += 1),
            };
            match done {
                Ok(()) => {}
                Err(Fault::Wrong(why)) => {
                    let expr = command.text().to_string();
                    report.failures.push(Failure { line, expr, why });
                }
                Err(Fault::Broken(why)) => return Err(ScriptError { line, why }),
            }
        }
        Ok(report)
    }
}

/// Why a command did not succeed.
enum Fault {
    /// It was answered otherwise.
    Wrong(String),
    /// It was not answered.
    Broken(String),
}

impl From<SubjectError> for Fault {
    fn from(error: SubjectError) -> Self {
        match error {
            SubjectError::Refused(why) => Fault::Wrong(why),
            SubjectError::Broken(why) => Fault::Broken(why),
        }
    }
}

impl From<String> for Fault {
    fn from(why: String) -> Self {
        Fault::Wrong(why)
    }
}

impl Fault {
    /// The same, in the variant that `which` names.
    fn within(self, which: impl FnOnce() -> String) -> Self {
        match self {
            Fault::Wrong(why) => Fault::Wrong(format!("{}: {why}", which())),
            broken @ Fault::Broken(_) => broken,
        }
    }
}

/// The samples of a `load`.
fn loaded(series: &[SeriesLine], step_ms: i64) -> Vec<LoadedSeries> {
    let one = |line: &SeriesLine| {
        let mut samples = Vec::with_capacity(line.points.len());
        for (i, value) in line.points.iter().enumerate() {
            let Some(value) = value else { continue };
            let t_ms = step_ms.saturating_mul(i as i64);
            let start = line.starts.get(i).copied().flatten();
            let start_ms = start.map_or(0, |start| t_ms.saturating_add(start));
            samples.push(LoadedSample { t_ms, start_ms, value: value.clone() });
        }
        LoadedSeries { labels: line.labels.clone(), samples }
    };
    series.iter().map(one).collect()
}

fn run_eval(eval: &Eval, subject: &mut impl Subject) -> Result<(), Fault> {
    match eval.times {
        times @ EvalTimes::Range { start_ms, step_ms, .. } => {
            // What is no expression is a fault of the script, not what it may expect to fail.
            let syntax = Engine::OF_SCRIPTS.features.syntax();
            crate::syntax::parse(&eval.expr, &syntax).map_err(|e| e.to_string())?;
            check(&eval.expect, subject.ask(&eval.expr, times), &|expect| {
                expected_rows(&expect.series, start_ms, step_ms)
            })
        }
        EvalTimes::Instant { t_ms } => {
            instant(eval, &eval.expr, t_ms, subject)
                .map_err(|e| e.within(|| "as written".to_string()))?;
            let syntax = Engine::OF_SCRIPTS.features.syntax();
            for (expr, t_ms) in variants::with_at(&eval.expr, t_ms, &syntax)? {
                instant(eval, &expr, t_ms, subject)
                    .map_err(|e| e.within(|| format!("{expr} at {}", seconds(t_ms))))?;
            }
            Ok(())
        }
    }
}

/// The instant query, and the same as the middle step of a range query.
fn instant(eval: &Eval, expr: &str, t_ms: i64, subject: &mut impl Subject) -> Result<(), Fault> {
    let expect = &eval.expect;
    let answer = subject.ask(expr, EvalTimes::Instant { t_ms });
    check(expect, answer, &|expect| match expect.range_vector {
        Some((from, step)) => expected_rows(&expect.series, from, step),
        None => expected_rows(&expect.series, t_ms, 1),
    })?;
    let no_vector = expect.string.is_some() || expect.range_vector.is_some();
    if expect.fail.is_some() || no_vector || variants::depends_on_query(expr) {
        return Ok(());
    }
    middle_step(expect, expr, t_ms, subject)
        .map_err(|e| e.within(|| "as a range query".to_string()))
}

fn middle_step(
    expect: &Expect,
    expr: &str,
    t_ms: i64,
    subject: &mut impl Subject,
) -> Result<(), Fault> {
    let (start_ms, end_ms) = (t_ms - 60_000, t_ms + 60_000);
    let answer = subject.ask(expr, EvalTimes::Range { start_ms, end_ms, step_ms: 60_000 })?;
    if expect.ordered {
        // Range queries are always in the order of labels.
        return Ok(());
    }
    let AnswerValue::Matrix(mut got) = answer.value else {
        return Err(Fault::Wrong(format!("unexpected {}", answer.value)));
    };
    compare::sorted(&got)?;
    for (_, points) in &mut got {
        points.retain(|(t, _)| *t == t_ms);
    }
    got.retain(|(_, points)| !points.is_empty());
    let wanted = match expect.scalar {
        Some(v) => vec![(Labels::empty(), vec![(t_ms, Expected::of(SampleValue::Float(v)))])],
        None => expected_rows(&expect.series, t_ms, 1),
    };
    Ok(compare::rows(&wanted, &got, false)?)
}

fn check(
    expect: &Expect,
    answer: Result<Answer, SubjectError>,
    wanted: &dyn Fn(&Expect) -> ExpectedRows,
) -> Result<(), Fault> {
    let answer = match (answer, &expect.fail) {
        (Err(SubjectError::Refused(text)), Some(test)) => {
            return match test.passes(&text) {
                true => Ok(()),
                false => Err(format!("fails otherwise: {text}, expected {test}").into()),
            };
        }
        (Err(error), _) => return Err(error.into()),
        (Ok(_), Some(_)) => return Err("should fail".to_string().into()),
        (Ok(answer), None) => answer,
    };
    annotations("warn", &expect.warn, expect.no_warn, &answer.warnings)?;
    annotations("info", &expect.info, expect.no_info, &answer.infos)?;
    Ok(value(expect, &answer.value, wanted)?)
}

fn value(
    expect: &Expect,
    got: &AnswerValue,
    wanted: &dyn Fn(&Expect) -> ExpectedRows,
) -> Result<(), String> {
    let ordered = expect.ordered;
    let rows = |got: &Rows| compare::rows(&wanted(expect), got, ordered);
    match (got, expect.scalar, &expect.string) {
        (AnswerValue::Scalar(value), Some(wanted), _) => match floats_equal(wanted, *value) {
            true => Ok(()),
            false => Err(format!("{value}, expected {wanted}")),
        },
        (AnswerValue::String(text), _, Some(wanted)) => match text == wanted {
            true => Ok(()),
            false => Err(format!("{text:?}, expected {wanted:?}")),
        },
        (AnswerValue::Matrix(_), None, None) if ordered => {
            Err("a range of values has no order".to_string())
        }
        (AnswerValue::Matrix(got), None, None) => {
            compare::sorted(got)?;
            rows(got)
        }
        (AnswerValue::Vector(got), None, None) => rows(got),
        (other, ..) => Err(format!("unexpected {other}")),
    }
}

fn annotations(kind: &str, tests: &[TextTest], none: bool, got: &[String]) -> Result<(), String> {
    if none && !got.is_empty() {
        return Err(format!("unexpected {kind}: {got:?}"));
    }
    if tests.is_empty() {
        return Ok(());
    }
    let missing = |test: &&TextTest| !got.iter().any(|text| says(text, test));
    if let Some(wanted) = tests.iter().find(missing) {
        return Err(format!("missing {kind}: {wanted}; there are: {got:?}"));
    }
    match got.iter().find(|text| !tests.iter().any(|test| says(text, test))) {
        Some(text) => Err(format!("unexpected {kind}: {text}")),
        None => Ok(()),
    }
}

/// Whether an annotation is what `test` wants, with its place or, as in the scripts of Prometheus 3.14.0 and before,
/// without.
fn says(text: &str, test: &TextTest) -> bool {
    let placed = text.strip_suffix(')').and_then(|text| text.rsplit_once(" ("));
    let is_place = |place: &str| place.bytes().all(|b| b.is_ascii_digit() || b == b':');
    let unplaced = placed.filter(|(_, place)| is_place(place)).map(|(text, _)| text);
    test.passes(text) || unplaced.is_some_and(|text| test.passes(text))
}

fn expected_rows(series: &[SeriesLine], first_ms: i64, step_ms: i64) -> ExpectedRows {
    let row = |line: &SeriesLine| {
        let at = |i: usize| first_ms.saturating_add(step_ms.saturating_mul(i as i64));
        let expected = |value: &SampleValue| Expected { value: value.clone(), hint: line.hints };
        let points = line.points.iter().enumerate();
        let points = points.filter_map(|(i, p)| Some((at(i), p.as_ref().map(expected)?)));
        (line.labels.clone(), points.collect())
    };
    series.iter().map(row).collect()
}
