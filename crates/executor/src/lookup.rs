//! Lookups: label names, label values and series of some sources, without samples.

use std::collections::BTreeSet;

use pando_block::{BlockReader, RangeReader};
use pando_model::{Labels, Matcher, TimeRange};

use crate::error::ExecuteError;
use crate::sources::Sources;

/// What is looked up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LookupKind {
    /// The names of labels.
    LabelNames,
    /// The values of one label.
    LabelValues,
    /// Label sets.
    Series,
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

    /// The limit as a number of results that is never reached where there is none.
    pub fn limit(&self) -> usize {
        if self.limit == 0 { usize::MAX } else { self.limit }
    }
}

/// What was found, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Names or values.
    pub texts: BTreeSet<String>,
    /// Series.
    pub series: BTreeSet<Labels>,
}

impl Found {
    /// Adds what another source found.
    pub fn merge(&mut self, other: Found) {
        self.texts.extend(other.texts);
        self.series.extend(other.series);
    }

    /// Keeps the first `limit`.
    pub fn truncate(&mut self, limit: usize) {
        while self.texts.len() > limit {
            self.texts.pop_last();
        }
        while self.series.len() > limit {
            self.series.pop_last();
        }
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
        let plan = reader.plan_scan(&sources.tenant, sources.keys, matchers, lookup.time);
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
        }
        found.truncate(lookup.limit());
    }
    Ok(found)
}
