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
        let mut chance = Chance::new(seed, "query");
        let instant = chance.one_in(2);
        let params = params(&mut chance, instant);
        let text = write(&mut Expressions::new(&mut chance), instant);
        Case { seed, text, params, series: data::series(seed / CASES_PER_DATA) }
    }

    fn plain(&self) -> Answer {
        self.here(self.params.clone())
    }

    /// Nothing is pushed down, shared or left unread.
    fn unoptimised(&self) -> Answer {
        self.here(QueryParams { push_down: false, read_less: false, ..self.params.clone() })
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
    /// at its steps, in which nothing is; `None` where both are of the same points, or it cannot be said.
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
        (!range.differences(&instants).is_empty()).then(|| range.show_difference(&instants))
    }

    /// What the plans do not agree on.
    pub(super) fn disagreement(&self) -> Option<String> {
        let ordered = is_ordered(&self.text);
        let plain = Points::of(&self.plain(), ordered);
        let others = [("unoptimised", self.unoptimised()), ("distributed", self.distributed())];
        let mut out = String::new();
        for (name, answer) in others {
            let other = Points::of(&answer, ordered);
            if plain != other {
                let error = answer.err().map(|e| e.to_string()).unwrap_or_default();
                let difference = plain.show_difference(&other);
                out.push_str(&format!("plain / {name}: {error}\n{difference}"));
            }
        }
        (!out.is_empty()).then_some(out)
    }
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
    let (mut fixed, mut checked) = (0, 0);
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
        checked += 1;
        fixed += u32::from(case.text.contains('@'));
        if let Some(difference) = case.difference_of_steps() {
            panic!("steps differ\n  {}\n  {:?}\n{difference}", case.text, case.params);
        }
    });
    assert!(!all_cases() || fixed * 10 > checked, "fixed={fixed} checked={checked}");
}

/// So that each of them is met whatever the random expressions hold.
#[test]
fn all_plans_agree_on_every_function_and_aggregation() {
    each_seed(CASES_EACH, |seed| {
        for function in &FUNCTIONS {
            check(Case::of(seed, |made, _| made.call(function, 0)));
        }
        for (at, (op, _)) in (0..).zip(AggregateOp::ALL.repeat(AGGREGATIONS_EACH)) {
            check(Case::of(seed << 16 | at, |made, _| made.aggregation_by(op, 0)));
        }
    });
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
            if check(Case::of(seed << 16 | at, |made, _| made.operation(op, form))) {
                answered.insert(op);
            }
        }
    });
    let silent: Vec<_> = asked.iter().filter(|(op, _)| !answered.contains(op)).collect();
    let all = asked.len() == operations.len() && silent.is_empty();
    assert!(!all_cases() || all, "asked={} never answered: {silent:?}", asked.len());
}
