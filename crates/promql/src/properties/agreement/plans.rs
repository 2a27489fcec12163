//! The property itself.

use std::collections::BTreeSet;

use crate::syntax::ast::AggregateOp;
use crate::syntax::functions::FUNCTIONS;
use crate::{Budget, Query, QueryError, QueryOutput, QueryParams, QueryValue, evaluate_local};
use pando_model::SeriesSamples;

use super::cluster::{Cluster, Whole};
use super::compare::Points;
use crate::testing::{
    Chance, Expressions, all_cases, data, each_seed, is_ordered, operations, params, parts,
};

/// Cases of random expressions.
const CASES: u64 = 400;
/// Cases whose steps are asked for one by one.
const CASES_OF_STEPS: u64 = 1_200;
/// Cases of several aggregations.
const CASES_OF_SEVERAL: u64 = 100;
/// Cases of each function.
const CASES_EACH: u64 = 5;
/// As many times as many cases has each aggregation: there are several forms of its argument.
const AGGREGATIONS_EACH: usize = 6;

/// In so many runs is each form of an operator met once.
const FORMS_RUNS: u64 = CASES_EACH;

/// How many cases in a row have the same data.
const CASES_PER_DATA: u64 = 4;

type Answer = Result<QueryOutput, QueryError>;

/// The expression of one case, its times and its data.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) seed: u64,
    pub(super) text: String,
    pub(super) params: QueryParams,
    pub(super) series: Vec<SeriesSamples>,
}

impl Case {
    fn of(seed: u64, write: impl FnOnce(&mut Expressions<'_>, bool) -> String) -> Self {
        Case::with(seed, |chance, instant| write(&mut Expressions::new(chance), instant))
    }

    /// A case of native histograms alone.
    fn of_histograms(seed: u64, write: impl FnOnce(&mut Expressions<'_>) -> String) -> Self {
        Case::with(seed, |chance, _| write(&mut Expressions::of_histograms(chance)))
    }

    fn with(seed: u64, write: impl FnOnce(&mut Chance, bool) -> String) -> Self {
        let mut chance = Chance::new(seed, "query");
        let instant = chance.one_in(2);
        let params = params(&mut chance, instant);
        let text = write(&mut chance, instant);
        Case { seed, text, params, series: data::series(seed / CASES_PER_DATA) }
    }

    fn plain(&self) -> Answer {
        self.here(self.params.clone())
    }

    /// Nothing is pushed down, shared or left unread.
    fn unoptimised(&self) -> Answer {
        self.here(QueryParams { push_down: false, read_less: false, ..self.params.clone() })
    }

    /// Whether some histograms are read without their buckets.
    fn is_without_buckets(&self) -> bool {
        let query = Query::parse(&self.text, self.params.clone());
        query.is_ok_and(|query| query.fragments().iter().any(|spec| spec.plan.statistics))
    }

    fn here(&self, params: QueryParams) -> Answer {
        let query = Query::parse(&self.text, params)?;
        evaluate_local(&query, &Whole(&self.series), Budget::default())
    }

    fn distributed(&self) -> Answer {
        let query = Query::parse(&self.text, self.params.clone())?;
        Cluster::new(self.seed, &self.series).evaluate(&query)
    }

    /// Where a range query, in which what has one value for all steps is evaluated once, differs from instant queries
    /// at its steps, in which nothing is; empty where both are of the same points. `None` where it cannot be said, or
    /// where there is nothing to compare.
    fn difference_of_steps(&self) -> Option<String> {
        let Ok(range) = self.plain() else { return None };
        let mut instants = Points::default();
        for t_ms in self.params.steps.iter() {
            let at = QueryParams::instant(t_ms);
            let QueryParams { lookback_ms, features, .. } = self.params;
            let at = at.with_lookback(lookback_ms).with_features(features);
            let answer = self.here(at);
            if matches!(answer, Ok(QueryOutput { value: QueryValue::Scalar { .. }, .. })) {
                return None;
            }
            instants.add(Points::of(&answer, false));
        }
        let range = Points::of(&Ok(range), false);
        if range.differences(&instants).is_empty() {
            return (!range.is_empty()).then(String::new);
        }
        Some(range.show_difference(&instants))
    }

    /// What the plans do not agree on.
    pub(super) fn disagreement(&self) -> Option<String> {
        let (plain, unoptimised) = (self.plain(), self.unoptimised());
        let mut out = self.difference("distributed", &plain, &self.distributed());
        out.push_str(&match self.is_without_buckets() {
            true if rates_gauges(&plain) => {
                let here = self.here(QueryParams { push_down: false, ..self.params.clone() });
                self.difference("not pushed down", &plain, &here)
            }
            true => {
                let [plain, unoptimised] = [plain, unoptimised].map(without_notes_of_buckets);
                self.difference("unoptimised", &plain, &unoptimised)
            }
            false => self.difference("unoptimised", &plain, &unoptimised),
        });
        (!out.is_empty()).then_some(out)
    }

    fn difference(&self, name: &str, plain: &Answer, other: &Answer) -> String {
        let ordered = is_ordered(&self.text);
        let [plain, points] = [plain, other].map(|answer| Points::of(answer, ordered));
        if plain == points {
            return String::new();
        }
        let error = other.as_ref().err().map(|e| e.to_string()).unwrap_or_default();
        format!("plain / {name}: {error}\n{}", plain.show_difference(&points))
    }
}

/// Who reads no buckets, Prometheus too, does not see that their bounds differ; but finds out resets, which show in
/// the buckets, beforehand, so that it sees conflicts where nobody has said that these are resets.
fn without_notes_of_buckets(answer: Answer) -> Answer {
    let mut output = answer?;
    output.infos.retain(|note| !note.contains("mismatched custom buckets were reconciled"));
    output.warnings.retain(|note| !note.contains("conflicting counter resets"));
    Ok(output)
}

/// Whether histograms of gauges were rated as if they counted. Nobody finds out their resets beforehand, neither does
/// Prometheus: without buckets, some are not seen.
fn rates_gauges(answer: &Answer) -> bool {
    let warns = |output: &QueryOutput| {
        output.warnings.iter().any(|note| note.contains("histogram metric is not a counter"))
    };
    answer.as_ref().is_ok_and(warns)
}

/// `case`, or the one with a part of its expression, of those on which plans still disagree.
fn smallest(mut case: Case) -> Case {
    let of_parts = |case: &Case| {
        let with = |text: String| Case { text, ..case.clone() };
        parts(&case.text).into_iter().map(with).find(|part| part.disagreement().is_some())
    };
    while let Some(smaller) = of_parts(&case) {
        case = smaller;
    }
    case
}

/// Fails where plans disagree on `case`; otherwise says whether its answer has points.
pub(super) fn check(case: Case) -> bool {
    if case.disagreement().is_none() {
        return !Points::of(&case.plain(), false).is_empty();
    }
    let case = smallest(case);
    let difference = case.disagreement().unwrap_or_default();
    let Case { text, params, seed, .. } = &case;
    let data = seed / CASES_PER_DATA;
    panic!("plans disagree\n  {text}\n  {params:?}\n  data seed={data}\n{difference}");
}

#[test]
fn all_plans_agree() {
    let (mut answered, mut asked) = (0, 0);
    each_seed(CASES, |seed| {
        asked += 1;
        let case = Case::of(seed, |made, instant| made.query(instant));
        answered += u64::from(check(case));
    });
    // A generator whose queries fail or find nothing would prove nothing.
    let enough = !all_cases() || answered * 2 > asked;
    assert!(enough, "answered={answered} asked={asked}");
}

#[test]
fn each_step_of_a_range_is_an_instant() {
    let (mut fixed, mut checked, mut asked) = (0, 0, 0);
    each_seed(CASES_OF_STEPS, |seed| {
        let mut case = Case::of(seed, |made, _| made.query(false));
        for (place, t_s) in [("@ start()", "@ 1000300"), ("@ end()", "@ 1000410.5")] {
            case.text = case.text.replace(place, t_s);
        }
        // What else means the whole range is something else at one time.
        if case.params.instant
            || ["start(", "end(", "range(", "step("].iter().any(|whole| case.text.contains(whole))
        {
            return;
        }
        asked += 1;
        let Some(difference) = case.difference_of_steps() else { return };
        let Case { text, params, .. } = &case;
        assert!(difference.is_empty(), "steps differ\n  {text}\n  {params:?}\n{difference}");
        checked += 1;
        fixed += u32::from(text.contains('@'));
    });
    let enough = checked * 2 > asked && fixed * 10 > checked;
    assert!(!all_cases() || enough, "fixed={fixed} checked={checked} asked={asked}");
}

/// Checks a case of `write` as [`check`] does, another one of native histograms alone, and what is asked of counts and
/// sums of its answer. Says whether any has points.
fn check_with_histograms(seed: u64, write: impl Fn(&mut Expressions<'_>) -> String) -> bool {
    let case = Case::of_histograms(seed, &write);
    for function in ["histogram_count", "histogram_sum", "histogram_avg"] {
        check(Case { text: format!("{function}({})", case.text), ..case.clone() });
    }
    let of_histograms = check(case);
    check(Case::of(seed, |made, _| write(made))) || of_histograms
}

/// So that each of them is met whatever the random expressions hold.
#[test]
fn all_plans_agree_on_every_function_and_aggregation() {
    let mut answered = BTreeSet::new();
    each_seed(CASES_EACH, |seed| {
        // Of selectors, and of what is made of them: subqueries too.
        let depth = (seed % 2) as usize;
        for (at, function) in (0..).zip(&FUNCTIONS) {
            if check_with_histograms(seed << 16 | at, |made| made.call(function, depth)) {
                answered.insert(function.name);
            }
        }
        for (at, (op, name)) in (0..).zip(AggregateOp::ALL.repeat(AGGREGATIONS_EACH)) {
            if check_with_histograms(seed << 16 | at, |made| made.aggregation_by(op, depth)) {
                answered.insert(name);
            }
        }
    });
    let all = FUNCTIONS.iter().map(|f| f.name).chain(AggregateOp::ALL.map(|(_, name)| name));
    let silent: Vec<&str> = all.filter(|name| !answered.contains(name)).collect();
    assert!(!all_cases() || silent.is_empty(), "never answered: {silent:?}");
}

/// Several aggregations of one vector are of one fragment: what a pass over its series comes to is told apart.
#[test]
fn all_plans_agree_on_several_aggregations_of_one_vector() {
    let (mut together, mut asked) = (0, 0);
    each_seed(CASES_OF_SEVERAL, |seed| {
        let case = Case::of(seed, |made, _| {
            let vector = made.vector((seed % 2) as usize);
            let [one, other] = [made.plain_aggregation(), made.plain_aggregation()];
            format!("{one} by (job) ({vector}) - 2 * {other} by (job) ({vector})")
        });
        asked += 1;
        let several = Query::parse(&case.text, case.params.clone())
            .is_ok_and(|query| query.fragments().iter().any(|f| f.plan.aggregations.len() > 1));
        together += u64::from(check(case) && several);
    });
    assert!(!all_cases() || together * 3 > asked, "together={together} asked={asked}");
}

/// Each form of each operator is met once in a run, whatever the random expressions hold.
#[test]
fn all_plans_agree_on_every_form_of_every_operator() {
    let operations = operations();
    let (mut asked, mut answered) = (BTreeSet::new(), BTreeSet::new());
    each_seed(CASES_EACH, |seed| {
        let forms = (0..).zip(&operations).filter(|(at, _)| at % FORMS_RUNS == seed % FORMS_RUNS);
        for (at, (op, form)) in forms {
            asked.insert((op, form));
            if check_with_histograms(seed << 16 | at, |made| made.operation(op, form)) {
                answered.insert(op);
            }
        }
    });
    let silent: Vec<_> = asked.iter().filter(|(op, _)| !answered.contains(op)).collect();
    let all = asked.len() == operations.len() && silent.is_empty();
    assert!(!all_cases() || all, "asked={} never answered: {silent:?}", asked.len());
}
