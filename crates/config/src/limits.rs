//! The limits of a scrape, which `global` sets for every scrape config that does not set them
//! itself.

use crate::render::Fields;
use crate::section::{Findings, Section};
use crate::size::format_size;

/// Limits of a scrape. 0: no limit. A scrape over one of them fails as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrapeLimits {
    /// `body_size_limit`: bytes of the body, uncompressed.
    pub body_size_bytes: u64,
    /// `sample_limit`: samples after relabelling.
    pub samples: u64,
    /// `target_limit`: targets of the scrape config after relabelling; over it all targets fail.
    pub targets: u64,
    /// `label_limit`: labels of a series.
    pub labels: u64,
    /// `label_name_length_limit`: bytes of a label's name.
    pub label_name_bytes: u64,
    /// `label_value_length_limit`: bytes of a label's value.
    pub label_value_bytes: u64,
}

impl ScrapeLimits {
    pub(crate) fn read(s: &mut Section<'_>, cx: &mut Findings) -> Self {
        ScrapeLimits {
            body_size_bytes: s.size("body_size_limit", cx).unsigned_abs(),
            samples: s.uint("sample_limit", cx),
            targets: s.uint("target_limit", cx),
            labels: s.uint("label_limit", cx),
            label_name_bytes: s.uint("label_name_length_limit", cx),
            label_value_bytes: s.uint("label_value_length_limit", cx),
        }
    }

    /// These limits, with those of `global` in place of what is not set.
    pub(crate) fn or(self, global: Self) -> Self {
        let own_or = |own: u64, global: u64| if own == 0 { global } else { own };
        ScrapeLimits {
            body_size_bytes: own_or(self.body_size_bytes, global.body_size_bytes),
            samples: own_or(self.samples, global.samples),
            targets: own_or(self.targets, global.targets),
            labels: own_or(self.labels, global.labels),
            label_name_bytes: own_or(self.label_name_bytes, global.label_name_bytes),
            label_value_bytes: own_or(self.label_value_bytes, global.label_value_bytes),
        }
    }

    pub(crate) fn put_fields(&self, fields: &mut Fields) {
        let bytes = i64::try_from(self.body_size_bytes).unwrap_or(i64::MAX);
        fields.text("body_size_limit", &format_size(bytes));
        fields.number("sample_limit", self.samples);
        fields.number("target_limit", self.targets);
        fields.number("label_limit", self.labels);
        fields.number("label_name_length_limit", self.label_name_bytes);
        fields.number("label_value_length_limit", self.label_value_bytes);
    }
}
