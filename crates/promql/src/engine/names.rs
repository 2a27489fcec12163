//! Which labels describe the metric itself and fall away when its values change meaning.

use pando_model::{Labels, METRIC_NAME};

/// Whether `name` is the metric's name, type or unit.
pub(crate) fn is_metadata_label(name: &str) -> bool {
    matches!(name, METRIC_NAME | "__type__" | "__unit__")
}

/// `labels` without name, type and unit.
pub(crate) fn drop_metadata_labels(labels: &Labels) -> Labels {
    labels.without(is_metadata_label)
}
