//! Runs the commands of a script.

use pando_model::{Labels, SampleValue};

use super::compare::{self, Rows, floats_equal};
use super::hints;
use super::points::Point;
use super::script::{self, Command, Eval, EvalTime, Expect, TextTest};
use super::storage::MemorySource;
use crate::budget::Budget;
use crate::error::QueryError;
use crate::local::evaluate_local;
use crate::query::{Features, Query, QueryOutput, QueryParams, QueryValue};
use crate::syntax::ast::AtModifier;
use crate::syntax::{self, Expr, ExprKind};

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

/// Functions whose value is the evaluation time's: `@` on selectors does not fix it.
const TIME_DEPENDENT: [&str; 15] = [
    "time",
    "timestamp",
    "minute",
    "hour",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "month",
    "year",
    "predict_linear",
    "start",
    "end",
    "range",
    "step",
];

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
            for (expr, t_ms) in with_at(&eval.expr, t_ms, engine) {
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
    let result = engine.ask(expr, QueryParams::instant(t_ms), source);
    let failed = result.is_err();
    check(&eval.expect, result, &|expect| match expect.range_vector {
        Some((from, step)) => expected_rows(&expect.series, from, step),
        None => expected_rows(&expect.series, t_ms, 1),
    })?;
    let expect = &eval.expect;
    let whole = ["start()", "end()", "range()", "step()"];
    let skip = failed
        || expect.ordered
        || expect.string.is_some()
        || expect.range_vector.is_some()
        || whole.iter().any(|word| expr.to_ascii_lowercase().contains(word));
    if skip {
        return Ok(());
    }
    let base = QueryParams::range(t_ms - 60_000, t_ms + 60_000, 60_000);
    let output = engine
        .ask(expr, base.map_err(|e| e.to_string())?, source)
        .map_err(|e| format!("as a range query: {e}"))?;
    let mut got = rows_of(&output.value);
    for (_, points) in &mut got {
        points.retain(|(t, _)| *t == t_ms);
    }
    got.retain(|(_, points)| !points.is_empty());
    let wanted = match expect.scalar {
        Some(v) => vec![(Labels::empty(), vec![(t_ms, SampleValue::Float(v))])],
        None => expected_rows(&expect.series, t_ms, 1),
    };
    compare::rows(&wanted, &got, false).map_err(|e| format!("as a range query: {e}"))
}

fn check(
    expect: &Expect,
    result: Result<QueryOutput, QueryError>,
    wanted: &dyn Fn(&Expect) -> Rows,
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
        (value, None, None) => compare::rows(&wanted(expect), &rows_of(value), expect.ordered),
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

fn expected_rows(series: &[(Labels, Vec<Point>)], first_ms: i64, step_ms: i64) -> Rows {
    let rows = series.iter().map(|(labels, points)| {
        let at = |i: usize| first_ms + step_ms * i as i64;
        let points = points.iter().enumerate();
        let points = points.filter_map(|(i, p)| Some((at(i), p.clone()?))).collect();
        (labels.clone(), points)
    });
    rows.filter(|(_, points): &(Labels, Vec<_>)| !points.is_empty()).collect()
}

/// The expression with `@ t` on every selector and outermost subquery that has none, to be evaluated at other
/// times with the same result; nothing where that would change it.
fn with_at(expr: &str, t_ms: i64, engine: Engine) -> Vec<(String, i64)> {
    let features = engine.features.syntax();
    let Ok(mut tree) = syntax::parse(expr, &features) else { return Vec::new() };
    if !set_at(&mut tree, AtModifier::Time(t_ms)) {
        return Vec::new();
    }
    let times = match t_ms {
        0 => vec![-1000, 0, 1000],
        t => vec![-10 * t, 0, t / 5, t, 10 * t],
    };
    let text = tree.to_string();
    times.into_iter().map(|t| (text.clone(), t)).collect()
}

/// Sets `@` in place; false where the value depends on the evaluation time all the same.
fn set_at(expr: &mut Expr, at: AtModifier) -> bool {
    match &mut expr.kind {
        ExprKind::Call(call) if TIME_DEPENDENT.contains(&call.function.name) => return false,
        ExprKind::Vector(selector) => {
            selector.at.get_or_insert(at);
        }
        ExprKind::Matrix(matrix) => {
            matrix.selector.at.get_or_insert(at);
        }
        ExprKind::Subquery(subquery) => {
            // What is inside of it keeps the subquery's own times.
            subquery.at.get_or_insert(at);
            return steady(&subquery.expr);
        }
        _ => {}
    }
    expr.children_mut().into_iter().all(|child| set_at(child, at))
}

/// Whether nothing in `expr` is a function of the evaluation time.
fn steady(expr: &Expr) -> bool {
    let own = match &expr.kind {
        ExprKind::Call(call) => !TIME_DEPENDENT.contains(&call.function.name),
        _ => true,
    };
    own && expr.children().into_iter().all(steady)
}
