//! From the labels of a line to the labels of a series: the target's labels, the rules, the external labels.
//! Pure.

use std::borrow::Cow;

use pando_model::relabel::{self, RelabelConfig};
use pando_model::{Labels, LabelsBuilder, METRIC_NAME};

/// The labels of a scraped series; empty where a rule drops it. `honored` is there where `honor_labels` is set: the
/// labels that the line says are empty, which is how a target refuses one of the server's.
pub(crate) fn sample_labels(
    line: &Labels,
    target: &Labels,
    honored: Option<&[Cow<'_, str>]>,
    rules: &[RelabelConfig],
) -> Labels {
    let mut labels = line.to_builder();
    if let Some(emptied) = honored {
        for (name, value) in target {
            if line.get(name).is_none() && !emptied.iter().any(|emptied| emptied == name) {
                labels.set(name, value);
            }
        }
    } else {
        let mut conflicts: Vec<(&str, &str)> = Vec::new();
        for (name, value) in target {
            conflicts.extend(line.get(name).map(|theirs| (name, theirs)));
            labels.set(name, value);
        }
        // Shorter names first, so that `exported_a` makes way before `a` looks for a place.
        conflicts.sort_by_key(|(name, _)| name.len());
        for (name, value) in conflicts {
            let mut exported = format!("exported_{name}");
            while !labels.value(&exported).is_empty() {
                exported.insert_str(0, "exported_");
            }
            labels.set(&exported, value);
        }
    }
    if relabel::apply(&mut labels, rules) { labels.build() } else { Labels::empty() }
}

/// The labels of a series that the agent itself writes for a target, such as `up`.
pub(crate) fn report_labels(metric: &str, target: &Labels) -> Labels {
    let mut labels = target.to_builder();
    labels.set(METRIC_NAME, metric);
    labels.build()
}

/// Adds the external labels that `labels` does not have itself.
pub(crate) fn with_external(labels: Labels, external: &[(String, String)]) -> Labels {
    if external.iter().all(|(name, _)| labels.get(name).is_some()) {
        return labels;
    }
    let mut builder: LabelsBuilder = labels.to_builder();
    for (name, value) in external {
        if labels.get(name).is_none() {
            builder.set(name, value);
        }
    }
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> Labels {
        Labels::from_pairs(pairs.iter().copied())
    }

    #[test]
    fn the_targets_labels_win_and_what_they_displace_is_exported() {
        let target = set(&[("instance", "a:1"), ("job", "j")]);
        let line = set(&[("__name__", "m"), ("job", "theirs"), ("exported_job", "older")]);
        let labels = sample_labels(&line, &target, None, &[]);
        let expected = [
            ("__name__", "m"),
            ("exported_exported_job", "theirs"),
            ("exported_job", "older"),
            ("instance", "a:1"),
            ("job", "j"),
        ];
        assert_eq!(labels, set(&expected));
        let honored = sample_labels(&line, &target, Some(&[]), &[]);
        assert_eq!(honored.value("job"), "theirs");
        assert_eq!(honored.value("instance"), "a:1");
        let refused = sample_labels(&line, &target, Some(&[Cow::Borrowed("instance")]), &[]);
        assert_eq!(refused.get("instance"), None);
    }

    #[test]
    fn external_labels_fill_gaps_only() {
        let external = [("cluster", "c"), ("job", "x")].map(|(n, v)| (n.into(), v.into()));
        let labels = with_external(set(&[("__name__", "m"), ("job", "j")]), &external);
        assert_eq!(labels, set(&[("__name__", "m"), ("cluster", "c"), ("job", "j")]));
    }
}
