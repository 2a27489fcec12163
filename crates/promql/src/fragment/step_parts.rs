//! `StepParts`: the results of a fragment over parts of its steps become one result.
//!
//! Each part is merged by itself ([`super::PartialMerge`]), so that a part costs its own steps alone; what it comes to
//! is final, and only has to be put in its place.

use pando_model::Labels;
use rapidhash::RapidHashMap;

use super::merge::FragmentResult;
use super::plan::FragmentPlan;
use super::tally::Tally;
use crate::budget::{Budget, CancelFlag, Ledger, Pool};
use crate::engine::vector::{StepVector, column_bytes};
use crate::error::QueryError;

/// Puts parts together, in the order of their steps. Not for raw samples: these are asked for as a whole.
pub struct StepParts {
    steps: usize,
    ledger: Ledger,
    /// One for each aggregation, or for all series.
    outputs: Vec<Output>,
    tally: Tally,
}

/// Columns over all steps.
#[derive(Default)]
struct Output {
    columns: Vec<StepVector>,
    /// Which columns have which labels: one, or as many as candidates of `quantile` were gathered.
    places: RapidHashMap<Labels, Vec<usize>>,
}

impl StepParts {
    /// Begins to put parts of `plan` together.
    pub fn new(plan: &FragmentPlan, budget: Budget, cancel: CancelFlag) -> Self {
        let mut outputs = Vec::new();
        outputs.resize_with(plan.aggregations.len().max(1), Output::default);
        StepParts {
            steps: plan.steps.len(),
            ledger: Ledger::new(budget, cancel),
            outputs,
            // Samples by step come part by part.
            tally: Tally::default(),
        }
    }

    /// The same, with its budget shared by all that is in `pool`.
    #[must_use]
    pub fn in_pool(self, pool: &Pool) -> Self {
        StepParts { ledger: self.ledger.in_pool(pool), ..self }
    }

    /// Adds the merged result of the steps from number `first_step` on, which are later than those before.
    ///
    /// # Errors
    /// A budget, cancellation, a series that lost its name as another one of a part before did, or a result that is none
    /// of a part of these steps.
    pub fn push(&mut self, first_step: usize, part: FragmentResult) -> Result<(), QueryError> {
        let FragmentResult { series, raw, notes, step_samples, label_hashes } = part;
        let wrong = || QueryError::Internal("a part of other steps than the fragment's".into());
        if !raw.is_empty() || series.len() != self.outputs.len() {
            return Err(wrong());
        }
        for (output, series) in self.outputs.iter_mut().zip(series) {
            let mut met: RapidHashMap<Labels, usize> = RapidHashMap::default();
            for vector in series {
                if first_step + vector.values.len() > self.steps {
                    return Err(wrong());
                }
                let number = met.entry(vector.labels.clone()).or_default();
                output.put(first_step, vector, *number, self.steps, &mut self.ledger)?;
                *number += 1;
            }
        }
        self.tally.later_hashes(&label_hashes, &mut self.ledger)?;
        notes.into_iter().for_each(|(site, note)| self.tally.note(site, note));
        if !step_samples.is_empty() {
            self.tally.step_samples.resize(first_step, 0);
            self.tally.step_samples.extend(step_samples);
        }
        Ok(())
    }

    /// The result of all steps.
    pub fn finish(self) -> FragmentResult {
        let sorted = |mut output: Output| {
            output.columns.sort_by(|a, b| a.labels.cmp(&b.labels));
            output.columns
        };
        let series = self.outputs.into_iter().map(sorted).collect();
        let (notes, _, step_samples) = self.tally.into_parts();
        FragmentResult { series, notes, step_samples, ..FragmentResult::default() }
    }
}

impl Output {
    /// Puts `vector`, the `number`-th one of its labels in its part, to the steps from `first_step` on.
    fn put(
        &mut self,
        first_step: usize,
        vector: StepVector,
        number: usize,
        steps: usize,
        ledger: &mut Ledger,
    ) -> Result<(), QueryError> {
        ledger.check_cancel()?;
        let own = column_bytes(vector.values.len()) + vector.labels.heap_bytes();
        ledger.hold(vector.samples(), vector.bytes().saturating_sub(own))?;
        let places = self.places.entry(vector.labels.clone()).or_default();
        if number >= places.len() {
            // Its labels are in the places, too.
            ledger.hold(0, column_bytes(steps) + 2 * vector.labels.heap_bytes())?;
            places.push(self.columns.len());
            self.columns.push(StepVector::empty(vector.labels.clone(), steps));
        }
        let column = &mut self.columns[places[number]];
        column.drop_name |= vector.drop_name;
        for i in vector.present.iter() {
            column.set(first_step + i, vector.values[i]);
        }
        let later = |(i, h)| (i + first_step as u32, h);
        column.histograms.extend(vector.histograms.into_iter().map(later));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fragment::Read;
    use crate::steps::Steps;

    fn plan(steps: i64) -> FragmentPlan {
        FragmentPlan {
            matchers: Vec::new(),
            steps: Steps::grid(0, steps - 1, 1).expect("steps"),
            read: Read::Instant { lookback_ms: 10, timestamp: false },
            aggregations: Vec::new(),
            delayed_name_removal: false,
            statistics: false,
            hints_back_ms: 0,
            count_samples: false,
        }
    }

    fn result(values: usize) -> FragmentResult {
        let labels = Labels::from_pairs([("a", "b")]);
        let series = vec![vec![StepVector::constant(labels, 1.0, values)]];
        FragmentResult { series, ..FragmentResult::default() }
    }

    /// A column over all steps is there once, however many parts it is made of.
    #[test]
    fn many_parts_hold_what_one_does() {
        let (plan, mut peaks) = (plan(6_400), Vec::new());
        for parts in [1, 64] {
            let bytes_max = column_bytes(6_400) as u64 + 1_000;
            let budget = Budget { bytes_max, samples_max: 6_400, ..Budget::default() };
            let mut all = StepParts::new(&plan, budget, CancelFlag::new());
            let count = 6_400 / parts;
            for part in 0..parts {
                all.push(part * count, result(count)).expect("within the budget");
            }
            peaks.push(all.ledger.peak_samples);
            let series = all.finish().series;
            assert_eq!(series[0][0].samples(), 6_400);
        }
        assert_eq!(peaks, [6_400, 6_400]);
    }

    #[test]
    fn a_part_beyond_the_steps_is_refused() {
        let mut all = StepParts::new(&plan(10), Budget::default(), CancelFlag::new());
        all.push(0, result(6)).expect("fits");
        assert!(all.push(6, result(5)).is_err());
    }
}
