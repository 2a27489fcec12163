//! Runs the commands of a script.

use pando_model::{Labels, SampleValue};

use super::compare::{self, Expected, ExpectedRows, Rows, floats_equal};
use super::hints;
use super::points::SeriesLine;
use super::script::{self, Command, Eval, EvalTime, Expect, TextTest};
use super::storage::MemorySource;
use super::variants;
use crate::budget::Budget;
use crate::error::QueryError;
use crate::local::evaluate_local;
use crate::query::{Features, Query, QueryOutput, QueryParams, QueryValue};

/// An eval that did not answer as expected.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The line of the eval.
    pub line: usize,
    /// Its expression.
    pub expr: String,
    /// What was wrong, and in which variant.
    pub why: String,
}

/// What came of a script.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Evals that answered as expected in all variants.
    pub passed: usize,
    /// The others.
    pub failures: Vec<Failure>,
}

/// Runs a script as Prometheus' own test engine does: everything experimental on, names dropped late.
///
/// # Errors
/// A text that is no script; the message has the line.
pub fn run_script(text: &str) -> Result<Report, String> {
    let features = Features {
        experimental_functions: true,
        extended_range_selectors: true,
        fill_modifiers: true,
        delayed_name_removal: true,
        start_timestamps: true,
    };
    run_script_with(text, Engine { features, push_down: true })
}

/// How a script's expressions are evaluated.
#[derive(Clone, Copy, Debug)]
pub struct Engine {
    /// Switches.
    pub features: Features,
    /// See [`QueryParams::push_down`].
    pub push_down: bool,
}

/// Runs a script on another `engine` than [`run_script`]'s.
///
/// # Errors
/// A text that is no script; the message has the line.
pub fn run_script_with(text: &str, engine: Engine) -> Result<Report, String> {
    let mut source = MemorySource::new();
    let mut report = Report::default();
    for command in script::parse(text)? {
        match command {
            Command::Clear => source = MemorySource::new(),
            Command::Load { step_ms, series } => {
                for mut line in series {
                    hints::as_stored(&mut line.points);
                    let mut starts = line.starts.into_iter();
                    for (i, value) in line.points.into_iter().enumerate() {
                        let t_ms = step_ms.saturating_mul(i as i64);
                        let start = starts.next().flatten().map(|s| t_ms.saturating_add(s));
                        if let Some(value) = value {
                            source.add_with_start(&line.labels, t_ms, value, start.unwrap_or(0));
                        }
                    }
                }
            }
            Command::Eval(eval) => match run_eval(&eval, &source, engine) {
                Ok(()) => report.passed += 1,
                Err(why) => {
                    let Eval { line, expr, .. } = *eval;
                    report.failures.push(Failure { line, expr, why });
                }
            },
        }
    }
    Ok(report)
}

impl Engine {
    fn ask(
        &self,
        expr: &str,
        base: QueryParams,
        source: &MemorySource,
    ) -> Result<QueryOutput, QueryError> {
        let params = QueryParams { push_down: self.push_down, ..base };
        let query = Query::parse(expr, params.with_features(self.features))?;
        evaluate_local(&query, source, Budget::default())
    }
}

fn run_eval(eval: &Eval, source: &MemorySource, engine: Engine) -> Result<(), String> {
    match eval.time {
        EvalTime::Range { start_ms, end_ms, step_ms } => {
            let base = QueryParams::range(start_ms, end_ms, step_ms).map_err(|e| e.to_string())?;
            check(&eval.expect, engine.ask(&eval.expr, base, source), &|expect| {
                expected_rows(&expect.series, start_ms, step_ms)
            })
        }
        EvalTime::Instant { t_ms } => {
            instant(eval, &eval.expr, t_ms, source, engine)
                .map_err(|e| format!("as written: {e}"))?;
            for (expr, t_ms) in variants::with_at(&eval.expr, t_ms, &engine.features.syntax())? {
                instant(eval, &expr, t_ms, source, engine)
                    .map_err(|e| format!("{expr} at {t_ms}: {e}"))?;
            }
            Ok(())
        }
    }
}

/// The instant query, and the same as the middle step of a range query.
fn instant(
    eval: &Eval,
    expr: &str,
    t_ms: i64,
    source: &MemorySource,
    engine: Engine,
) -> Result<(), String> {
    let expect = &eval.expect;
    check(expect, engine.ask(expr, QueryParams::instant(t_ms), source), &|expect| match expect
        .range_vector
    {
        Some((from, step)) => expected_rows(&expect.series, from, step),
        None => expected_rows(&expect.series, t_ms, 1),
    })?;
    let no_vector = expect.string.is_some() || expect.range_vector.is_some();
    if expect.fail.is_some() || no_vector || variants::depends_on_query(expr) {
        return Ok(());
    }
    middle_step(expect, expr, t_ms, source, engine).map_err(|e| format!("as a range query: {e}"))
}

fn middle_step(
    expect: &Expect,
    expr: &str,
    t_ms: i64,
    source: &MemorySource,
    engine: Engine,
) -> Result<(), String> {
    let base = QueryParams::range(t_ms - 60_000, t_ms + 60_000, 60_000);
    let base = base.map_err(|e| e.to_string())?;
    let output = engine.ask(expr, base, source).map_err(|e| e.to_string())?;
    if expect.ordered {
        // Range queries are always in the order of labels.
        return Ok(());
    }
    let mut got = rows_of(&output.value);
    compare::sorted(&got)?;
    for (_, points) in &mut got {
        points.retain(|(t, _)| *t == t_ms);
    }
    got.retain(|(_, points)| !points.is_empty());
    let wanted = match expect.scalar {
        Some(v) => vec![(Labels::empty(), vec![(t_ms, Expected::of(SampleValue::Float(v)))])],
        None => expected_rows(&expect.series, t_ms, 1),
    };
    compare::rows(&wanted, &got, false)
}

fn check(
    expect: &Expect,
    result: Result<QueryOutput, QueryError>,
    wanted: &dyn Fn(&Expect) -> ExpectedRows,
) -> Result<(), String> {
    let output = match (result, &expect.fail) {
        (Err(e), Some(test)) => {
            let text = e.to_string();
            let passes = test.passes(&text);
            return if passes { Ok(()) } else { Err(format!("fails otherwise: {text}")) };
        }
        (Err(e), None) => return Err(e.to_string()),
        (Ok(_), Some(_)) => return Err("should fail".to_string()),
        (Ok(output), None) => output,
    };
    annotations("warn", &expect.warn, expect.no_warn, &output.warnings)?;
    annotations("info", &expect.info, expect.no_info, &output.infos)?;
    match (&output.value, expect.scalar, &expect.string) {
        (QueryValue::Scalar { value, .. }, Some(wanted), _) => match floats_equal(wanted, *value) {
            true => Ok(()),
            false => Err(format!("{value}, expected {wanted}")),
        },
        (QueryValue::String { text, .. }, _, Some(wanted)) => match text == wanted {
            true => Ok(()),
            false => Err(format!("{text:?}, expected {wanted:?}")),
        },
        (QueryValue::Scalar { .. } | QueryValue::String { .. }, ..) => {
            Err(format!("unexpected {:?}", output.value))
        }
        (QueryValue::Matrix(_), None, None) if expect.ordered => {
            Err("a range of values has no order".to_string())
        }
        (value, None, None) => {
            let got = rows_of(value);
            if matches!(value, QueryValue::Matrix(_)) {
                compare::sorted(&got)?;
            }
            compare::rows(&wanted(expect), &got, expect.ordered)
        }
        (value, ..) => Err(format!("unexpected {value:?}")),
    }
}

fn annotations(kind: &str, tests: &[TextTest], none: bool, got: &[String]) -> Result<(), String> {
    if none && !got.is_empty() {
        return Err(format!("unexpected {kind}: {got:?}"));
    }
    if tests.is_empty() {
        return Ok(());
    }
    if tests.iter().any(|test| !got.iter().any(|text| test.passes(text))) {
        return Err(format!("missing {kind}: {got:?}"));
    }
    match got.iter().find(|text| !tests.iter().any(|test| test.passes(text))) {
        Some(text) => Err(format!("unexpected {kind}: {text}")),
        None => Ok(()),
    }
}

fn rows_of(value: &QueryValue) -> Rows {
    match value {
        QueryValue::Vector(vector) => {
            vector.iter().map(|s| (s.labels.clone(), vec![(s.t_ms, s.value.clone())])).collect()
        }
        QueryValue::Matrix(matrix) => matrix
            .iter()
            .map(|s| {
                let floats = s.floats.iter().map(|(t, v)| (*t, SampleValue::Float(*v)));
                let histograms =
                    s.histograms.iter().map(|(t, h)| (*t, SampleValue::Histogram(h.clone())));
                let mut points: Vec<_> = floats.chain(histograms).collect();
                points.sort_by_key(|(t, _)| *t);
                (s.labels.clone(), points)
            })
            .collect(),
        QueryValue::Scalar { t_ms, value } => {
            vec![(Labels::empty(), vec![(*t_ms, SampleValue::Float(*value))])]
        }
        QueryValue::String { .. } => Vec::new(),
    }
}

fn expected_rows(series: &[SeriesLine], first_ms: i64, step_ms: i64) -> ExpectedRows {
    let row = |line: &SeriesLine| {
        let at = |i: usize| first_ms.saturating_add(step_ms.saturating_mul(i as i64));
        let expected = |value: &SampleValue| Expected { value: value.clone(), hint: line.hints };
        let points = line.points.iter().enumerate();
        let points = points.filter_map(|(i, p)| Some((at(i), p.as_ref().map(expected)?)));
        (line.labels.clone(), points.collect())
    };
    series.iter().map(row).filter(|(_, points): &(_, Vec<_>)| !points.is_empty()).collect()
}
