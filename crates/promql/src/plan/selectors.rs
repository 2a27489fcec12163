//! What a selector is read by: fragments, each registered once however many nodes use it.

use super::Leaf;
use super::build::Builder;
use super::statistics::needs_hints;
use crate::engine::range::{Edges, RangeFunction, RangeRules};
use crate::error::QueryError;
use crate::fragment::{AGGREGATIONS_MAX, FragmentId, FragmentPlan, FragmentSpec, Read};
use crate::steps::Steps;
use crate::syntax::PosRange;
use crate::syntax::ast::{Call, MatrixSelector, VectorSelector};

/// The most fragments of a query: a few more than selectors that the longest chain of operators has. Arguments of
/// functions, which need no operator, branch: a short text can have thousands of selectors.
const FRAGMENTS_MAX: usize = 512;

impl Builder<'_> {
    /// The fragment that reads `read` of an instant selector.
    pub(super) fn instant(
        &mut self,
        selector: &VectorSelector,
        steps: Steps,
        read: Read,
        pos: PosRange,
    ) -> Result<Leaf, QueryError> {
        let when = self.when(selector, steps)?;
        let plan = self.fragment_plan(selector, when.steps, read);
        self.leaf(plan, pos, pos)
    }

    /// What an instant selector's value is. `anchored` has no meaning there, as in Prometheus.
    pub(super) fn instant_read(&self, selector: &VectorSelector) -> Read {
        let lookback_ms = self.params.lookback_ms;
        match selector.smoothed {
            true => Read::Smoothed { lookback_ms },
            false => Read::Instant { lookback_ms, timestamp: false },
        }
    }

    pub(super) fn instant_plan(
        &mut self,
        selector: &VectorSelector,
        steps: Steps,
    ) -> Result<FragmentPlan, QueryError> {
        let when = self.when(selector, steps)?;
        let read = self.instant_read(selector);
        Ok(self.fragment_plan(selector, when.steps, read))
    }

    /// The fragment that gives the samples of `matrix` for a function that is evaluated by whoever asks, the length of
    /// the range, and where its windows end. Buckets are dropped where they are read all the same.
    pub(super) fn raw_range(
        &mut self,
        matrix: &MatrixSelector,
        (rules, function): (RangeRules, RangeFunction),
        pos: PosRange,
        steps: Steps,
    ) -> Result<(FragmentId, i64, Steps), QueryError> {
        let when = self.when(&matrix.selector, steps)?;
        let range_ms = self.positive(&matrix.range)?;
        let read = Read::Range { range_ms, rules, function, args: Vec::new() };
        let plan = self.fragment_plan(&matrix.selector, when.steps, read);
        let FragmentPlan { statistics, hints_back_ms, .. } = plan;
        let plan = FragmentPlan { statistics, hints_back_ms, ..plan.raw() };
        Ok((self.leaf(plan, pos, pos)?.fragment, range_ms, when.steps))
    }

    pub(super) fn fragment_plan(
        &self,
        selector: &VectorSelector,
        steps: Steps,
        read: Read,
    ) -> FragmentPlan {
        let hints = self.statistics && needs_hints(&read, self.summed);
        FragmentPlan {
            matchers: selector.matchers.clone(),
            steps,
            read,
            aggregations: Vec::new(),
            delayed_name_removal: self.params.features.delayed_name_removal,
            statistics: self.statistics,
            hints_back_ms: if hints { self.params.lookback_ms } else { 0 },
            count_samples: self.params.count_samples,
        }
    }

    /// Registers a use of `plan`, which has at most one aggregation. Plans that read the same are one fragment: equal
    /// ones, and those with aggregations.
    pub(super) fn leaf(
        &mut self,
        plan: FragmentPlan,
        function_pos: PosRange,
        aggregation_pos: PosRange,
    ) -> Result<Leaf, QueryError> {
        let (at, aggregation) = self.registered(plan)?;
        self.uses[at][aggregation] += 1;
        let (fragment, aggregation) = (FragmentId(at as u32), aggregation as u32);
        Ok(Leaf { fragment, aggregation, function_pos, aggregation_pos, pos: aggregation_pos })
    }

    /// The fragment of `plan`, and which of its aggregations that of `plan` is.
    fn registered(&mut self, mut plan: FragmentPlan) -> Result<(usize, usize), QueryError> {
        let wanted = plan.aggregations.pop();
        let of_wanted = |known: &FragmentPlan| match &wanted {
            None => known.aggregations.is_empty().then_some(0),
            Some(_) if known.aggregations.is_empty() => None,
            Some(wanted) => match known.aggregations.iter().position(|one| one == wanted) {
                None if known.aggregations.len() == AGGREGATIONS_MAX => None,
                known_at => Some(known_at.unwrap_or(known.aggregations.len())),
            },
        };
        let same = |known: &FragmentSpec| self.params.read_less && known.plan.reads_as(&plan);
        let mut known = self.fragments.iter().enumerate().filter(|(_, known)| same(known));
        let found = known.find_map(|(at, known)| Some((at, of_wanted(&known.plan)?)));
        let (at, aggregation) = found.unwrap_or((self.fragments.len(), 0));
        if at == self.fragments.len() {
            if at == FRAGMENTS_MAX {
                let (what, limit) = ("query_fragments", FRAGMENTS_MAX as u64);
                return Err(QueryError::Budget { what, limit });
            }
            let (id, range) = (FragmentId(at as u32), plan.time_range());
            self.fragments.push(FragmentSpec { id, plan, range });
            self.uses.push(Vec::new());
        }
        if aggregation == self.uses[at].len() {
            self.fragments[at].plan.aggregations.extend(wanted);
            self.uses[at].push(0);
        }
        Ok((at, aggregation))
    }

    /// The rules by which `function`, called as `call`, reads ranges of `selector`.
    pub(super) fn range_rules(
        &self,
        selector: &VectorSelector,
        function: RangeFunction,
        call: &Call,
    ) -> Result<RangeRules, QueryError> {
        let edges = self.edges(selector);
        edges.check(function, call.function.name)?;
        Ok(RangeRules::of(edges, self.params.features.start_timestamps, function))
    }

    pub(super) fn edges(&self, selector: &VectorSelector) -> Edges {
        let lookback_ms = self.params.lookback_ms;
        match (selector.anchored, selector.smoothed) {
            (true, _) => Edges::Anchored { lookback_ms },
            (_, true) => Edges::Smoothed { lookback_ms },
            _ => Edges::Plain,
        }
    }
}
