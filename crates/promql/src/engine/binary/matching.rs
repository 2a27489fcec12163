//! Operators between two vectors: one to one, many to one, one to many, with `fill`.

use pando_model::labels::LabelsBuilder;
use pando_model::{Labels, METRIC_NAME, SampleValue};
use rapidhash::RapidHashMap;

use super::changes_metric;
use super::ops::element_op;
use super::scalar::Style;
use crate::annotations::Note;
use crate::budget::{Ledger, STEPS_PER_CHECK};
use crate::engine::bitmap::Bitmap;
use crate::engine::labelset::LabelSetIndex;
use crate::engine::names::{drop_metadata_labels, is_metadata_label};
use crate::engine::vector::{StepVector, column_bytes, histogram_bytes, same_labelset};
use crate::error::QueryError;
use crate::syntax::ast::{BinaryOp, Cardinality, Matching};

/// Numbers the signatures of series: the labels by which they match.
pub(super) struct Signatures {
    labels: Vec<String>,
    on: bool,
    index: LabelSetIndex,
}

impl Signatures {
    pub(super) fn new(matching: &Matching) -> Self {
        let (labels, on) = (matching.labels.clone(), matching.on);
        Signatures { labels, on, index: LabelSetIndex::default() }
    }

    fn labels_of(&self, labels: &Labels) -> Labels {
        let listed = |name: &str| self.labels.iter().any(|l| l == name);
        if self.on {
            labels.without(|name| !listed(name))
        } else {
            labels.without(|name| name == METRIC_NAME || listed(name))
        }
    }

    pub(super) fn of(&mut self, labels: &Labels) -> usize {
        let signature = self.labels_of(labels);
        self.index.position(&signature)
    }
}

/// One match group: the series of both sides with one signature.
#[derive(Default)]
struct MatchGroup {
    signature: Labels,
    many: Vec<usize>,
    one: Vec<usize>,
}

/// An operator between vectors, and how it joins them.
#[derive(Clone, Copy)]
pub(crate) struct Operator<'a> {
    /// Any but the set operators.
    pub(crate) op: BinaryOp,
    pub(crate) matching: &'a Matching,
    pub(crate) style: Style,
}

/// `left op right` for vectors. The result is held in `ledger` as it is made.
pub(crate) fn vectors(
    Operator { op, matching, style }: Operator<'_>,
    left: &[StepVector],
    right: &[StepVector],
    steps: usize,
    notes: &mut Vec<Note>,
    ledger: &mut Ledger,
) -> Result<Vec<StepVector>, QueryError> {
    // With `group_right` the sides are exchanged, so that the one side is always the second.
    let swapped = matching.cardinality == Cardinality::OneToMany;
    let (many, one) = if swapped { (right, left) } else { (left, right) };
    let mut signatures = Signatures::new(matching);
    let mut groups: Vec<MatchGroup> = Vec::new();
    for (is_one, side) in [(true, one), (false, many)] {
        for (n, series) in side.iter().enumerate() {
            let at = signatures.of(&series.labels);
            if at == groups.len() {
                let signature = signatures.labels_of(&series.labels);
                groups.push(MatchGroup { signature, ..MatchGroup::default() });
            }
            let list = if is_one { &mut groups[at].one } else { &mut groups[at].many };
            list.push(n);
        }
    }
    let mut many_present = Bitmap::zeros(steps);
    many.iter().for_each(|s| many_present.or_with(&s.presence()));
    let mut join = Join {
        op,
        many,
        one,
        swapped,
        matching,
        style,
        // Prometheus exchanges the sides before it fills, so with `group_right` left means the many.
        fill_many: matching.fill_left,
        fill_one: matching.fill_right,
        results: Vec::new(),
        index: LabelSetIndex::default(),
        pairs: RapidHashMap::default(),
        many_present,
        ledger,
    };
    for (number, group) in groups.iter().enumerate() {
        for i in 0..steps {
            if i % STEPS_PER_CHECK == 0 {
                join.ledger.check_cancel()?;
            }
            join.step(group, (number, i), notes)?;
        }
    }
    Ok(join.results.into_iter().filter_map(|result| result.column).collect())
}

/// A series of the result.
struct JoinResult {
    labels: Labels,
    /// In which match group a pair was last joined to it, and at which step: kept or not.
    joined: Option<(usize, usize)>,
    /// Its values, once there is one.
    column: Option<StepVector>,
}

struct Join<'a> {
    op: BinaryOp,
    many: &'a [StepVector],
    one: &'a [StepVector],
    swapped: bool,
    matching: &'a Matching,
    style: Style,
    fill_many: Option<f64>,
    fill_one: Option<f64>,
    results: Vec<JoinResult>,
    index: LabelSetIndex,
    /// The result of a pair of series: their labels never change from step to step.
    pairs: RapidHashMap<(Option<usize>, Option<usize>), usize>,
    /// The steps at which the many side has anything: without it, and where nothing is filled in, nothing is compared.
    many_present: Bitmap,
    ledger: &'a mut Ledger,
}

impl Join<'_> {
    /// Joins the series of the match group `at.0` at the step `at.1`.
    fn step(
        &mut self,
        group: &MatchGroup,
        at: (usize, usize),
        notes: &mut Vec<Note>,
    ) -> Result<(), QueryError> {
        let (_, i) = at;
        let fills = self.fill_many.is_some() || self.fill_one.is_some();
        if !self.many_present.get(i) && !fills {
            return Ok(());
        }
        let mut present = group.one.iter().filter_map(|n| Some((*n, self.one[*n].value(i)?)));
        let one = present.next();
        if let (Some((first, _)), Some((second, _))) = (&one, present.next()) {
            return Err(self.duplicate(&group.signature, *first, second));
        }
        drop(present);
        // Whether there is a pair whose values go together: one that does not is none, and may be filled in.
        let mut matched = false;
        for &n in &group.many {
            let Some(value) = self.many[n].value(i) else { continue };
            let other = match (&one, self.fill_one) {
                (Some((m, v)), _) => (Some(*m), v.clone()),
                (None, Some(fill)) => (None, SampleValue::Float(fill)),
                (None, None) => continue,
            };
            let pair = (value, Some(n));
            matched |= self.element(&group.signature, pair, other, at, matched, notes)?;
        }
        if let (false, Some((n, value)), Some(fill)) = (matched, one, self.fill_many) {
            let fill = (SampleValue::Float(fill), None);
            self.element(&group.signature, fill, (Some(n), value), at, false, notes)?;
        }
        Ok(())
    }

    /// Joins one element of each side; `matched` where others of the group were at this step. A side that is filled in has
    /// no series. False where the two do not go together: then they are not joined.
    fn element(
        &mut self,
        signature: &Labels,
        (many, many_series): (SampleValue, Option<usize>),
        (one_series, one): (Option<usize>, SampleValue),
        at: (usize, usize),
        matched: bool,
        notes: &mut Vec<Note>,
    ) -> Result<bool, QueryError> {
        let (a, b) = if self.swapped { (&one, &many) } else { (&many, &one) };
        let Some((value, holds)) = element_op(self.op, a, b, notes) else { return Ok(false) };
        let result = self.result_of(signature, many_series, one_series)?;
        // A second match is an error even where a comparison keeps neither.
        let one_to_one = self.matching.cardinality == Cardinality::OneToOne;
        if one_to_one && matched {
            return Err(QueryError::execution(
                "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
            ));
        }
        let again = self.results[result].joined.replace(at) == Some(at);
        if !one_to_one && again {
            return Err(QueryError::execution(
                "multiple matches for labels: grouping labels must ensure unique matches",
            ));
        }
        let value = match (self.style.return_bool, holds) {
            (true, holds) => SampleValue::Float(f64::from(u8::from(holds))),
            // A filter with the many side on the right still passes its left value.
            (false, true) => value,
            (false, false) => return Ok(true),
        };
        self.put(result, at.1, value)?;
        Ok(true)
    }

    fn put(&mut self, result: usize, i: usize, value: SampleValue) -> Result<(), QueryError> {
        let steps = self.many_present.len();
        let JoinResult { labels, column, .. } = &mut self.results[result];
        let out = match column {
            Some(out) => out,
            None => {
                self.ledger.hold(0, column_bytes(steps))?;
                column.insert(StepVector::empty(labels.clone(), steps))
            }
        };
        if out.present.get(i) || out.histogram(i).is_some() {
            return Err(same_labelset());
        }
        // What a side was to lose is forgotten, as in Prometheus.
        out.drop_name |= self.style.delayed_name_removal && self.style.return_bool;
        match value {
            SampleValue::Float(v) => out.set(i, v),
            SampleValue::Histogram(h) => {
                self.ledger.hold(0, histogram_bytes(&h))?;
                let place = out.histograms.partition_point(|(s, _)| (*s as usize) < i);
                out.histograms.insert(place, (i as u32, h));
            }
        }
        Ok(())
    }

    /// The place of the result of a pair of series.
    fn result_of(
        &mut self,
        signature: &Labels,
        many: Option<usize>,
        one: Option<usize>,
    ) -> Result<usize, QueryError> {
        if let Some(at) = self.pairs.get(&(many, one)) {
            return Ok(*at);
        }
        // With nothing on the many side the signature is all that is known of its labels.
        let many_labels = many.map_or(signature, |n| &self.many[n].labels);
        let labels = self.result_labels(many_labels, one.map(|n| &self.one[n].labels));
        let at = self.index.position(&labels);
        if at == self.results.len() {
            self.ledger.hold(0, size_of::<JoinResult>() + 2 * labels.heap_bytes())?;
            self.results.push(JoinResult { labels, joined: None, column: None });
        }
        self.pairs.insert((many, one), at);
        Ok(at)
    }

    fn result_labels(&self, many: &Labels, one: Option<&Labels>) -> Labels {
        let mut builder: LabelsBuilder = many.to_builder();
        if changes_metric(self.op) {
            builder.retain(|name, _| !is_metadata_label(name));
        }
        let listed = |name: &str| self.matching.labels.iter().any(|l| l == name);
        if self.matching.cardinality == Cardinality::OneToOne {
            builder.retain(|name, _| listed(name) == self.matching.on);
        }
        for name in &self.matching.include {
            builder.set(name, one.map_or("", |labels| labels.value(name)));
        }
        let labels = builder.build();
        if self.style.return_bool && !self.style.delayed_name_removal {
            return drop_metadata_labels(&labels);
        }
        labels
    }

    /// The error of two series on the side that may have one.
    fn duplicate(&self, signature: &Labels, first: usize, second: usize) -> QueryError {
        let side = if self.swapped { "left" } else { "right" };
        let (a, b) = (&self.one[first].labels, &self.one[second].labels);
        let (a, b) = (a.min(b), a.max(b));
        QueryError::execution(format!(
            "found duplicate series for the match group {signature} on the {side} hand-side of the operation: [{a}, {b}];many-to-many matching not allowed: matching labels must be unique on one side"
        ))
    }
}
