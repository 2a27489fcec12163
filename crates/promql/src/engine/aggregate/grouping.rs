//! `Grouping`: from a series' labels to its group's.

use pando_model::{Labels, METRIC_NAME};

/// `by (...)` or `without (...)`.
#[derive(Clone, Debug)]
pub(crate) struct Grouping {
    labels: Vec<String>,
    without: bool,
}

impl Grouping {
    pub(crate) fn new(labels: &[String], without: bool) -> Self {
        Grouping { labels: labels.to_vec(), without }
    }

    /// The same by `label`, too.
    pub(super) fn with(&self, label: &str) -> Self {
        let mut grouping = self.clone();
        if !self.without {
            grouping.labels.push(label.to_string());
        }
        grouping
    }

    /// The labels of the group that a series with `labels` belongs to.
    pub(crate) fn labels_of(&self, labels: &Labels) -> Labels {
        let listed = |name: &str| self.labels.iter().any(|l| l == name);
        if self.without {
            labels.without(|name| name == METRIC_NAME || listed(name))
        } else if self.labels.is_empty() {
            Labels::empty()
        } else {
            labels.without(|name| !listed(name))
        }
    }
}
