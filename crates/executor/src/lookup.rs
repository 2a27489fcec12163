//! Lookups: label names, label values, series and exemplars of some sources, without samples.

use std::collections::{BTreeMap, BTreeSet};

use pando_block::{BlockReader, RangeReader};
use pando_model::{Exemplar, Labels, Matcher, TimeRange};

use crate::error::ExecuteError;
use crate::sources::Sources;

/// How far from its sample an exemplar is looked for, ms: a target says it with the sample of its next scrape, so that
/// it may stand in a row of another time. Longer than scrapes are apart.
const EXEMPLAR_AWAY_MS: i64 = 5 * 60 * 1000;

/// What is looked up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LookupKind {
    /// The names of labels.
    LabelNames,
    /// The values of one label.
    LabelValues,
    /// Label sets.
    Series,
    /// Exemplars, by series.
    Exemplars,
}

/// A lookup.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// What.
    pub kind: LookupKind,
    /// The label, for its values.
    pub label: String,
    /// Each set is one `match[]`: series that pass all matchers of one of them; none: all series.
    pub matchers: Vec<Vec<Matcher>>,
    /// Samples in this time are meant. Sources that cannot tell answer with more.
    pub time: TimeRange,
    /// At most this many results, the first in order; 0: all.
    pub limit: usize,
}

impl Lookup {
    /// The sets of matchers, at least one.
    pub fn sets(&self) -> Vec<&[Matcher]> {
        match self.matchers.is_empty() {
            true => vec![&[]],
            false => self.matchers.iter().map(Vec::as_slice).collect(),
        }
    }

    /// The time of the samples whose rows are looked at.
    pub fn rows_time(&self) -> TimeRange {
        let TimeRange { min_ms, max_ms } = self.time;
        let away_ms = if self.kind == LookupKind::Exemplars { EXEMPLAR_AWAY_MS } else { 0 };
        TimeRange { min_ms: min_ms.saturating_sub(away_ms), max_ms: max_ms.saturating_add(away_ms) }
    }

    /// The limit as a number of results that is never reached where there is none.
    pub fn limit(&self) -> usize {
        if self.limit == 0 { usize::MAX } else { self.limit }
    }
}

/// What was found, sorted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Names or values.
    pub texts: BTreeSet<String>,
    /// Series.
    pub series: BTreeSet<Labels>,
    /// Exemplars by series, in the order of their times.
    pub exemplars: BTreeMap<Labels, Vec<Exemplar>>,
}

impl Found {
    /// Adds what another source found.
    pub fn merge(&mut self, other: Found) {
        self.texts.extend(other.texts);
        self.series.extend(other.series);
        for (labels, exemplars) in other.exemplars {
            self.add_exemplars(labels, exemplars);
        }
    }

    /// Adds exemplars of one series. An exemplar that several sources have counts once.
    pub fn add_exemplars(&mut self, labels: Labels, exemplars: Vec<Exemplar>) {
        if exemplars.is_empty() {
            return;
        }
        let known = self.exemplars.entry(labels).or_default();
        known.extend(exemplars);
        known.sort_by(|a, b| {
            let time = a.timestamp_ms.cmp(&b.timestamp_ms);
            time.then_with(|| a.labels.cmp(&b.labels)).then_with(|| a.value.total_cmp(&b.value))
        });
        known.dedup_by(|a, b| {
            (a.timestamp_ms, a.value.to_bits()) == (b.timestamp_ms, b.value.to_bits())
                && a.labels == b.labels
        });
    }

    /// Keeps the first `limit`.
    pub fn truncate(&mut self, limit: usize) {
        while self.texts.len() > limit {
            self.texts.pop_last();
        }
        while self.series.len() > limit {
            self.series.pop_last();
        }
        let mut left = limit;
        self.exemplars.retain(|_, exemplars| {
            exemplars.truncate(left);
            left -= exemplars.len();
            !exemplars.is_empty()
        });
    }
}

/// Looks up in one block.
pub(crate) async fn in_block(
    reader: &BlockReader,
    io: &dyn RangeReader,
    sources: &Sources,
    lookup: &Lookup,
) -> Result<Found, ExecuteError> {
    let mut found = Found::default();
    for matchers in lookup.sets() {
        let plan = reader.plan_scan(&sources.tenant, sources.keys, matchers, lookup.rows_time());
        let selection = plan.fetch_and_select(io).await?;
        match lookup.kind {
            LookupKind::LabelNames => found.texts.extend(selection.label_names(io).await?),
            LookupKind::LabelValues => {
                found.texts.extend(selection.label_values(io, &lookup.label).await?);
            }
            LookupKind::Series => {
                let series = selection.series(io).await?;
                found.series.extend(series.into_iter().map(|(_, labels)| labels));
            }
            LookupKind::Exemplars => {
                for (labels, exemplars) in selection.exemplars(io, lookup.time).await? {
                    found.add_exemplars(labels, exemplars);
                }
            }
        }
        found.truncate(lookup.limit());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exemplar(trace: &str, value: f64, timestamp_ms: i64) -> Exemplar {
        Exemplar { labels: Labels::from_pairs([("trace_id", trace)]), value, timestamp_ms }
    }

    #[test]
    fn exemplars_of_several_sources_are_merged_by_time_and_counted_once() {
        let labels = Labels::from_pairs([("__name__", "m")]);
        let other = Labels::from_pairs([("__name__", "n")]);
        let nan = exemplar("n", f64::NAN, 2);
        let mut found = Found::default();
        found.add_exemplars(labels.clone(), vec![exemplar("c", 1.0, 3), nan.clone()]);
        let mut more = Found::default();
        more.add_exemplars(labels.clone(), vec![nan, exemplar("a", 1.0, 1), exemplar("c", 1.0, 3)]);
        more.add_exemplars(labels.clone(), vec![exemplar("b", 1.0, 3)]);
        more.add_exemplars(other.clone(), vec![exemplar("x", 1.0, 1)]);
        more.add_exemplars(Labels::empty(), Vec::new());
        found.merge(more);
        let traces = |found: &Found, labels: &Labels| -> Vec<String> {
            let exemplars = found.exemplars.get(labels).into_iter().flatten();
            exemplars.map(|e| e.labels.get("trace_id").unwrap_or_default().to_string()).collect()
        };
        assert_eq!(traces(&found, &labels), ["a", "n", "b", "c"]);
        assert_eq!(found.exemplars.len(), 2);
        found.truncate(3);
        assert_eq!((traces(&found, &labels).len(), found.exemplars.len()), (3, 1));
    }
}
